"""Databases in memory for tests that want many: migrating takes longer than most of them use theirs."""

import sqlite3
from functools import cache

from godwit.control_plane.store.database import Database, open_engine
from sqlalchemy import Connection, Engine

_idle: list[Engine] = []
"""Engines of databases that were closed: what one has compiled serves the next."""


class InMemory(Database):
    """A database whose engine is used again after it was closed."""

    _is_closed = False

    def close(self) -> None:
        """Give the engine back, once; what was written is lost to the next one."""
        if not self._is_closed:
            self._is_closed = True
            _idle.append(self.engine)


def in_memory() -> Database:
    """A migrated, empty SQLite database of its own, to be closed by the caller: a copy of one that was migrated."""
    database = InMemory(_idle.pop() if _idle else open_engine("sqlite://"))
    with database.engine.connect() as conn:
        _template().backup(driver_connection(conn))
    return database


@cache
def _template() -> sqlite3.Connection:
    database = Database(open_engine("sqlite://"))
    database.migrate()
    kept = sqlite3.connect(":memory:", check_same_thread=False)
    with database.engine.connect() as conn:
        driver_connection(conn).backup(kept)
    database.close()
    return kept


def driver_connection(conn: Connection) -> sqlite3.Connection:
    """SQLite's own connection under one of SQLAlchemy's."""
    driver = conn.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver
