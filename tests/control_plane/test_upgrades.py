"""A database that an earlier version left is brought up to date with all that is in it, and work goes on."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
import sqlalchemy as sa
from godwit.control_plane.hints import Hints
from godwit.control_plane.store import database, queries, schema
from godwit.control_plane.store.database import Database, open_engine
from godwit.domain.errors import Conflict
from godwit.domain.wire import agents as wire
from sqlalchemy.exc import ProgrammingError

from tests.control_plane.apis import client_of
from tests.control_plane.released import REVISIONS, Released, read, write
from tests.control_plane.world import Agent, World
from tests.postgres import Server

LISTS = ("/v1/jobs", "/v1/nodes", "/v1/services", "/v1/incidents", "/v1/events", "/v1/projects", "/v1/tokens")

HOT = ("agents", "attempts", "audit", "bills", "events", "intents", "jobs", "nodes", "sessions", "tokens")
"""Tables that agents, plans and answers need, or that grow: while one is written anew, everything stands still."""

NO_REWRITE = """CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
  IF pg_event_trigger_table_rewrite_oid()::regclass::text IN ('{}') THEN
    RAISE 'a hot table would be written anew';
  END IF;
END $$;
CREATE EVENT TRIGGER no_rewrite ON table_rewrite EXECUTE FUNCTION refuse()""".format("', '".join(HOT))


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    """An SQLite database without any table."""
    db = Database(open_engine(f"sqlite:///{tmp_path}/old.db"))
    yield db
    db.close()


@pytest.fixture
def postgres(postgres_server: Server) -> Iterator[Database]:
    """A PostgreSQL database without any table, which refuses to write a hot one anew."""
    with postgres_server.copy() as url:
        db = Database(open_engine(url))
        with db.engine.begin() as conn:
            conn.exec_driver_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
            conn.exec_driver_sql(NO_REWRITE)
        yield db
        db.close()


@pytest.fixture(params=["sqlite", "postgres"])
def empty(request: pytest.FixtureRequest) -> Database:
    """A database of either kind without any table."""
    return cast(Database, request.getfixturevalue(request.param))


@pytest.fixture(params=REVISIONS)
def before(request: pytest.FixtureRequest, empty: Database) -> Released:
    """What an earlier version left in the database."""
    found = read(request.param)
    found.fill_database(empty)
    return found


def test_nothing_is_lost_and_what_ran_goes_on(before: Released, empty: Database, tmp_path: Path) -> None:
    empty.migrate()
    with empty.read() as conn:
        for name, of in before.tables.items():
            assert conn.execute(sa.text(f'SELECT count(*) FROM "{name}"')).scalar_one() >= len(of["rows"]), name
        jobs = conn.execute(sa.select(schema.jobs.c.id, schema.jobs.c.name, schema.jobs.c.state)).all()
        events = conn.execute(sa.select(schema.events.c.seq, schema.events.c.reason)).all()
    columns = zip(*(before.column("jobs", name) for name in ("id", "name", "state")), strict=True)
    assert sorted(map(tuple, jobs)) == sorted(columns)
    assert sorted(map(tuple, events)) == sorted(
        zip(before.column("events", "seq"), before.column("events", "reason"), strict=True)
    )
    _goes_on(World(empty, Hints(), tmp_path), before)


def _goes_on(world: World, before: Released) -> None:
    """Agents are heard with what they have, the planner plans, every answer can be given, and the job can end."""
    world.clock.advance(before.at + 1.0 - world.clock.now())
    agents = {node_id: _agent(world, node_id, **has) for node_id, has in before.agents.items()}
    attempt = world.attempt(world.job("old-train").id)
    for slot in attempt.slots:
        agents[slot.node_id].live = [wire.LiveAttempt(attempt_id=attempt.id, epoch=attempt.epoch)]
        agents[slot.node_id].beat()
    world.plan()
    head = agents[attempt.slots[0].node_id]
    head.beat(head.stopped(attempt.id, attempt.epoch, "succeeded"))
    assert world.job("old-train").state == "succeeded"
    world.plan()
    with world.db.write() as tx:
        tx.conn.execute(sa.delete(schema.metadata.tables["tokens"]))  # the same one is added again
    client = client_of(world)
    for path in (*LISTS, *(f"/v1/jobs/{job_id}" for job_id in before.column("jobs", "id"))):
        answer = client.get(path)
        assert answer.status_code == 200, (path, answer.text)
    with world.db.read() as conn:
        assert queries.events(conn, 0, 1_000)[-1].seq > max(before.column("events", "seq"))


def test_todays_story_can_be_told_and_read_again(tmp_path: Path, sqlite: Database) -> None:
    """Else nobody could write down what the next release leaves."""
    found = read(write(tmp_path).stem, tmp_path)
    found.fill_database(sqlite)
    assert {"attempts", "audit", "secrets", "services", "sessions", "tokens"} <= found.tables.keys()


def test_who_is_logged_in_stays_so(empty: Database) -> None:
    """Sessions had to be of a token once, and their table was changed for people who log in."""
    read("0021").fill_database(empty)
    session = {"id": "session-1", "hash": "h", "token_id": "token-1", "created_at": 1.0, "expires_at": 2.0}
    with empty.engine.begin() as conn:
        old = sa.Table("sessions", sa.MetaData(), autoload_with=conn)
        conn.execute(old.insert(), {column.name: session.get(column.name, 0.0) for column in old.columns})
    empty.migrate()
    with empty.read() as conn:
        (found,) = conn.execute(sa.select(schema.metadata.tables["sessions"])).mappings()
    assert (found["id"], found["token_id"], found["user_id"]) == ("session-1", "token-1", None)


def _agent(world: World, node_id: str, agent_id: str, credential: str) -> Agent:
    agent = Agent(world, node_id, agent_id)
    agent.credential, agent.seq = credential, 1_000  # far behind whatever it has said
    return agent


def test_a_change_that_would_write_a_hot_table_anew_is_noticed(postgres: Database) -> None:
    postgres.migrate()
    with pytest.raises(ProgrammingError, match="written anew"), postgres.engine.begin() as conn:
        conn.exec_driver_sql("ALTER TABLE jobs ALTER COLUMN created_at TYPE numeric")


def test_who_reads_for_long_is_let_by_and_told_of_in_the_end(
    postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for a lock makes everybody else wait behind it."""
    read("0012").fill_database(postgres)
    monkeypatch.setattr(database, "LOCK_TIMEOUT_S", 1)
    monkeypatch.setattr(database, "MIGRATE_TRIES", 2)
    pauses: list[float] = []
    with postgres.engine.connect() as reader:
        reader.exec_driver_sql("SELECT count(*) FROM attempts")
        with pytest.raises(Conflict, match="long transactions"):
            postgres.migrate(pauses.append)
        assert pauses == [database.MIGRATE_PAUSE_S] * 2
        reader.rollback()
    postgres.migrate(pauses.append)
    assert len(pauses) == 2
