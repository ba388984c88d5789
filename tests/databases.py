"""Databases in memory for tests that want many: migrating takes longer than most of them use theirs."""

import sqlite3
from functools import cache

from godwit.control_plane.store.database import Database, open_engine
from sqlalchemy import Connection


def in_memory() -> Database:
    """A migrated, empty SQLite database of its own, to be closed by the caller: a copy of one that was migrated."""
    database = Database(open_engine("sqlite://"))
    with database.engine.connect() as conn:
        _template().backup(_driver_connection(conn))
    return database


@cache
def _template() -> sqlite3.Connection:
    database = Database(open_engine("sqlite://"))
    database.migrate()
    kept = sqlite3.connect(":memory:", check_same_thread=False)
    with database.engine.connect() as conn:
        _driver_connection(conn).backup(kept)
    database.close()
    return kept


def _driver_connection(conn: Connection) -> sqlite3.Connection:
    driver = conn.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver
