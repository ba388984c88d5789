"""Fragmentation-aware placement: what is scarce or odd is used first, by scores that do not depend on how they came."""

from collections.abc import Sequence

import numpy as np
import pytest
from godwit.scheduler import fragmentation
from godwit.scheduler.asks import WHOLE, Ask, NodeKind
from godwit.scheduler.cluster import Cluster
from godwit.scheduler.demands import Demand
from godwit.scheduler.engine import Engine
from godwit.scheduler.fits import Rows
from godwit.scheduler.fragmentation import MOST_TYPICAL, Adapting, Fragmentation, Workload
from hypothesis import given, settings
from hypothesis import strategies as st

BIG = NodeKind("G2", 8, 0.0, 96_000, 393_216)
SMALL = NodeKind("T4", 2, 0.0, 104_000, 524_288)
CPUS_ONLY = NodeKind(None, 0, 0.0, 32_000, 262_144)
KINDS = (BIG, SMALL, CPUS_ONLY)


def fleet(*kinds: NodeKind) -> Cluster:
    made = Cluster()
    for number, kind in enumerate(kinds):
        made.add(f"n{number}", kind)
    return made


def asks(gpus: int = 1, milli: int = WHOLE, cpus: int = 4, memory_mib: int = 16_384, *models: str) -> Ask:
    return Ask(gpus, milli, cpus * 1000, memory_mib, models)


def chosen(cluster: Cluster, ask: Ask, *typical: Ask) -> str:
    engine = Engine(cluster, scorer=Fragmentation(cluster, Workload(typical)))
    engine.submit(Demand("job", ask, 0.0))
    (start,) = engine.decide(0.0).starts
    return start.shares[0].node_id


def occupy(cluster: Cluster, row: int, ask: Ask) -> None:
    cluster.take(cluster.share(row, ask))


def test_a_half_goes_beside_a_half_and_a_whole_gpu_stays_whole() -> None:
    cluster = fleet(BIG, BIG)
    half = asks(milli=500)
    occupy(cluster, 1, half)
    assert chosen(cluster, half, half, asks(), asks(gpus=8)) == "n1"


def test_a_node_that_typical_asks_need_whole_is_not_broken() -> None:
    assert chosen(fleet(BIG, SMALL), asks(), asks(), asks(gpus=8)) == "n1"


def test_an_ask_for_many_cpus_goes_where_cpus_are_plenty() -> None:
    cluster = fleet(BIG, SMALL)
    hungry, modest = asks(cpus=40), asks(cpus=12)
    assert chosen(cluster, hungry, hungry, modest) == "n1"
    assert chosen(cluster, modest, hungry, modest) == "n0"


def test_what_others_must_have_is_left_to_them_by_those_who_can_go_elsewhere() -> None:
    pinned = Ask(1, WHOLE, 4000, 16_384, ("T4",))
    assert chosen(fleet(BIG, BIG, SMALL), asks(), asks(), asks(), pinned) != "n2"
    assert chosen(fleet(BIG, BIG, SMALL), pinned, asks(), asks(), pinned) == "n2"


def test_an_ask_without_gpus_takes_the_cpus_that_no_gpu_needs() -> None:
    without = Ask(0, WHOLE, 12_000, 16_384)
    assert chosen(fleet(BIG, CPUS_ONLY), without, asks(cpus=12)) == "n1"
    assert chosen(fleet(BIG, SMALL), without, asks(cpus=12)) == "n1"


def test_without_any_knowledge_the_fullest_node_is_taken() -> None:
    cluster = fleet(BIG, BIG)
    occupy(cluster, 1, asks(gpus=4))
    assert chosen(cluster, asks()) == "n1"


def test_a_fleet_without_nodes_and_one_without_gpus_are_lived_with() -> None:
    nothing, without = Cluster(), fleet(CPUS_ONLY)
    Fragmentation(nothing, Workload([asks()]))
    assert chosen(without, Ask(0, WHOLE, 1000, 0), asks()) == "n0"


def test_the_example_of_the_documentation_comes_out() -> None:
    cluster = fleet(NodeKind("G", 4, 0.0, 32_000, 10**6), NodeKind("G", 4, 0.0, 64_000, 10**6))
    x, y = asks(cpus=8, memory_mib=0), asks(cpus=16, memory_mib=0)
    scorer = Fragmentation(cluster, Workload([x, x, x, y]))
    losses = [score / 4096 for ask in (x, y) for score in scorer(cluster, np.arange(2), ask)]
    assert [round(loss - 3000 / 2048) for loss in losses] == [918, 1000, 1423, 1000]


def test_what_came_long_ago_fades_and_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fragmentation, "MEMORY", 100)
    workload = Workload(asks(cpus=number) for number in range(1, 1001))
    assert len(workload.typical()) <= 100
    workload = Workload([asks()] * 150 + [asks(gpus=8)] * 300)
    assert workload.typical()[asks(gpus=8)] > 10 * workload.typical().get(asks(), 0)
    assert workload.total == 450


