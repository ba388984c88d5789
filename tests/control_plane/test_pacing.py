"""A cloud's rate limit is kept by all processes together, and a pause that it asks for is everybody's."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from godwit.control_plane.executors.pacing import MOST_S, Paces
from godwit.control_plane.store import paces as rows
from godwit.control_plane.store.database import Database, open_engine
from godwit.domain.clock import SystemClock
from godwit.domain.errors import RateLimited
from godwit.providers.layers.limiting import PATIENCE_S, PAUSE_MAX_S, Turns
from sqlalchemy import event, update
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.control_plane.pacer import CALLS_PER_S
from tests.emulators.lambdalabs.emulator import SHAPES, LambdaEmulator

ROOT = Path(__file__).parents[2]
CALLS = 4


class Counting(LambdaEmulator):
    """Notes when each call comes."""

    def __init__(self) -> None:
        super().__init__(SHAPES)
        self.came_at: list[float] = []

    def front(self, app: ASGIApp) -> ASGIApp:
        inner = super().front(app)

        async def noting(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                self.came_at.append(time.time())
            await inner(scope, receive, send)

        return noting


@pytest.fixture
def url(postgres_urls: Iterator[str]) -> str:
    return next(postgres_urls)


@pytest.fixture
def both(url: str) -> Iterator[tuple[Paces, Paces]]:
    """The paces of two processes on one database."""
    made = Paces(), Paces()
    databases = [Database(open_engine(url)) for _ in made]
    for paces, db in zip(made, databases, strict=True):
        paces.share(db)
    yield made
    for db in databases:
        db.close()


def pace_of(paces: Paces, per_s: float = 1.0, name: str = "cloud/calls") -> Turns:
    return paces.of(name, per_s, SystemClock())


def test_two_processes_call_a_cloud_no_more_often_than_one_may(url: str) -> None:
    cloud = Counting()
    with cloud.serving() as at:
        command = [sys.executable, "-m", "tests.control_plane.pacer", url, at, str(CALLS)]
        running = [
            subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        for one in running:
            assert one.stdin is not None
            one.stdin.write("go\n")
            one.stdin.flush()
        began_at = min(float(one.communicate(timeout=120)[0]) for one in running)
    assert [one.returncode for one in running] == [0, 0]
    # Turns are half a second apart, and no call comes before its turn.
    late = [at - began_at - n / CALLS_PER_S for n, at in enumerate(sorted(cloud.came_at))]
    assert len(late) >= 2 * CALLS
    assert min(late) >= 0


def test_turns_are_given_in_one_row_of_each_pace(both: tuple[Paces, Paces]) -> None:
    here, there = both
    waits = [pace_of(paces).turn_in_s() for paces in (here, there, here, there)]
    assert waits[0] == 0.0
    assert [round(wait) for wait in waits] == [0, 1, 2, 3]
    assert pace_of(there, name="cloud/launches").turn_in_s() == 0.0, "another pace is another row"


def test_a_pause_that_one_is_asked_for_is_kept_by_all(both: tuple[Paces, Paces]) -> None:
    here, there = both
    pace_of(here).pause(7.0)
    assert 5.0 < pace_of(there).turn_in_s() <= 7.0


def test_nobody_waits_for_longer_than_patience_and_then_no_turn_is_taken(both: tuple[Paces, Paces]) -> None:
    here, there = both
    pace_of(here).pause(3_600.0)
    for _ in range(3):
        with pytest.raises(RateLimited) as refused:
            pace_of(there).turn_in_s()
        assert PATIENCE_S < refused.value.retry_after_s <= PAUSE_MAX_S, "and an hour is not believed"


def test_what_another_clock_wrote_counts_for_nothing(both: tuple[Paces, Paces]) -> None:
    here, there = both
    pace_of(here).turn_in_s()
    db = here.database
    assert db is not None
    with db.write() as tx:
        tx.conn.execute(update(rows.paces).values(next_at=time.time() + 2 * MOST_S))
    assert pace_of(there).turn_in_s() == 0.0


def test_a_turn_is_one_statement_and_waits_behind_no_change(both: tuple[Paces, Paces]) -> None:
    here, there = both
    db, other = here.database, there.database
    assert db is not None
    assert other is not None
    pace = pace_of(here)
    pace.turn_in_s()
    said: list[str] = []
    event.listen(db.engine, "before_cursor_execute", lambda *args: said.append(args[2]))
    with other.write():
        pace.turn_in_s()
    assert len(said) == 1


def test_without_its_database_a_process_keeps_the_pace_alone() -> None:
    paces = Paces()
    paces.share(Database(open_engine("postgresql://nobody@127.0.0.1:1/none")))
    pace = pace_of(paces)
    assert pace.turn_in_s() == 0.0
    assert 0.0 < pace.turn_in_s() <= 1.0
    pace.pause(9.0)
    assert 5.0 < pace.turn_in_s() <= 9.0
