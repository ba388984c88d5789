"""A request that is late is sent to a second replica, within bounds; and copies for versions in the shadow."""

import asyncio
from random import Random

from godwit.domain.wire.routes import Regulation, ReplicaRoute, ServiceRoute, VersionRoute
from godwit.gateway.regulator.queue import Waiting
from godwit.gateway.regulator.replicas import Outcome
from godwit.gateway.regulator.service import Granted, Regulator
from godwit.gateway.regulator.shadows import COPIES_MAX
from godwit.gateway.regulator.tail import Tail

from benchmarks.gateway.replica import Character, Replica
from tests.gateway.inside import inside
from tests.gateway.process import service, until

WORK = "/services/p/chat/work"


def regulator(live: int = 2, shadows: int = 0, part: float = 1.0, **law: float) -> Regulator:
    """Warm, with so many replicas that serve, and so many in the shadow."""
    listed = [ReplicaRoute(id=f"r{n}", url="http://127.0.0.1:1", version="1") for n in range(live)]
    listed += [ReplicaRoute(id=f"s{n}", url="http://127.0.0.1:1", version="2") for n in range(shadows)]
    versions = [VersionRoute(name="1"), VersionRoute(name="2", weight=part, shadow=True)]
    route = ServiceRoute(
        name="s", project="p", versions=versions, replicas=listed, regulation=Regulation.model_validate(law)
    )
    made = Regulator(route.regulation, Random(1), 0.0)
    made.update(route, 0.0)
    made.restart.limit = None
    return made


def test_a_twentieth_of_the_answers_is_late_whatever_their_spread() -> None:
    for scale_s in (0.2, 5.0):
        tail, rng, late = Tail(), Random(1), 0
        for _ in range(4_000):
            latency_s = rng.expovariate(1.0 / scale_s)
            late += tail.late_s is not None and latency_s > tail.late_s
            tail.saw(latency_s)
        assert 0.03 < late / 4_000 < 0.08


def test_what_hedging_cuts_off_does_not_make_the_level_fall() -> None:
    rng, seen, cut = Random(1), Tail(), Tail()
    for _ in range(4_000):
        latency_s = rng.expovariate(1.0)
        seen.saw(latency_s)
        if cut.late_s is not None and latency_s > cut.late_s:
            cut.gave_up(cut.late_s * 1.001)
        else:
            cut.saw(latency_s)
    assert seen.late_s is not None
    assert cut.late_s is not None
    assert 0.5 < cut.late_s / seen.late_s < 2.0


def test_nothing_is_late_before_there_is_something_to_go_by() -> None:
    tail = Tail()
    for _ in range(19):
        tail.saw(0.1)
    assert tail.late_s is None
    tail.saw(0.1)
    assert tail.late_s == 0.1


def test_a_second_replica_is_another_one_with_room_and_nobody_else_waits_for_it() -> None:
    one = regulator(start_concurrency=1)
    assert one.hedge("r0", 0.0) == Granted("r1")
    assert one.hedge("r0", 0.0) is None, "it has no room for more"
    assert one.in_flight == 1
    one.ended("r1", Outcome.ANSWERED, 0.1, 0.1)
    for _ in range(9):
        one.offer(Waiting(0.2), 0.2)
    assert len(one.queue) > 0
    one.ended("r1", Outcome.ANSWERED, 0.1, 0.3)
    assert one.hedge("r0", 0.3) is None, "its room is for those who wait"


def test_second_replicas_end_with_the_budget_of_retries() -> None:
    one = regulator(start_concurrency=1_000)
    assert sum(one.hedge("r0", 0.0) is not None for _ in range(100)) == 5


def test_a_copy_counts_for_nobody_but_its_own_replica() -> None:
    one = regulator(live=1, shadows=1, start_concurrency=4)
    assert one.copies(0.0) == ["s0"]
    assert (one.in_flight, one.shadows.in_flight) == (0, 1)
    one.ended("s0", Outcome.FAILED, 0.1, 0.1)
    assert (one.replicas["r0"].failed, one.shadows.replicas["s0"].failed, one.latency_s) == (0, 1, None)


