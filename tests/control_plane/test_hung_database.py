"""A PostgreSQL that takes connections and never answers counts as away, in time; so does a statement that hangs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from godwit.control_plane.store import writes
from godwit.control_plane.store.database import Database, open_engine
from godwit.control_plane.store.in_line import Patience
from godwit.control_plane.store.outages import is_away
from sqlalchemy import make_url, text
from sqlalchemy.exc import SQLAlchemyError

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)

SHORT = Patience(ping_s=0.5, read_s=1.0, write_s=0.5)
SOON_S = 8.0
"""All limits together, and a busy machine's share."""


@pytest.fixture
def served(database_url: str) -> Iterator[Database]:
    """A database as one has it who serves, but for shorter limits."""
    url = make_url(database_url).update_query_dict({"connect_timeout": "2"})
    db = Database(open_engine(url.render_as_string(hide_password=False), patience=SHORT))
    yield db
    db.close()


@contextmanager
def hung(database_url: str) -> Iterator[None]:
    """All of PostgreSQL stands still during the block; the kernel goes on to take connections for it."""
    folder = make_url(database_url).query["host"]
    assert isinstance(folder, str)
    server = psutil.Process(int((Path(folder) / "postmaster.pid").read_text().split()[0]))
    stopped = [server, *server.children(recursive=True)]
    try:
        for one in stopped:
            with suppress(psutil.NoSuchProcess):
                one.suspend()
        yield
    finally:
        for one in reversed(stopped):
            with suppress(psutil.NoSuchProcess):
                one.resume()


def look(db: Database) -> None:
    with db.read() as conn:
        conn.execute(text("SELECT 1"))


def put(db: Database, value: str) -> None:
    with db.write() as tx:
        writes.replace_meta(tx, "word", value)


def test_one_that_hangs_counts_as_away_in_time_and_is_well_again_when_it_goes_on(
    served: Database, database_url: str
) -> None:
    for act in (look, lambda db: put(db, "before")):
        act(served)
        began = time.monotonic()
        with hung(database_url):
            for _ in range(2):  # on a connection that there was, and on a new one
                with pytest.raises(SQLAlchemyError) as raised:
                    act(served)
                assert is_away(raised.value)
        assert time.monotonic() - began < SOON_S
        assert served.away_at > 0.0
        act(served)


def test_one_that_hangs_in_the_midst_of_a_transaction_ends_it(served: Database, database_url: str) -> None:
    def half_and_whole() -> None:
        with served.write() as tx:
            writes.replace_meta(tx, "word", "half")
            with hung(database_url):
                writes.replace_meta(tx, "word", "whole")

    with pytest.raises(SQLAlchemyError) as raised:
        half_and_whole()
    assert is_away(raised.value)
    put(served, "after")


def test_a_statement_that_hangs_keeps_the_other_writers_for_no_longer_than_it_may(
    served: Database, database_url: str
) -> None:
    operator = open_engine(database_url)
    with operator.begin() as conn:
        conn.execute(text("LOCK TABLE meta"))
        began = time.monotonic()
        with pytest.raises(SQLAlchemyError) as raised:
            put(served, "blocked")
        assert is_away(raised.value)
        assert time.monotonic() - began < SOON_S
        with served.write() as tx:
            tx.conn.execute(text("SELECT 1"))
        with pytest.raises(SQLAlchemyError) as raised, served.read() as reading:
            reading.execute(text("SELECT * FROM meta"))
        assert is_away(raised.value)
    operator.dispose()
    put(served, "after")


def test_a_writer_that_stands_still_keeps_the_others_for_no_longer_than_it_may(
    served: Database, database_url: str
) -> None:
    other = Database(open_engine(database_url))

    def stand_still() -> None:
        with served.write() as tx:
            writes.replace_meta(tx, "word", "slow")
            put(other, "quick")  # which waits until the one that stands still is ended
            writes.replace_meta(tx, "word", "late")

    with pytest.raises(SQLAlchemyError) as raised:
        stand_still()
    assert is_away(raised.value)
    with other.read() as conn:
        assert conn.execute(text("SELECT value FROM meta WHERE key = 'word'")).scalar() == "quick"
    other.close()


def test_what_takes_long_and_is_heard_of_is_waited_for(served: Database) -> None:
    """Rows that come for longer than silence may last: the limit of a statement is the server's to keep."""
    with served.engine.connect() as conn:
        conn.execute(text("SET statement_timeout = 0"))
        began = time.monotonic()
        drip = text("SELECT pg_sleep(0.02), repeat('x', 9000) FROM generate_series(1, 150)")
        assert len(conn.execute(drip).all()) == 150
        assert time.monotonic() - began > SHORT.read_s + 1.0


def test_a_limit_that_an_operator_set_stands_and_a_migration_has_none(served: Database, database_url: str) -> None:
    def limit_of(db: Database) -> str:
        with db.read() as conn:
            return str(conn.execute(text("SHOW statement_timeout")).scalar())

    assert limit_of(served) == "1s"
    served.migrate()
    assert limit_of(served) == "1s"
    url = make_url(database_url).update_query_dict({"options": "-c statement_timeout=700"})
    theirs = Database(open_engine(url.render_as_string(hide_password=False), patience=SHORT))
    assert limit_of(theirs) == "700ms"
    theirs.close()
    unhurried = Database(open_engine(database_url))
    assert limit_of(unhurried) == "0"
    unhurried.close()
