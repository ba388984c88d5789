"""The store: the same promises on SQLite and on PostgreSQL."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from godwit.control_plane import hints as topics
from godwit.control_plane.backup import rows
from godwit.control_plane.hints import Hints
from godwit.control_plane.store import entities, job_lists, queries, schema, tables, writes
from godwit.control_plane.store.database import Database
from godwit.domain.errors import InvalidTransition, NotFound, StaleWrite
from godwit.domain.events import Event
from godwit.domain.ids import JobId, ProjectId
from godwit.domain.jobs import Job, JobSpec, JobState, Progress
from sqlalchemy import inspect, select

NOW = 1_790_000_000.0


def job(job_id: str = "job-1", name: str = "digits") -> Job:
    return Job(JobId(job_id), ProjectId("default"), JobSpec(name, "true"), JobState.QUEUED, NOW, NOW)


def event(reason: str, job_id: str = "job-1") -> Event:
    return Event(NOW, "job.note", "job", job_id, reason, "test", job_id=job_id)


def stored(db: Database, job_id: str = "job-1") -> Job:
    with db.read() as conn:
        return queries.job(conn, job_id)


def test_the_migrated_tables_are_the_ones_that_the_code_describes(database: Database) -> None:
    with database.engine.connect() as conn:
        assert "events" in inspect(conn).get_table_names()
        found = compare_metadata(MigrationContext.configure(conn, opts={"compare_type": True}), tables.EVERY)
    assert found == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_process_that_asks_for_every_table_knows_every_table(database: Database) -> None:
    """Whatever else it imported: this process has long imported all of them."""
    says = "from godwit.control_plane.store import tables; print(*tables.EVERY.tables)"
    told = subprocess.run([sys.executable, "-c", says], capture_output=True, text=True, check=True, timeout=60)
    with database.engine.connect() as conn:
        assert {*told.stdout.split(), rows.VERSIONS} == set(inspect(conn).get_table_names())


def test_migrating_again_changes_nothing(database: Database) -> None:
    with database.write() as tx:
        entities.insert(tx, job())
    database.migrate()
    assert stored(database) == job()


def test_a_row_comes_back_as_it_was_written(database: Database) -> None:
    with database.write() as tx:
        entities.insert(tx, job())
        writes.job_progress(tx, "job-1", Progress(7, NOW, 100, {"loss": 0.25}))
    assert stored(database).progress == Progress(7, NOW, 100, {"loss": 0.25})


def test_a_stale_write_is_refused_and_leaves_the_row_as_the_first_writer_left_it(database: Database) -> None:
    with database.write() as tx:
        entities.insert(tx, job())
    seen = stored(database)
    with database.write() as tx:
        entities.advance(tx, seen, JobState.CANCELLED, reason="first", actor="a", now=NOW)
    with pytest.raises(StaleWrite), database.write() as tx:
        entities.advance(tx, seen, JobState.STARTING, reason="second", actor="b", now=NOW)
    assert stored(database).state is JobState.CANCELLED
    with database.read() as conn:
        assert [e.reason for e in queries.events(conn, 0, 10)] == ["first"]


def test_an_edge_that_the_table_does_not_have_writes_nothing(database: Database) -> None:
    with database.write() as tx:
        entities.insert(tx, job())
    with pytest.raises(InvalidTransition), database.write() as tx:
        entities.advance(tx, job(), JobState.RUNNING, reason="no", actor="a", now=NOW)
    assert stored(database).version == 1


def test_a_write_that_raises_rolls_back_whole_and_announces_nothing(database: Database, hints: Hints) -> None:
    with pytest.raises(RuntimeError, match="killed"):
        _insert_and_die(database)
    with pytest.raises(NotFound), database.read() as conn:
        queries.job(conn, "job-1")
    assert hints.count(topics.EVENTS) == 0
    with database.write() as tx:
        entities.insert(tx, job())
    assert stored(database) == job()


def test_a_hint_comes_after_the_commit_when_every_reader_sees_what_it_is_about(database: Database) -> None:
    seen: list[int] = []

    def look(_topic: str) -> None:
        with database.read() as conn:
            seen.append(len(queries.events(conn, 0, 10)))

    announcing = Database(database.engine, look)
    with announcing.write() as tx:
        entities.append(tx, event("one"))
        assert seen == []
    assert seen
    assert set(seen) == {1}


def test_events_are_numbered_in_the_order_in_which_readers_may_see_them(database: Database) -> None:
    """A reader that asks for what came after the last number it saw never misses one that commits late."""
    followed: list[int] = []
    done = threading.Event()

    def follow() -> None:
        last = 0
        while True:
            finished = done.is_set()
            with database.read() as conn:
                batch = queries.events(conn, last, 1000)
            followed.extend(e.seq for e in batch)
            last = batch[-1].seq if batch else last
            if finished and not batch:
                return

    def write(number: int) -> None:
        with database.write() as tx:
            entities.append(tx, event(f"a{number}"))
            entities.append(tx, event(f"b{number}"))

    reader = threading.Thread(target=follow)
    reader.start()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(40)))
    done.set()
    reader.join(30)
    with database.read() as conn:
        events = queries.events(conn, 0, 1000)
    assert followed == [e.seq for e in events]
    assert len(followed) == 80
    pairs = [(first.reason[1:], second.reason[1:]) for first, second in zip(events[::2], events[1::2], strict=True)]
    assert all(first == second for first, second in pairs), "the events of one transaction stand together"


def test_a_reading_sees_one_instant_whatever_is_written_meanwhile(database: Database) -> None:
    with database.write() as tx:
        entities.insert(tx, job("job-1"))
    with database.read() as conn:
        assert len(job_lists.page(conn, 10, None, [])) == 1
        with ThreadPoolExecutor(1) as pool:
            pool.submit(_insert, database, job("job-2")).result(20)
        assert len(job_lists.page(conn, 10, None, [])) == 1
    with database.read() as conn:
        assert len(job_lists.page(conn, 10, None, [])) == 2


def _insert_and_die(db: Database) -> None:
    with db.write() as tx:
        entities.insert(tx, job(), event("born"))
        raise RuntimeError("killed in between")


def _insert(db: Database, new: Job) -> None:
    with db.write() as tx:
        entities.insert(tx, new)


def test_writers_wait_for_each_other_and_none_is_lost(database: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: _insert(database, job(f"job-{n:03}")), range(40)))
    with database.read() as conn:
        assert len(job_lists.page(conn, 100, None, [])) == 40


def test_text_that_postgresql_cannot_hold_is_kept_readable_and_found_nowhere(database: Database) -> None:
    with database.write() as tx:
        entities.append(tx, event("cut\x00here"))
    with database.read() as conn:
        (found,) = conn.execute(select(schema.events.c.reason)).scalars()
        assert found.startswith("cut")
        assert found.endswith("here")
        with pytest.raises(NotFound):
            queries.job(conn, "\x00")


def test_a_page_of_several_states_is_the_newest_of_all_of_them(database: Database) -> None:
    states = [JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED]
    made = [replace(job(f"job-{n}"), state=states[n % 3], project=ProjectId("ab"[n % 2])) for n in range(9)]
    with database.write() as tx:
        for one in made:
            entities.insert(tx, one)

    def ids(*args: Any, **more: Any) -> str:
        with database.read() as conn:
            return "".join(row.id.removeprefix("job-") for row in job_lists.page(conn, *args, **more))

    assert ids(4, None, ["queued", "running"]) == "7643"
    assert ids(4, "job-3", ["queued", "running", "running"]) == "10"
    assert ids(9, None, ["queued", "running"], project="a") == "640"
    assert ids(9, None, []) == "876543210"
    assert ids(9, None, ["failed", "cancelled"]) == ""