def test_the_order_in_which_asks_came_is_irrelevant() -> None:
    cluster, known = fleet(BIG, SMALL), [asks(cpus=number % 7) for number in range(40)]
    rows = np.arange(2)
    forward, backward = (Fragmentation(cluster, Workload(some)) for some in (known, known[::-1]))
    assert forward(cluster, rows, asks()).tolist() == backward(cluster, rows, asks()).tolist()


def test_of_very_many_asks_the_ones_that_want_most_devices_are_weighed() -> None:
    rare = [asks(cpus=number) for number in range(1, MOST_TYPICAL + 50)]
    typical = Workload([*rare, asks(gpus=8)]).typical()
    assert len(typical) == MOST_TYPICAL
    assert asks(gpus=8) in typical


def test_a_new_scorer_comes_only_when_much_has_changed() -> None:
    cluster, adapting = fleet(BIG, BIG), Adapting(Workload([asks()] * 2))
    assert adapting.scorer(cluster) is not None
    assert adapting.scorer(cluster) is None
    adapting.workload.asked(asks())
    assert adapting.scorer(cluster) is None
    for _ in range(2):
        adapting.workload.asked(asks())
    assert adapting.scorer(cluster) is not None
    occupy(cluster, 0, asks(gpus=8))
    assert adapting.scorer(cluster) is None
    cluster.add("more", SMALL)
    assert adapting.scorer(cluster) is not None


ASKS = st.builds(
    asks,
    gpus=st.just(1),
    milli=st.sampled_from([1, 160, 333, 500, 810]),
    cpus=st.integers(0, 30),
    memory_mib=st.sampled_from([0, 16_384, 100_000]),
) | st.builds(asks, gpus=st.sampled_from([0, 1, 2, 4, 8]), cpus=st.integers(1, 60))
FLEETS = st.lists(st.sampled_from(KINDS), min_size=1, max_size=8)


def all_rows(cluster: Cluster, ask: Ask) -> Rows:
    engine = Engine(cluster)
    return engine.fits(ask).fitting()


@settings(max_examples=100, deadline=None)
@given(kinds=FLEETS, typical=st.lists(ASKS, max_size=6), coming=st.lists(ASKS, max_size=40), joins=st.integers(0, 40))
def test_scores_of_a_scorer_that_followed_all_changes_equal_those_of_one_made_anew(
    kinds: Sequence[NodeKind], typical: Sequence[Ask], coming: Sequence[Ask], joins: int
) -> None:
    cluster = fleet(*kinds)
    # Both take their weights from the empty fleet; the second sees only the end.
    early, late = (Fragmentation(cluster, Workload(typical)) for _ in range(2))
    engine = Engine(cluster, scorer=early)
    for number, ask in enumerate(coming):
        engine.submit(Demand(f"j{number}", ask, float(number)))
        if not engine.decide(0.0).starts:
            engine.withdraw(f"j{number}")
        if number == joins:
            cluster.add("late", NodeKind("A10", 1, 0.0, 128_000, 1_048_576))
    for ask in [*typical, *coming]:
        rows = all_rows(cluster, ask)
        assert early(cluster, rows, ask).tolist() == late(cluster, rows, ask).tolist()
        one_by_one = [int(early(cluster, rows[i : i + 1], ask)[0]) for i in range(len(rows))]
        assert early(cluster, rows, ask).tolist() == one_by_one


@settings(max_examples=100, deadline=None)
@given(kinds=FLEETS, coming=st.lists(ASKS, max_size=60), leaving=st.sets(st.integers(0, 59)))
def test_capacity_is_never_exceeded_and_the_same_arrivals_are_placed_alike(
    kinds: Sequence[NodeKind], coming: Sequence[Ask], leaving: set[int]
) -> None:
    def run() -> list[object]:
        cluster, adapting, found = fleet(*kinds), Adapting(Workload()), list[object]()
        engine = Engine(cluster)
        for number, ask in enumerate(coming):
            adapting.workload.asked(ask)
            scorer = adapting.scorer(cluster)
            if scorer is not None:
                engine.score_by(scorer)
            engine.submit(Demand(f"j{number}", ask, float(number)))
            starts = engine.decide(0.0).starts
            found.append(starts)
            if not starts:
                engine.withdraw(f"j{number}")
            if number in leaving and f"j{number}" in engine.running:
                engine.ended(f"j{number}")
            assert (cluster.free >= 0).all()
            assert (cluster.free <= WHOLE).all()
            assert (cluster.cpu >= 0).all()
            assert (cluster.memory >= 0).all()
        return found

    assert run() == run()


@given(kinds=FLEETS, typical=st.lists(ASKS, max_size=6), ask=ASKS)
def test_scores_stay_within_what_a_key_can_hold(kinds: Sequence[NodeKind], typical: Sequence[Ask], ask: Ask) -> None:
    cluster = fleet(*kinds)
    rows = all_rows(cluster, ask)
    scores = Fragmentation(cluster, Workload(typical))(cluster, rows, ask)
    assert scores.dtype == np.int64
    assert (np.abs(scores) < 2**29).all()
