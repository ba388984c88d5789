"""A stampede in simulated time: the regulated service comes back, the others do not."""

from random import Random

from godwit.gateway.regulator.earned import EarnedLimit
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.gateway.routers import LeastLoad, Regulated, RoundRobin
from benchmarks.gateway.stampede import Router, Scene, World, recovery

SCENE = Scene(end_s=110.0)


def run(make: type[RoundRobin] | None, scene: Scene = SCENE) -> World:
    world = World(scene, Random(7))
    router: Router = make(world) if make else Regulated(world, Random(8))
    world.run(router)
    return world


def test_a_regulated_service_is_back_within_twice_its_warm_up_and_nobody_admitted_waits_long() -> None:
    found = recovery(run(None))
    assert found.after_s is not None
    assert found.after_s <= 2 * SCENE.warm_up_s
    assert found.after_p99_s <= 3 * found.steady_p99_s
    # A cold replica takes twice as long for a request that has it for itself.
    assert found.cold_p99_s <= 3 * found.steady_p99_s / SCENE.cold
    assert found.warm_p99_s <= 3 * found.steady_p99_s, "of any five seconds once replicas have warmed up"


def test_round_robin_and_least_load_never_come_back() -> None:
    for make in (RoundRobin, LeastLoad):
        found = recovery(run(make))
        assert found.after_s is None
        assert found.after_p99_s > 3 * found.steady_p99_s
        assert found.warm_p99_s == float("inf"), "in some five seconds nobody is answered in time"


def test_a_service_whose_requests_differ_much_is_not_held_back() -> None:
    """A sigma of one, as prompts have it: the slowest twentieth takes 27 times as long as the quickest."""
    scene = Scene(spread=1.0, killed_at_s=60.0, end_s=60.0)
    world = run(None, scene)
    since_s = 10.0
    answered = sum(at >= since_s for at, _ in world.good)
    assert answered >= 0.9 * scene.rate * (scene.end_s - since_s)


def test_two_gateways_that_know_nothing_of_each_other_come_to_fair_parts() -> None:
    """Chiu & Jain's argument, tried: one starts with ten times the other's limit."""
    great, small = EarnedLimit(40.0, 1_000.0), EarnedLimit(4.0, 1_000.0)
    great.slow_start = small.slow_start = False
    now = 0.0
    for limit in (great, small):
        limit.answered(0.1, 1, now)
    for _ in range(2_000):
        latency_s = 0.1 * max(1.0, (great.limit + small.limit) / 20.0)
        for limit in (great, small):
            for _ in range(int(limit.limit)):
                limit.answered(latency_s, int(limit.limit), now)
        now += latency_s
    assert 0.5 < great.limit / small.limit < 2.0


@given(st.lists(st.tuples(st.floats(0.0001, 100.0), st.integers(1, 100), st.booleans()), max_size=100))
def test_a_limit_stays_between_one_and_the_most(answers: list[tuple[float, int, bool]]) -> None:
    earned, now = EarnedLimit(4.0, 32.0), 0.0
    for latency_s, in_flight, fails in answers:
        now += latency_s
        earned.cut(now) if fails else earned.answered(latency_s, in_flight, now)
        assert 1.0 <= earned.limit <= 32.0


def test_a_replica_whose_latency_holds_earns_all_that_there_is() -> None:
    earned = EarnedLimit(1.0, 64.0)
    for n in range(100):
        earned.answered(0.1, int(earned.limit), n * 0.1)
    assert earned.limit == 64.0
