"""Databases of both kinds, and a control plane whose clouds are on paper and whose loops are stepped by hand."""

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from godwit.control_plane.hints import Hints
from godwit.control_plane.store.database import Database, open_engine

from tests import postgres
from tests.control_plane.world import World


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave PostgreSQL out where each statement is tried on it by other tests already."""
    left_out = [item for item in items if item.get_closest_marker("embedded") and "[postgresql" in item.name]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


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
def postgres_server() -> Iterator[postgres.Server]:
    """A PostgreSQL of this test process."""
    with postgres.serving() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_urls(postgres_server: postgres.Server) -> Iterator[Iterator[str]]:
    """The URL of a migrated, empty PostgreSQL database for one test after the other."""
    urls = postgres.emptied(postgres_server)
    yield urls
    urls.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A migrated, empty database of either kind."""
    if request.param == "postgresql":
        return str(next(request.getfixturevalue("postgres_urls")))
    path = tmp_path / "godwit.db"
    shutil.copy(request.getfixturevalue("sqlite_template"), path)
    return f"sqlite:///{path}"


@pytest.fixture(scope="module")
def postgres_database_of_module(postgres_server: postgres.Server) -> Iterator[str]:
    """A migrated PostgreSQL database that the tests of one module share."""
    with postgres_server.copy() as url:
        yield url


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