def test_copies_are_dropped_before_anybody_waits_and_have_a_bound() -> None:
    one = regulator(live=1, shadows=1, start_concurrency=1_000)
    assert sum(len(one.copies(0.0)) for _ in range(1_000)) == COPIES_MAX
    assert one.shadows.dropped == 1_000 - COPIES_MAX
    busy = regulator(live=1, shadows=1, start_concurrency=1)
    while busy.offer(Waiting(0.0), 0.0) is not None:
        pass
    assert busy.copies(0.0) == []


def test_a_part_of_the_requests_is_copied_and_a_version_keeps_what_it_earned_so() -> None:
    one = regulator(live=1, shadows=1, part=0.1, start_concurrency=4)
    for n in range(2_000):
        for replica in one.copies(float(n)):
            one.headed(replica, 0.1, n + 0.1)
            one.ended(replica, Outcome.ANSWERED, None, n + 0.1)
    shadow = one.shadows.replicas["s0"]
    assert 150 < shadow.answered < 250
    replicas = [ReplicaRoute(id="s0", url="http://127.0.0.1:1", version="2")]
    one.update(ServiceRoute(name="s", project="p", versions=[VersionRoute(name="2")], replicas=replicas), 3_000.0)
    assert one.replicas["s0"] is shadow
    assert one.everyone == [shadow]


def test_the_slower_one_is_cancelled_and_its_client_has_the_quick_answer() -> None:
    async def play() -> None:
        quick, slow = await Replica("quick").start(), await Replica("slow").start()
        async with inside([service([quick, slow], hedge="idempotent")]) as proxy:
            proxy.warm()
            slow.character = Character(service_s=3_600.0)
            for _ in range(6):
                assert (await proxy.ask(WORK)).facts["replica"] == "quick"
            tally = proxy.gate.tally
            assert 1 <= tally.hedges_won <= tally.hedged
            await until(lambda: slow.cancelled >= 1, "the slow one hears that nobody waits for it")
            assert proxy.gate.regulator.in_flight == 0
        for replica in (quick, slow):
            await replica.kill()

    asyncio.run(play())


def test_only_what_may_be_sent_twice_is_sent_twice() -> None:
    async def play() -> None:
        replicas = [await Replica(f"r{n}").start() for n in range(2)]
        async with inside([service(replicas, hedge="idempotent")]) as proxy:
            proxy.warm()
            for replica in replicas:
                replica.character = Character(service_s=0.5)
            assert (await proxy.ask(WORK, "POST", b"x")).status == 200
            assert proxy.gate.tally.hedged == 0
            assert (await proxy.ask(WORK, "POST", b"x", {"Idempotency-Key": '"a"'})).status == 200
            assert proxy.gate.tally.hedged == 1
            proxy.update([service(replicas, hedge="always")])
            assert (await proxy.ask(WORK, "POST", b"x")).status == 200
            assert proxy.gate.tally.hedged == 2
            assert proxy.gate.tally.retried == proxy.gate.tally.failed == 0
        for replica in replicas:
            await replica.kill()

    asyncio.run(play())


def test_nobody_is_shown_what_a_shadow_answers() -> None:
    async def play() -> None:
        live, shadow = await Replica("live").start(), await Replica("shadow").start()
        listed = [
            ReplicaRoute(id="live", url=live.url, version="1"), ReplicaRoute(id="shadow", url=shadow.url, version="2"),
        ]  # fmt: skip
        versions = [VersionRoute(name="1"), VersionRoute(name="2", shadow=True)]
        async with inside([service([live]).model_copy(update={"replicas": listed, "versions": versions})]) as proxy:
            proxy.warm()
            for path in ("/services/p/chat/echo", "/services/p/chat/v1/x"):
                answer = await proxy.ask(path, "POST", b"question")
                assert (answer.status, answer.facts["replica"], answer.facts["bytes"]) == (200, "live", 8)
                assert "x-godwit-shadow" not in answer.facts["headers"]
            await until(lambda: shadow.seen == 2, "the copies come")
            regulator = proxy.gate.regulator
            await until(lambda: regulator.shadows.in_flight == 0, "the copies are over")
            assert (proxy.gate.tally.requests, proxy.gate.tally.copied) == (2, 2)
            await shadow.kill()
            assert (await proxy.ask("/services/p/chat/echo")).status == 200
            await until(lambda: regulator.shadows.in_flight == 0, "the copy that nobody took is over")
            assert proxy.gate.tally.failed == 0
        await live.kill()

    asyncio.run(play())
