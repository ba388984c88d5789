"""Who gets how many units: what holds for any jobs and any pool, and the cases that explain it."""

import random
from collections import Counter
from dataclasses import replace

import pytest
from godwit.scheduler.elasticity import curve, sizes
from godwit.scheduler.elasticity.curve import Curve
from godwit.scheduler.elasticity.packing import Nodes
from godwit.scheduler.elasticity.sizes import Decision, ElasticJob, Pool, Terms
from hypothesis import given
from hypothesis import strategies as st

NOW = 100_000.0


@st.composite
def pools(draw: st.DrawFn) -> Pool:
    per_node = draw(st.sampled_from((1, 2, 4, 8)))
    return Pool(tuple(draw(st.lists(st.integers(0, per_node), min_size=1, max_size=8))), per_node)


@st.composite
def jobs(draw: st.DrawFn, name: str, per_node: int) -> ElasticJob:
    least = draw(st.integers(1, 8))
    wanted = curve.sizes(least, draw(st.integers(least, 64)), per_node, draw(st.integers(0, 16)))
    speeds = draw(st.lists(st.floats(0.01, 100), min_size=len(wanted), max_size=len(wanted)))
    known = Curve(wanted, tuple(speeds), measured=draw(st.booleans()))
    left = draw(st.none() | st.floats(0, 1e7))
    changed_at = NOW - draw(st.floats(0, 1e5))
    return ElasticJob(name, known, (), left, draw(st.floats(0, 1e6)), changed_at, draw(st.floats(0, 600)))


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Pool, list[ElasticJob]]:
    """A pool, and jobs of which some run on it as an earlier decision left them."""
    pool = draw(pools())
    waiting = [draw(jobs(f"job-{number}", pool.units_per_node)) for number in range(draw(st.integers(0, 8)))]
    running = sizes.decide(waiting[: draw(st.integers(0, 8))], pool, NOW).nodes
    return pool, [replace(job, nodes=running.get(job.name, ())) for job in waiting]


def _count(nodes: Nodes) -> int:
    return sum(units for _, units in nodes)


@given(worlds())
def test_no_node_gives_more_than_it_has(world: tuple[Pool, list[ElasticJob]]) -> None:
    pool, found = world
    used = Counter[int]()
    for nodes in sizes.decide(found, pool, NOW).nodes.values():
        assert len({node for node, _ in nodes}) == len(nodes)
        for node, units in nodes:
            used[node] += units
    assert all(units <= pool.units[node] for node, units in used.items())


@given(worlds())
def test_a_job_that_runs_has_its_minimum_and_not_more_than_its_maximum(world: tuple[Pool, list[ElasticJob]]) -> None:
    pool, found = world
    given_nodes = sizes.decide(found, pool, NOW).nodes
    for job in found:
        if job.name in given_nodes:
            assert job.curve.sizes[0] <= _count(given_nodes[job.name]) <= job.curve.sizes[-1]


@given(worlds(), st.randoms(use_true_random=False))
def test_the_order_of_jobs_does_not_matter(world: tuple[Pool, list[ElasticJob]], rng: random.Random) -> None:
    pool, found = world
    shuffled = list(found)
    rng.shuffle(shuffled)
    assert sizes.decide(shuffled, pool, NOW) == sizes.decide(found, pool, NOW)


@given(worlds())
def test_changes_are_what_differs_between_before_and_after(world: tuple[Pool, list[ElasticJob]]) -> None:
    pool, found = world
    decision = sizes.decide(found, pool, NOW)
    changed = {change.name: change.nodes for change in decision.changes}
    for job in found:
        after = decision.nodes.get(job.name, ())
        assert (job.name in changed) == (after != job.nodes)
        assert changed.get(job.name, after) == after


@given(worlds())
def test_a_job_that_settles_does_not_grow_and_shrinks_only_to_make_room(world: tuple[Pool, list[ElasticJob]]) -> None:
    pool, found = world
    settling = [replace(job, changed_at=NOW - 10) for job in found]
    decision = sizes.decide(settling, pool, NOW, Terms(settle_s=60))
    for job in settling:
        if job.nodes:
            assert _count(decision.nodes.get(job.name, ())) <= job.units


