"""Of several control planes on one database one runs the loops; once silent it is replaced, and writes no more."""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from godwit.control_plane import wakes
from godwit.control_plane.hints import Hints
from godwit.control_plane.leading import FORGIVEN_S, SHARD, STEADY_S, STILL_S, Leading, Lease, Pulse
from godwit.control_plane.reconcilers.planning import Planning
from godwit.control_plane.store import leases, writes
from godwit.control_plane.store.database import Database, open_engine
from godwit.control_plane.store.leases import LeaseLost
from godwit.domain.clock import ManualClock
from godwit.domain.errors import StaleWrite
from sqlalchemy import Connection

from tests.control_plane.world import World


class Two:
    """Two control planes that look at one lease, with a clock each that a test moves."""

    def __init__(self, db: Database) -> None:
        self.now = 0.0
        self.first, self.second = (Lease(db, name, alone=False, clock=lambda: self.now) for name in ("a", "b"))

    def looks(self, seconds: float, *who: Lease) -> None:
        """Time passes, with a look a second by those who live."""
        for _ in range(int(seconds)):
            self.now += 1.0
            for one in who:
                one.step()


@pytest.fixture
def two(database: Database) -> Two:
    return Two(database)


def test_the_first_to_come_holds_it_as_long_as_it_renews(two: Two) -> None:
    assert two.first.step()
    assert not two.second.step()
    two.looks(60, two.first, two.second)
    assert (two.first.generation, two.second.generation) == (1, None)


def test_a_silent_holder_is_replaced_within_ten_seconds_by_one_generation_more(two: Two) -> None:
    two.looks(3, two.first, two.second)
    died_at = two.now
    while two.second.generation is None:
        two.looks(1, two.second)
    assert two.second.generation == 2
    assert STILL_S <= two.now - died_at < 10.0


def test_a_holder_that_gives_up_is_replaced_at_once(two: Two) -> None:
    assert two.first.step()
    two.first.give_up()
    assert two.second.step()
    two.first.give_up()
    assert two.second.step(), "to give up what is lost changes nothing"


def test_a_holder_that_was_replaced_learns_it_and_writes_nothing(two: Two, database: Database) -> None:
    two.first.step()
    fenced = database.fenced(two.first.fence())
    with fenced.write() as tx:
        writes.set_meta(tx, "by", "a")
    two.looks(STILL_S + 2, two.second)
    with pytest.raises(LeaseLost), fenced.write() as tx:
        writes.replace_meta(tx, "by", "late")
    assert not two.first.step()
    with database.fenced(two.second.fence()).write() as tx:
        writes.replace_meta(tx, "by", "b")


def test_of_two_who_take_a_still_lease_one_has_it(two: Two, database: Database) -> None:
    with database.read() as conn:
        seen = leases.find(conn, SHARD)
    with database.write() as tx:
        leases.take(tx, SHARD, "a", seen)
    with pytest.raises(StaleWrite), database.write() as tx:
        leases.take(tx, SHARD, "b", seen)


def test_one_that_can_be_alone_only_waits_for_nobody(database: Database) -> None:
    Lease(database, "killed", alone=True).step()
    again = Lease(database, "again", alone=True)
    assert again.step()
    assert again.generation == 2


def test_a_holder_that_cannot_renew_is_sure_of_its_lease_for_less_than_it_lasts(two: Two) -> None:
    assert not two.first.is_sure
    two.first.step()
    two.looks(3, two.first, two.second)
    while two.first.is_sure:
        two.now += 0.1
        assert two.second.generation is None
    assert two.now < 3 + STILL_S
    two.first.step()
    assert two.first.is_sure, "its database answers again, and nobody was quicker"
    two.looks(STILL_S + 2, two.second)
    two.first.step()
    assert (two.first.is_sure, two.second.is_sure) == (False, True)


