"""Fair shares: who holds least of what it needs most goes first, the past is forgotten by halves, and age wins."""

from collections.abc import Sequence

import pytest
from godwit.scheduler.asks import Ask, NodeKind
from godwit.scheduler.cluster import ANYWHERE, Cluster
from godwit.scheduler.demands import Decision, Demand
from godwit.scheduler.engine import Engine
from godwit.scheduler.fair_share import FairShare, Usage
from godwit.scheduler.quotas import CPUS, GPUS
from hypothesis import given, settings
from hypothesis import strategies as st

KIND = NodeKind("H100-SXM", 8, 80.0, 64_000, 2_000_000, "p", "r")
CAPACITY = {GPUS: 16_000, CPUS: 128_000}
DAY = 86400.0


def demand(name: str, project: str, gpus: int = 1, cpus: int = 0, **fields: object) -> Demand:
    since = float(fields.pop("since", 0.0))  # type: ignore[arg-type]
    ask = Ask(gpus, cpu_milli=cpus * 1000)
    return Demand(name, ask, since, 1, 1, ANYWHERE, project, **fields)  # type: ignore[arg-type]


def engine(usage: Usage | None = None, **fields: object) -> Engine:
    cluster = Cluster()
    for name in ("n0", "n1"):
        cluster.add(name, KIND)
    usage = usage or Usage(CAPACITY)
    return Engine(cluster, order=FairShare(usage, **fields), gate=usage)  # type: ignore[arg-type]


def served(one: Engine, *demands: Demand, now: float = 0.0) -> list[str]:
    for each in demands:
        one.submit(each)
    return [start.demand.job_id for start in one.decide(now).starts]


def test_projects_are_served_in_turns_however_much_each_asks() -> None:
    crowd = [demand(f"a{n}", "a", 4, since=float(n)) for n in range(9)]
    assert served(engine(), *crowd, demand("b0", "b", 4, since=50.0), demand("b1", "b", 4, since=51.0)) == [
        "a0",
        "b0",
        "a1",
        "b1",
    ]


def test_the_largest_of_a_projects_shares_counts() -> None:
    # "c" takes 2 of 16 GPUs (an eighth) and 48 of 128 CPUs (three eighths); "g" takes 4 GPUs (a quarter).
    usage = Usage(CAPACITY)
    one = engine(usage)
    assert served(one, demand("c0", "c", 2, 48), demand("g0", "g", 4)) == ["c0", "g0"]
    assert (usage.standing("c"), usage.standing("g")) == (0.1875, 0.125)
    assert served(one, demand("c1", "c", 1, 1), demand("g1", "g", 1, 1, since=9.0)) == ["g1", "c1"]


def test_a_project_of_twice_the_weight_gets_twice_as_much() -> None:
    jobs = [demand(f"{project}{n:02}", project, 1) for n in range(16) for project in "ab"]
    got = served(engine(weights={"a": 2.0}), *jobs)
    assert [sum(name.startswith(project) for name in got[:12]) for project in "ab"] == [8, 4]


def test_usage_is_forgotten_by_halves_and_bounded_by_what_is_held() -> None:
    usage = Usage(CAPACITY, half_life_s=DAY)
    job = demand("j", "a", 8)
    usage.started(job, 1)
    usage.at(DAY)
    assert usage.averages("a")[GPUS] == pytest.approx(4_000)
    usage.at(50 * DAY)
    assert usage.averages("a")[GPUS] == pytest.approx(8_000)
    usage.ended(job, 1)
    usage.at(52 * DAY)
    assert usage.averages("a")[GPUS] == pytest.approx(2_000)
    assert usage.standing("a") == pytest.approx(0.0625)


def test_who_used_more_lately_waits_for_who_used_less() -> None:
    usage = Usage(CAPACITY, past={"a": {GPUS: 8_000.0}, "b": {GPUS: 6_400.0}})
    assert served(engine(usage), demand("a0", "a", since=-9.0), demand("b0", "b")) == ["b0", "a0"]


def test_a_clock_that_goes_back_stands_still() -> None:
    usage = Usage(CAPACITY, half_life_s=DAY)
    usage.started(demand("j", "a", 8), 1)
    usage.at(DAY)
    before = usage.averages("a")
    usage.at(0.0)
    assert usage.averages("a") == before