@given(worlds())
def test_who_waits_longest_is_not_left_out_for_ever(world: tuple[Pool, list[ElasticJob]]) -> None:
    pool, found = world
    whole = Pool((pool.units_per_node,) * len(pool.units), pool.units_per_node)
    for job in found:
        if not job.nodes and job.curve.sizes[0] <= sum(whole.units):
            others = [replace(other, changed_at=NOW) for other in found if other is not job]
            assert job.name in sizes.decide([*others, replace(job, changed_at=-1e15)], whole, NOW).nodes


@given(pools())
def test_a_lone_job_runs_when_any_node_holds_it(pool: Pool) -> None:
    job = _job("alone", curve.amdahl({1: 1.0}, curve.sizes(1, 4, pool.units_per_node)))
    assert bool(sizes.decide([job], pool, NOW).nodes) == (sum(pool.units) > 0)


def _job(name: str, known: Curve, nodes: Nodes = (), left: float | None = 36_000.0) -> ElasticJob:
    return ElasticJob(name, known, nodes, left, attained_unit_s=3600.0, changed_at=NOW - 3600)


LINEAR = Curve((1, 2, 3, 4), (1.0, 2.0, 3.0, 4.0))
STUBBORN = Curve((1, 2, 3, 4), (1.0, 1.1, 1.15, 1.17))
NODE = Pool((4,), 4)


def _units(decision: Decision) -> dict[str, int]:
    return {name: _count(nodes) for name, nodes in decision.nodes.items()}


def test_the_job_that_gains_more_by_a_unit_gets_it() -> None:
    assert _units(sizes.decide([_job("fast", LINEAR), _job("stubborn", STUBBORN)], NODE, NOW)) == {
        "fast": 3,
        "stubborn": 1,
    }


def test_a_unit_that_brings_next_to_nothing_stays_free() -> None:
    assert _units(sizes.decide([_job("stubborn", STUBBORN)], NODE, NOW)) == {"stubborn": 2}
    careless = Terms(worth_min=0.0)
    assert _units(sizes.decide([_job("stubborn", STUBBORN)], NODE, NOW, careless)) == {"stubborn": 4}


def test_of_two_alike_the_one_with_less_to_do_grows() -> None:
    bent = curve.amdahl({1: 1.0, 2: 1.6}, (1, 2, 3, 4))
    found = [_job("long", bent, left=9_000.0), _job("short", bent, left=900.0)]
    given_units = _units(sizes.decide(found, NODE, NOW))
    assert given_units["short"] > given_units["long"] >= 1


def test_of_two_alike_the_one_on_cheaper_nodes_grows() -> None:
    bent = curve.amdahl({1: 1.0, 2: 1.6}, (1, 2, 3))
    dear = replace(_job("dear", bent), usd_per_unit_hour=4.0)
    assert _units(sizes.decide([dear, _job("cheap", bent)], NODE, NOW)) == {"cheap": 3, "dear": 1}


def test_a_job_near_its_end_is_not_stopped_to_grow() -> None:
    almost = _job("almost", LINEAR, ((0, 2),), left=60.0)
    assert not sizes.decide([almost], NODE, NOW).changes
    far = replace(almost, left=36_000.0)
    (change,) = sizes.decide([far], NODE, NOW).changes
    assert (change.units_before, change.units, change.pays_back_s) == (2, 4, 30.0)


def test_who_waits_long_enough_gets_the_first_unit_of_a_full_pool() -> None:
    one = Curve((1,), (1.0,))
    short = _job("short", one, ((0, 1),), left=600.0)
    waiting = replace(_job("long", one, left=1e6), changed_at=NOW)
    pool = Pool((1,), 1)
    assert _units(sizes.decide([short, waiting], pool, NOW)) == {"short": 1}
    late = sizes.decide([short, waiting], pool, NOW + 200_000)
    assert _units(late) == {"long": 1}
    assert [change.reason for change in late.changes] == [
        "starts on 1 unit",
        "stops: others gain more by its 1 unit",
    ]


