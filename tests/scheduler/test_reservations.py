"""Nodes kept for the first of the queue: what goes past it never delays it, and it never waits for ever."""

import heapq
from collections.abc import Sequence
from dataclasses import replace
from math import inf

import numpy as np
from godwit.scheduler.asks import Ask, NodeKind
from godwit.scheduler.cluster import Cluster, Share
from godwit.scheduler.demands import Demand
from godwit.scheduler.engine import Engine
from godwit.scheduler.reservations import Horizon, Patience
from hypothesis import given, settings
from hypothesis import strategies as st

H100 = NodeKind("H100-SXM", 8, 80.0, 200_000, 2_000_000, "p", "r")
SOON = 1e-6


def engine(*fabrics: str, heads: int = 1, patience_s: float = 900.0) -> Engine:
    cluster = Cluster()
    for number, fabric in enumerate(fabrics):
        cluster.add(f"n{number}", H100, {"fabric": fabric})
    return Engine(cluster, patience=Patience(heads, patience_s))


def demand(name: str, since: float = 0.0, gpus: int = 8, nodes: int = 1, lasts_s: float | None = None) -> Demand:
    return Demand(name, Ask(gpus), since, nodes, nodes, estimate_s=lasts_s)


def started(one: Engine, now: float, *demands: Demand) -> list[str]:
    for each in demands:
        one.submit(each)
    return [start.demand.job_id for start in one.decide(now).starts]


def test_a_short_job_goes_past_a_gang_that_waits_and_a_long_one_does_not() -> None:
    one = engine("f", "f")
    assert started(one, 0.0, demand("running", lasts_s=100)) == ["running"]
    assert started(one, 0.0, demand("gang", 1.0, nodes=2, lasts_s=50)) == []
    assert one.reservations()["gang"].at == 100
    assert started(one, 10.0, demand("long", 2.0, lasts_s=91)) == []
    assert started(one, 10.0, demand("unknown", 3.0)) == []
    assert started(one, 10.0, demand("short", 4.0, lasts_s=90)) == ["short"]
    one.ended("short")
    one.ended("running")
    assert started(one, 100.0) == ["gang"]


def test_what_lies_elsewhere_is_free_for_all() -> None:
    one = engine("f", "f", "g")
    assert started(one, 0.0, demand("running", nodes=2, lasts_s=100)) == ["running"]
    assert started(one, 1.0, demand("gang", 1.0, nodes=2, lasts_s=50), demand("long", 2.0, lasts_s=1_000)) == ["long"]


def test_a_gang_whose_start_nobody_can_tell_gets_nodes_kept_when_its_patience_ends() -> None:
    one = engine("f", "f", patience_s=600)
    started(one, 0.0, demand("running"))
    one.submit(demand("gang", 0.0, nodes=2))
    decision = one.decide(10.0)
    assert decision.wake_at == 600
    assert started(one, 10.0, demand("small", 1.0, gpus=1)) == ["small"]
    one.ended("small")
    assert started(one, 600.0, demand("another", 2.0, gpus=1)) == []
    assert one.reservations()["gang"].at == inf
    one.ended("running")
    assert started(one, 700.0) == ["gang"]


def test_nothing_is_kept_where_a_gang_could_never_start() -> None:
    """A node with seven GPUs that are well, and one that came with fewer CPUs, are for whom they will do."""
    one = engine("f")
    one.cluster.add("seven", H100, {"fabric": "f"}, gpus=range(7))
    one.cluster.add("small", replace(H100, cpu_milli=1_000), {"fabric": "f"})
    ask = Ask(8, cpu_milli=2_000)
    assert started(one, 0.0, Demand("running", ask, 0.0)) == ["running"]
    whole = Demand("whole", ask, 0.0)
    assert started(one, 1_000.0, whole, demand("seven", 1.0, gpus=7), demand("few", 2.0, gpus=6)) == ["seven", "few"]
    assert [one.cluster.ids[row] for row in one.reservations()["whole"].rows] == ["n0"]