def test_a_higher_tier_goes_first_whatever_its_project_holds() -> None:
    jobs = [demand("a0", "a", 8), demand("a1", "a", 8, priority=10, since=9.0), demand("b0", "b", 8)]
    assert served(engine(tiers=(10,)), *jobs) == ["a1", "b0"]


def test_a_point_of_priority_is_worth_its_head_start_and_no_more() -> None:
    old, young = demand("old", "a", 8, since=0.0), demand("young", "a", 8, priority=2, since=100.0)
    assert served(engine(head_start_s=51.0), old, young, demand("x", "a", 8, since=1e6))[:2] == ["young", "old"]
    assert served(engine(head_start_s=49.0), old, young)[0] == "old"


@pytest.mark.parametrize("bad", [0.0, -1.0])
def test_weights_and_half_lives_that_make_no_sense_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="half-life"):
        Usage(CAPACITY, half_life_s=bad)
    with pytest.raises(ValueError, match="weight"):
        FairShare(Usage(CAPACITY), weights={"a": bad})


@settings(max_examples=60, deadline=None)
@given(
    priorities=st.lists(st.integers(-3, 3), min_size=30, max_size=60),
    head_start_s=st.sampled_from([0.0, 1.0, 2.5]),
    projects=st.integers(1, 3),
)
def test_nobody_starves_under_ageing_though_more_comes_than_can_run(
    priorities: list[int], head_start_s: float, projects: int
) -> None:
    """One job of the least priority waits; each second two come and one, of the whole fleet, can run."""
    usage = Usage({GPUS: 8000}, half_life_s=5.0)
    cluster = Cluster()
    cluster.add("n0", KIND)
    one = Engine(cluster, order=FairShare(usage, head_start_s=head_start_s), gate=usage)
    one.submit(demand("patient", "p0", 8, priority=-3))
    order: list[str] = []
    for now, priority in enumerate(priorities * 4):
        usage.at(float(now))
        for gone in list(one.running):
            one.ended(gone)
        for each in range(2):
            one.submit(demand(f"{now}.{each}", f"p{each % projects}", 8, priority=priority, since=float(now) + 0.1))
        order += [start.demand.job_id for start in one.decide(now + 0.2).starts]
    # Of its own project only what came within six points' head start may go first, two a second; the others take turns.
    within_s = 6 * head_start_s + 1
    assert "patient" in order
    assert order.index("patient") <= (2 * within_s + 2) * 2 * projects
    mine = [name for name in order[: order.index("patient")] if name.endswith(".0") or projects == 1]
    assert all(float(name.split(".")[0]) <= within_s for name in mine)


@settings(max_examples=60, deadline=None)
@given(
    jobs=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([1, 2, 4, 8]), st.integers(0, 99)), max_size=20),
    data=st.data(),
)
def test_the_order_of_telling_changes_nothing(jobs: Sequence[tuple[str, int, int]], data: st.DataObject) -> None:
    demands = [demand(f"j{n}", project, gpus, since=float(at)) for n, (project, gpus, at) in enumerate(jobs)]
    shuffled = data.draw(st.permutations(demands))
    assert served(engine(), *demands, now=100.0) == served(engine(), *shuffled, now=100.0)


crowds = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from([1, 2, 4]), st.integers(0, 50), st.integers(0, 2), st.booleans()),
    max_size=20,
)


@given(crowds, st.sampled_from([None, 60.0]))
def test_whoever_serves_each_gets_them_as_if_all_were_asked_before_every_one(
    crowd: Sequence[tuple[str, int, int, int, bool]], estimate_s: float | None
) -> None:
    one = engine(tiers=(2,))
    left: dict[str, Demand] = {}
    for n, (project, gpus, since, priority, is_recovering) in enumerate(crowd):
        lasts_s = None if estimate_s is None else estimate_s + n
        each = demand(
            f"{n:02}", project, gpus, since=float(since), priority=priority, is_recovering=is_recovering,
            estimate_s=lasts_s,
        )  # fmt: skip
        left[each.job_id] = each
        one.submit(each)

    def place_in_queue(each: Demand) -> tuple[object, ...]:
        return (one.order.turn(each, 99.0), -each.priority, not each.is_recovering, each.since, each.job_id)

    for each in one.in_turn(99.0):
        assert each is min(left.values(), key=place_in_queue)
        del left[each.job_id]
        one.place(each, 99.0, Decision())
    assert not left