def test_a_job_whose_node_left_moves() -> None:
    decision = sizes.decide([_job("mover", LINEAR, ((3, 2),))], Pool((0, 2), 4), NOW)
    assert decision.nodes == {"mover": ((1, 2),)}


def test_the_example_of_the_page_comes_out_as_it_says() -> None:
    looked_at = curve.sizes(1, 8, 1, tried=2)
    tune = replace(_job("tune", curve.amdahl({1: 10.0, 2: 18.0}, looked_at), ((0, 1), (1, 1))))
    parse = _job("parse", curve.amdahl({1: 10.0, 2: 12.0}, looked_at), ((2, 1),))
    pool = Pool((1,) * 4, 1)
    (change,) = sizes.decide([tune, parse], pool, NOW).changes
    assert (change.name, change.units_before, change.units, round(change.speed, 1)) == ("tune", 2, 3, 24.5)
    assert change.reason == "from 2 to 3 units: +36% speed; the stop is earned back 82 s after it"
    dear = replace(tune, usd_per_unit_hour=4.0)
    (change,) = sizes.decide([dear, parse], pool, NOW).changes
    assert (change.name, change.units) == ("parse", 2)


def test_whole_nodes_are_units_too() -> None:
    known = curve.amdahl({2: 1.9}, curve.sizes(2, 8, 1, tried=2))
    assert known.sizes == (2, 3, 4, 5, 6, 7, 8)
    decision = sizes.decide([_job("gang", known)], Pool((1,) * 10, 1), NOW)
    assert decision.nodes["gang"] == tuple((node, 1) for node in range(8))


def test_smaller_jobs_move_out_of_the_way_of_one_that_needs_a_whole_node() -> None:
    two, four = Curve((2,), (2.0,)), Curve((4,), (4.0,))
    found = [_job("a", two, ((0, 2),)), _job("b", two, ((1, 2),)), _job("whole", four)]
    decision = sizes.decide(found, Pool((4, 4), 4), NOW)
    assert decision.nodes["a"] == decision.nodes["b"] == ((1, 2),)
    assert {change.name: change.reason for change in decision.changes} == {
        "a": "moves to other nodes, so that another job fits",
        "whole": "starts on 4 units",
    }


def test_nobody_moves_as_long_as_everybody_finds_room() -> None:
    two = Curve((2,), (2.0,))
    found = [_job("a", two, ((0, 2),)), _job("b", two, ((1, 2),)), _job("new", two)]
    decision = sizes.decide(found, Pool((4, 4), 4), NOW)
    assert [change.name for change in decision.changes] == ["new"]


def test_a_gang_is_never_placed_below_its_minimum() -> None:
    known = curve.amdahl({}, curve.sizes(4, 8, 1))
    assert not sizes.decide([_job("gang", known)], Pool((1,) * 3, 1), NOW).nodes


@pytest.mark.parametrize("field", ["left", "weight", "restart_s", "attained_unit_s", "usd_per_unit_hour"])
@pytest.mark.parametrize("amount", [-1.0, float("nan"), float("inf")])
def test_amounts_that_make_no_sense_are_refused(field: str, amount: float) -> None:
    with pytest.raises(ValueError, match="amounts are finite"):
        replace(_job("odd", LINEAR), **{field: amount})  # type: ignore[arg-type]


NONSENSE = (((), ()), ((0,), (1.0,)), ((1, 1), (1.0, 1.0)), ((1,), (float("nan"),)), ((1,), (0.0,)))


@pytest.mark.parametrize("broken", NONSENSE)
def test_a_curve_that_makes_no_sense_is_refused(broken: tuple[tuple[int, ...], tuple[float, ...]]) -> None:
    with pytest.raises(ValueError, match="curve"):
        Curve(*broken)