def test_no_node_has_as_many_gpus_as_its_offer_says() -> None:
    one = Engine(Cluster(), patience=Patience())
    one.cluster.add("n", NodeKind("H100-SXM", 16, 80.0, 200_000, 2_000_000, "p", "r"), gpus=range(15))
    assert started(one, 1_000.0, demand("sixteen", gpus=16)) == []
    assert one.reservations() == {}


def test_a_gpu_that_several_share_is_free_when_the_last_of_them_ends() -> None:
    one = engine("f")
    for name, gpu, milli, lasts_s in (("a", 0, 500, 10), ("b", 0, 500, 20), ("c", 1, 1000, 900)):
        share = Share("n0", (gpu,), milli, 0, 0)
        one.started(Demand(name, Ask(1, milli), 0.0, estimate_s=lasts_s), [share], 0.0)
    horizon = Horizon(one).refresh()
    assert horizon.at[0].tolist() == [0.0] * 6 + [20.0, 900.0]
    one.ended("b")
    assert horizon.refresh().at[0].tolist() == [0.0] * 6 + [10.0, 900.0]


def test_the_horizon_knows_what_ran_before_the_news_that_are_kept() -> None:
    one = engine("f")
    one.started(demand("old", lasts_s=10), [Share("n0", tuple(range(8)), 1000, 0, 0)], 0.0)
    one.news, one.dropped_news = [], 1
    assert Horizon(one).refresh().at[0].tolist() == [10.0] * 8


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 9), st.sampled_from([300, 500, 1000])), max_size=12))
def test_a_horizon_told_of_changes_is_as_one_made_anew(steps: list[tuple[int, int, int]]) -> None:
    one = engine("f")
    followed = Horizon(one)
    for number, (what, gpus, milli) in enumerate(steps):
        if what == 0:
            kind = NodeKind("H100-SXM", gpus, 80.0, 200_000, 2_000_000, "p", "r")
            one.cluster.add(f"more{number}", kind)
        elif what == 1 and one.running:
            one.ended(min(one.running))
        elif what == 2 and len(one.cluster.row_of) > 1:
            one.cluster.remove(max(one.cluster.row_of))
        else:
            ask = Ask(gpus) if milli == 1000 else Ask(1, milli)
            started(one, float(number), Demand(f"j{number}", ask, 0.0, estimate_s=10.0 * gpus))
        followed.refresh()
        anew, size = Horizon(one).refresh(), one.cluster.size
        rows = np.flatnonzero(one.cluster.open[:size])
        assert np.array_equal(followed.at[rows], anew.at[rows])
        assert all(np.array_equal(getattr(followed, of)[rows], getattr(anew, of)[rows]) for of in ("gpus", "cpu"))


Job = tuple[int, int, int, int]
JOBS = st.lists(
    st.tuples(st.integers(0, 50), st.sampled_from([1, 2, 4, 8]), st.integers(1, 3), st.integers(1, 60)),
    min_size=1,
    max_size=15,
)


@settings(max_examples=100, deadline=None)
@given(jobs=JOBS, heads=st.integers(1, 4))
def test_the_first_of_the_queue_starts_by_the_instant_it_was_promised(jobs: Sequence[Job], heads: int) -> None:
    one = engine("f", "f", "f", "g", "g", "g", heads=heads)
    arrivals = sorted(
        (
            demand(f"j{i:02}", float(at), gpus, nodes, float(lasts_s))
            for i, (at, gpus, nodes, lasts_s) in enumerate(jobs)
        ),
        key=lambda each: each.since,
    )
    promised: dict[str, float] = {}
    events: list[tuple[float, str]] = [(each.since, "") for each in arrivals]
    left = 0
    while events:
        now, ended = heapq.heappop(events)
        if ended:
            one.ended(ended)
        elif left < len(arrivals):
            one.submit(arrivals[left])
            left += 1
        for start in one.decide(now).starts:
            job = start.demand
            assert now <= promised.get(job.job_id, inf) + SOON, f"{job.job_id} was promised {promised[job.job_id]}"
            heapq.heappush(events, (now + (job.estimate_s or 0.0), job.job_id))
        queue = one.waiting.in_order()
        if queue and queue[0].job_id in one.reservations():
            first = queue[0].job_id
            promised[first] = min(promised.get(first, inf), one.reservations()[first].at)
    assert not len(one.waiting), "everybody starts at last"