def test_a_renewal_counts_from_when_it_was_asked_for(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    two.first.step()
    renew = leases.renew

    def slowly(*args: Any) -> None:
        renew(*args)
        two.now += STILL_S

    monkeypatch.setattr(leases, "renew", slowly)
    assert two.first.step()
    assert not two.first.is_sure, "another one may have seen it stand still while the answer was on its way"


def test_silence_counts_from_when_it_could_be_heard_again() -> None:
    clock = ManualClock(100.0)
    pulse = Pulse(clock.now)
    for _ in range(10):
        clock.advance(1.0)
        pulse.beat()
    assert pulse.steady_since() == 100.0
    clock.advance(STEADY_S + 0.5)
    assert pulse.steady_since() == clock.now(), "who reads before the first beat must not believe what he reads"
    clock.advance(5.0)
    pulse.beat()
    assert pulse.steady_since() == clock.now() == 118.5
    clock.advance(1.0)
    pulse.beat()
    assert pulse.steady_since() == 118.5


def test_one_that_is_slow_all_the_time_misses_somebody_all_the_same() -> None:
    clock = ManualClock(100.0)
    pulse = Pulse(clock.now)
    for _ in range(int(FORGIVEN_S) + 2):
        clock.advance(1.0)
        pulse.beat()
    clock.advance(1_000.0)
    assert pulse.steady_since() == clock.now(), "it slept, whatever for"
    pulse.beat()
    woke_at = clock.now()
    for _ in range(40):
        clock.advance(STEADY_S + 1.0)
        assert pulse.steady_since() == min(clock.now(), woke_at + FORGIVEN_S)
        pulse.beat()
    held = pulse.steady_since()
    assert held == woke_at + FORGIVEN_S < clock.now() - 60.0
    for _ in range(int(FORGIVEN_S) + 2):
        clock.advance(1.0)
        pulse.beat()
    assert pulse.steady_since() == held, "nothing was amiss since"
    clock.advance(STEADY_S + 1.0)
    assert pulse.steady_since() == clock.now(), "and a gap is one again"


def test_a_planner_whose_lease_is_gone_plans_and_nothing_comes_of_it(world: World) -> None:
    two = Two(world.db)
    two.first.step()
    late = Planning(replace(world.context, db=world.db.fenced(two.first.fence())))
    world.read_offers()
    world.submit("digits")
    two.looks(STILL_S + 2, two.second)
    late.step()
    assert world.nodes() == []
    world.plan()
    assert len(world.nodes()) == 1


def test_one_that_was_replaced_plans_once_and_not_again(world: World) -> None:
    world.read_offers()
    world.submit("digits")
    tried: list[Connection] = []

    def refuse(conn: Connection) -> None:
        tried.append(conn)
        raise LeaseLost

    plan = Planning(replace(world.context, db=world.db.fenced(refuse))).step()
    assert (len(tried), plan.actions) == (1, ())


def test_names_of_hints_travel_in_pieces_that_postgresql_takes() -> None:
    topics = [f"commands/node-{number:014}" for number in range(1000)]
    sent = wakes.payloads("me", topics)
    assert max(len(one.encode()) for one in sent) < 8000
    assert [topic for one in sent for topic in one.split("\n")[1:]] == topics
    assert wakes.payloads("me", []) == []


def _refuse_at_once(_conn: Connection) -> None:
    raise LeaseLost


@pytest.fixture
def listened(database_url: str) -> Iterator[Hints]:
    """The hints of a control plane beside that of the test, on the same database."""
    theirs = Hints()
    listener = wakes.Listener(database_url, "theirs", theirs.announce)
    listener.start()
    yield theirs
    listener.stop()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_those_who_wait_know_how_providers_do_from_the_one_that_looks(world: World) -> None:
    waiting = Leading(world.context, Lease(world.db, "waits", alone=False))
    assert waiting.contacts() == {}
    leading = Leading(world.context, Lease(world.db, "leads", alone=False))
    leading.start()
    try:
        for _ in range(600):
            told = waiting.contacts()
            if "cheap" in told and told["cheap"].listed_at is not None:
                break
            time.sleep(0.1)
        assert told["cheap"].trouble == ""
        assert told.keys() == {"cheap", "dear"}
    finally:
        leading.stop()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_what_one_commits_wakes_those_who_wait_at_another(database_url: str, listened: Hints) -> None:
    db = Database(open_engine(database_url), sender="ours")
    for _ in range(600):  # until it listens: a hint that comes before is lost, as hints may be
        with db.write() as tx:
            tx.hint("commands/node-1")
        if listened.wait("commands/node-1", 0, 0.1):
            break
    assert listened.count("commands/node-1") >= 1
    with pytest.raises(LeaseLost), db.fenced(_refuse_at_once).write() as tx:
        tx.hint("never")
    with db.write() as tx:
        tx.hint("after")
    assert listened.wait("after", 0, 60.0)
    assert listened.count("never") == 0
    db.close()


def test_a_control_plane_passes_its_own_words_over() -> None:
    heard: list[str] = []
    listener = wakes.Listener("postgresql://x@localhost/y", "me", heard.append)
    listener.hear("me\nplan")
    listener.hear("other\nplan\nintents")
    assert heard == ["plan", "intents"]
