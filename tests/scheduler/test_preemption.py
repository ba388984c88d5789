"""Who gives way: least work is lost, the gang then fits, each start gets its time, and no stop leads to the next."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from godwit.scheduler import time_sharing
from godwit.scheduler.asks import Ask, NodeKind
from godwit.scheduler.cluster import Cluster, Share
from godwit.scheduler.demands import Demand
from godwit.scheduler.engine import Engine
from godwit.scheduler.preemption import CALM_S, MIN_RUN_S, RECHECK_S, LeastLost
from godwit.scheduler.reservations import Patience
from godwit.scheduler.time_sharing import GAP, LOST_MAX_S, PATIENCE, LeastServed
from hypothesis import given, settings
from hypothesis import strategies as st

H100 = NodeKind("H100-SXM", 8, 80.0, 200_000, 2_000_000, "p", "r")
L4 = NodeKind("L4", 8, 24.0, 200_000, 2_000_000, "p", "r")
HOUR = 3600.0


def engine(*nodes: tuple[str, NodeKind, str], sharing: bool = False) -> Engine:
    cluster = Cluster()
    for name, kind, fabric in nodes:
        cluster.add(name, kind, {"fabric": fabric})
    order = LeastServed() if sharing else None
    return Engine(cluster, order=order, yielding=time_sharing.yielding(order) if order else LeastLost())


def demand(name: str, gpus: int = 8, nodes: int = 1, **fields: object) -> Demand:
    return Demand(name, Ask(gpus), 0.0, nodes, nodes, **fields)  # type: ignore[arg-type]


def run(one: Engine, at: float, *demands: Demand) -> None:
    for each in demands:
        one.submit(each)
    started = {start.demand.job_id for start in one.decide(at).starts}
    assert started == {each.job_id for each in demands}


def told(one: Engine, at: float, each: Demand) -> list[str]:
    one.submit(each)
    return [given.job_id for given in one.decide(at).yields]


def test_of_lower_priorities_the_one_that_loses_least_work_gives_way() -> None:
    one = engine(("a", H100, "f"), ("b", H100, "f"))
    run(one, 0.0, demand("x"), demand("y"))
    one.saved("y", 5000.0)
    assert told(one, 7200.0, demand("urgent", priority=1)) == ["y"]


def test_what_a_stop_loses_counts_on_each_gpu() -> None:
    one = engine(("a", H100, "f"), ("b", H100, "f"))
    run(one, 0.0, demand("large"))
    run(one, 0.0, demand("small", gpus=5), demand("other", gpus=3))
    one.saved("large", 6600.0)
    one.saved("small", 6000.0)
    assert told(one, 7200.0, demand("urgent", gpus=2, priority=1)) == ["large"], "600 s x 8 against 1,200 s x 5"
    one.withdraw("urgent")
    one.saved("other", 7000.0)
    assert told(one, 7300.0, demand("second", gpus=2, priority=1)) == ["other"]


def test_equal_and_higher_priorities_are_left_alone() -> None:
    one = engine(("a", H100, "f"))
    run(one, 0.0, demand("x", priority=3))
    assert told(one, 7200.0, demand("equal", priority=3)) == []


def test_a_job_that_may_not_yield_is_left_alone() -> None:
    one = engine(("a", H100, "f"))
    run(one, 0.0, demand("x", may_yield=False))
    assert told(one, 7200.0, demand("urgent", priority=3)) == []


def test_only_nodes_of_the_right_model_and_fabric_are_cleared() -> None:
    nodes = [("l", L4, "f"), ("a", H100, "f"), ("b", H100, "f"), ("c", H100, "g")]
    one = engine(*nodes)
    for name in ("on-l", "on-a", "on-b", "on-c"):
        run(one, 0.0, demand(name, project=name))
    held = {job_id: running.shares[0].node_id for job_id, running in one.running.items()}
    two = Demand("two", Ask(8, models=("H100",)), 0.0, 2, 2, priority=1)
    assert {held[job_id] for job_id in told(one, 7200.0, two)} == {"a", "b"}


def test_nobody_stops_when_the_gang_would_not_fit_even_then() -> None:
    one = engine(("a", H100, "f"), ("b", H100, "f"))
    run(one, 0.0, demand("x"))
    run(one, 0.0, demand("pinned", gpus=1, may_yield=False))
    assert told(one, 7200.0, demand("two", nodes=2, priority=1)) == []


def test_whoever_turns_out_not_to_be_needed_goes_on() -> None:
    one = engine(("a", H100, "f"))
    run(one, 0.0, demand("one", gpus=1), demand("seven", gpus=7))
    one.saved("one", 7100.0)
    assert told(one, 7200.0, demand("all but one", gpus=7, priority=1)) == ["seven"]


def test_cpus_and_memory_must_come_free_too() -> None:
    one = engine(("a", H100, "f"))
    eager = Demand("eager", Ask(1, cpu_milli=150_000), 0.0)
    run(one, 0.0, eager, demand("gpus", gpus=7))
    one.saved("gpus", 7200.0)
    wants = Demand("wants", Ask(1, cpu_milli=100_000), 0.0, priority=1)
    assert told(one, 7200.0, wants) == ["eager"]


def test_a_start_is_left_alone_for_a_while() -> None:
    one = engine(("a", H100, "f"))
    run(one, 0.0, demand("x"))
    one.submit(demand("urgent", priority=1))
    refused = one.decide(MIN_RUN_S - 1)
    assert refused.yields == []
    assert refused.wake_at == MIN_RUN_S - 1 + RECHECK_S, "it asks to be looked at again, though nothing may happen"
    assert [given.job_id for given in one.decide(MIN_RUN_S).yields] == ["x"]


def test_one_stop_never_leads_to_the_next() -> None:
    one = engine(("a", H100, "f"), ("b", H100, "f"))
    run(one, 0.0, demand("low"), demand("middle", priority=1))
    one.saved("middle", 7200.0)
    assert told(one, 7200.0, demand("high", priority=2)) == ["middle"]
    one.ended("middle")
    one.submit(demand("middle", priority=1, yielded_at=7200.0))
    again = one.decide(7200.0)
    assert [start.demand.job_id for start in again.starts] == ["high"]
    assert again.yields == []
    assert [given.job_id for given in one.decide(7200.0 + CALM_S).yields] == ["low"]


def test_what_is_free_on_a_node_that_is_being_cleared_goes_to_nobody_else() -> None:
    one = engine(("a", H100, "f"))
    run(one, 0.0, demand("x", gpus=4))
    assert told(one, 7200.0, demand("urgent", gpus=8, priority=1)) == ["x"]
    one.submit(demand("small", gpus=1))
    assert one.decide(7201.0).starts == []
    one.ended("x")
    assert [start.demand.job_id for start in one.decide(7260.0).starts] == ["urgent"]


def test_what_was_cleared_for_a_gang_stays_kept_when_the_first_of_the_queue_get_nodes_reserved() -> None:
    cluster = Cluster()
    cluster.add("a", H100, {"fabric": "f"})
    one = Engine(cluster, yielding=LeastLost(), patience=Patience(patience_s=0.0))
    run(one, 0.0, demand("low"))
    assert told(one, 7200.0, demand("urgent", priority=1)) == ["low"]
    one.ended("low")
    one.submit(demand("sooner", gpus=1, priority=2, is_recovering=True))
    assert [start.demand.job_id for start in one.decide(7200.0).starts] == ["urgent"]


def test_elastic_jobs_shrink_before_anybody_has_to_wait_and_go_on_at_once() -> None:
    one = engine(*((f"n{number}", H100, "f") for number in range(4)))
    elastic = Demand("elastic", Ask(8), 0.0, 1, 3)
    run(one, 0.0, elastic)
    run(one, 0.0, demand("rigid"))
    one.saved("rigid", 7200.0)
    assert told(one, 7200.0, demand("urgent", nodes=2, priority=1)) == ["elastic"], "though stopping both loses less"
    one.ended("elastic")
    one.submit(replace(elastic, yielded_at=7200.0))
    starts = {start.demand.job_id: len(start.shares) for start in one.decide(7200.0).starts}
    assert starts == {"urgent": 2, "elastic": 1}


def test_when_shrinking_is_not_enough_others_stop_too_and_what_is_left_is_still_kept() -> None:
    one = engine(*((f"n{number}", H100, "f") for number in range(4)))
    run(one, 0.0, Demand("elastic", Ask(8), 0.0, 2, 3))
    run(one, 0.0, demand("rigid"))
    one.saved("rigid", 7200.0)
    assert told(one, 7200.0, demand("urgent", nodes=2, priority=1)) == ["elastic", "rigid"]
    assert len(one.kept_for("elastic")) == 2


def test_what_an_elastic_job_cannot_go_on_with_is_not_kept_for_it() -> None:
    one = engine(*((f"n{number}", H100, "f") for number in range(3)))
    run(one, 0.0, Demand("elastic", Ask(8), 0.0, 2, 3))
    assert told(one, 7200.0, demand("urgent", nodes=2, priority=1)) == ["elastic"]
    assert one.kept_for("elastic") == []


def test_levels_double_from_a_gpu_hour() -> None:
    order = LeastServed()
    assert [order.level(hours * HOUR) for hours in (0, 0.99, 1, 1.99, 2, 3.99, 4)] == [0, 0, 1, 1, 2, 2, 3]


def test_who_got_much_more_gives_way_right_after_it_saved() -> None:
    one = engine(("a", H100, "f"), sharing=True)
    run(one, 0.0, demand("old"))
    assert told(one, HOUR, demand("new")) == [], "an hour of eight GPUs would be lost"
    one.saved("old", HOUR)
    assert [given.job_id for given in one.decide(HOUR).yields] == ["old"]


def test_priority_passes_at_any_cost_also_where_time_is_shared() -> None:
    one = engine(("a", H100, "f"), sharing=True)
    run(one, 0.0, demand("old"))
    assert told(one, 10 * HOUR, demand("urgent", priority=1)) == ["old"]


def test_who_got_little_more_goes_on() -> None:
    one = engine(("a", H100, "f"), sharing=True)
    run(one, 0.0, demand("old"))
    near = demand("near", served_gpu_s=8 * HOUR / 2 ** (GAP - 1))
    one.saved("old", HOUR)
    assert told(one, HOUR, near) == []


def test_who_waited_long_for_what_it_ran_is_first_again() -> None:
    order = LeastServed()
    waits = demand("waits", served_gpu_s=80 * HOUR, yielded_at=0.0)
    ran_s = 10 * HOUR
    assert order.turn(waits, PATIENCE * ran_s) == (0, order.level(80 * HOUR))
    assert order.turn(waits, PATIENCE * ran_s + 1) == (0, 0)


MOMENTS = st.lists(
    st.tuples(
        st.sampled_from([30.0, 700.0, 4000.0]),  # seconds that go by before it
        st.lists(st.tuples(st.sampled_from([1, 2, 4, 8]), st.integers(1, 2), st.integers(0, 2)), max_size=4),
        st.lists(st.integers(0, 20), max_size=2),  # which running jobs end
        st.lists(st.integers(0, 20), max_size=3),  # which have just saved
    ),
    min_size=4,
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(moments=MOMENTS, sharing=st.booleans())
def test_whatever_happens_stops_are_guarded_fitting_and_the_same_for_an_engine_made_anew(
    moments: Sequence[tuple[float, Sequence[tuple[int, int, int]], Sequence[int], Sequence[int]]], sharing: bool
) -> None:
    nodes = [(f"n{number}", H100 if number % 2 else L4, f"f{number % 2}") for number in range(4)]
    one, now, waiting = engine(*nodes, sharing=sharing), 0.0, dict[str, Demand]()
    for number, (later_s, submitted, ending, saving) in enumerate(moments):
        now += later_s
        for which in ending:
            if one.running:
                one.ended(sorted(one.running)[which % len(one.running)])
        for which in saving:
            if one.running:
                one.saved(sorted(one.running)[which % len(one.running)], now)
        for index, (gpus, size, priority) in enumerate(submitted):
            fewest = 1 if gpus == 8 else size  # whole nodes: elastic
            _wait(one, waiting, Demand(f"j{number}-{index}", Ask(gpus), 0.0, fewest, size, priority=priority))
        _settle(one, waiting, nodes, sharing, now)


def _anew(nodes: Sequence[tuple[str, NodeKind, str]], one: Engine, waiting: dict[str, Demand], sharing: bool) -> Engine:
    made = engine(*reversed(nodes), sharing=sharing)
    for job_id in sorted(one.running, reverse=True):
        running = one.running[job_id]
        made.started(running.demand, running.shares, running.started_at)
        made.saved(job_id, running.saved_at)
    for job in waiting.values():
        made.submit(job)
    return made


def _wait(one: Engine, waiting: dict[str, Demand], job: Demand) -> None:
    waiting[job.job_id] = job
    one.submit(job)


def _settle(
    one: Engine, waiting: dict[str, Demand], nodes: Sequence[tuple[str, NodeKind, str]], sharing: bool, now: float
) -> None:
    """Those who are told to stop do so, and whoever they stopped for starts before anybody else is told."""
    stopped = dict[str, str]()
    while True:
        its = _anew(nodes, one, waiting, sharing).decide(now) if not stopped else None
        decision = one.decide(now)
        assert its is None or decision == its
        started = {start.demand.job_id for start in decision.starts}
        assert set(stopped.values()) <= started, "nobody stops in vain"
        assert not {given.to for given in decision.yields} & set(stopped), "one stop led to the next"
        for job_id in started:
            del waiting[job_id]
        _check_capacity(one)
        stopped = {given.job_id: given.to for given in decision.yields}
        for job_id in stopped:
            running = one.ended(job_id)
            assert now - running.started_at >= MIN_RUN_S
            served = running.served_gpu_s(now)
            _wait(one, waiting, replace(running.demand, served_gpu_s=served, yielded_at=now))
        if not stopped:
            return


def _check_capacity(one: Engine) -> None:
    held: dict[tuple[str, int], int] = {}
    shares: list[Share] = [share for running in one.running.values() for share in running.shares]
    for share in shares:
        for gpu in share.gpus:
            held[share.node_id, gpu] = held.get((share.node_id, gpu), 0) + share.gpu_milli
    assert all(milli <= 1000 for milli in held.values())


@pytest.mark.parametrize("lost_s", [LOST_MAX_S - 60.0, LOST_MAX_S - 59.0])
def test_time_sharing_stops_nobody_at_a_high_cost(lost_s: float) -> None:
    one = engine(("a", H100, "f"), sharing=True)
    run(one, 0.0, demand("old"))
    one.saved("old", 10 * HOUR - lost_s)
    assert bool(told(one, 10 * HOUR, demand("new"))) is (lost_s + 60.0 <= LOST_MAX_S)
