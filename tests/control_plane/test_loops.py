"""The threads: what fails once is tried again, and one part that fails does not stop the others."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import pytest
from godwit.control_plane import loops
from godwit.control_plane.loops import Loops
from godwit.control_plane.notifying.sending import Answer, Sender
from godwit.control_plane.notifying.targets import Kind, Target
from godwit.control_plane.reconcilers.instances import OfferWatch
from godwit.control_plane.store import outbox
from godwit.control_plane.store.database import Database
from godwit.domain.clock import SystemClock
from godwit.domain.ids import ProviderName
from godwit.domain.offers import Offer
from godwit.providers.protocol import Capabilities
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from tests.control_plane.world import World

DEADLINE_S = 20.0


class Shaky(Database):
    """A database that was just restarted: the first readings by one thread fail."""

    def __init__(self, under: Database, thread: str, failures: int) -> None:
        super().__init__(under.engine, under._announce)
        self._thread, self.left = thread, failures

    @contextmanager
    def read(self) -> Iterator[Connection]:
        if self.left and threading.current_thread().name == self._thread:
            self.left -= 1
            raise OperationalError("SELECT", {}, Exception("the server closed the connection"))
        with super().read() as conn:
            yield conn


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


@pytest.fixture
def running(embedded: World) -> Iterator[Callable[..., Loops]]:
    """Starts loops over the world, with parts of its context replaced; stops them at the end."""
    started: list[Loops] = []
    clock = SystemClock()
    embedded.clock.advance(clock.now() - embedded.clock.now())

    def start(**changes: object) -> Loops:
        found = Loops(replace(embedded.context, clock=clock, serving_since=clock.now(), **changes))  # type: ignore[arg-type]
        started.append(found)
        found.start()
        return found

    yield start
    for found in started:
        found.stop()


def test_a_job_that_is_submitted_gets_a_machine_without_anybody_asking(
    embedded: World, running: Callable[..., Loops]
) -> None:
    running()
    embedded.submit()
    eventually(lambda: [n.instance_id for n in embedded.nodes()] == embedded.machines() != [])


@pytest.mark.parametrize("thread", ["planner", "executor", "watch-cheap"])
def test_a_database_that_fails_for_a_while_stops_no_loop(
    embedded: World, running: Callable[..., Loops], thread: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pause in ("EXECUTE_AGAIN_S", "LIST_CALM_S", "PLAN_AT_LEAST_EVERY_S"):
        monkeypatch.setattr(loops, pause, 0.05)
    shaky = Shaky(embedded.db, thread, failures=2)
    running(db=shaky)
    embedded.submit()
    eventually(lambda: [n.instance_id for n in embedded.nodes()] == embedded.machines() != [])
    eventually(lambda: shaky.left == 0)


def test_a_provider_whose_offers_make_no_sense_has_its_machines_watched_all_the_same(
    embedded: World, running: Callable[..., Loops]
) -> None:
    embedded.submit()
    embedded.turn()

    class Senseless:
        """Its offers cannot be read, by a fault of our own."""

        def __init__(self) -> None:
            self._under = embedded.providers[ProviderName("cheap")]
            self.name = self._under.name

        def __getattr__(self, name: str) -> object:
            return getattr(self._under, name)

        def offers(self) -> Sequence[Offer]:
            raise KeyError("price")

    running(providers={ProviderName("cheap"): Senseless()})
    embedded.clock.advance(60)
    eventually(lambda: embedded.nodes()[0].state == "joining")


def test_an_offer_that_is_listed_twice_hides_no_other(embedded: World) -> None:
    class Stuttering:
        """It lists everything twice."""

        def __init__(self) -> None:
            self.name, self.capabilities = ProviderName("cheap"), Capabilities()

        def offers(self) -> Sequence[Offer]:
            return [*embedded.providers[self.name].offers()] * 2

    OfferWatch(embedded.context, Stuttering()).step()  # type: ignore[arg-type]
    assert len(embedded.providers_offers("cheap")) == 1


def test_receivers_outside_are_told_without_anybody_asking(
    embedded: World, running: Callable[..., Loops], monkeypatch: pytest.MonkeyPatch
) -> None:
    took: list[str] = []

    def send(_self: Sender, target: Target, _delivery: str, told: str, _now: float) -> Answer:
        took.append(f"{target.name}: {json.loads(told)['state']}")
        return Answer(delivered=True, detail="HTTP 200")

    monkeypatch.setattr(Sender, "send", send)
    monkeypatch.setattr(loops, "NOTIFY_PAUSE_S", 0.01)
    running(targets=(Target("ops", Kind.WEBHOOK, "https://ops.example/"),))
    eventually(lambda: outbox_cursor(embedded) is not None)
    job_id = embedded.submit("wants", "H100:8")
    embedded.cancel(job_id)
    eventually(lambda: took == ["ops: cancelled"])


def outbox_cursor(world: World) -> int | None:
    with world.db.read() as conn:
        return outbox.cursor(conn)


@given(worked_s=st.floats(0.0, 100.0), least_s=st.sampled_from([loops.PLAN_AT_LEAST_EVERY_S, loops.LIST_CALM_S]))
def test_a_fleet_is_looked_through_again_often_enough_and_for_a_small_share_of_the_time(
    worked_s: float, least_s: float
) -> None:
    pause_s = loops.idle_pause_s(worked_s, least_s)
    assert least_s <= pause_s <= loops.IDLE_MOST_S
    assert worked_s <= loops.IDLE_SHARE * (worked_s + pause_s) + 1e-9 or pause_s == loops.IDLE_MOST_S
