"""How often to save: Young and Daly, within the owner's wish."""

import math

import pytest
from godwit.domain import cadence as arithmetic
from godwit.domain.cadence import SaveCost
from godwit.scheduler import cadence
from godwit.scheduler.cadence import Wish
from hypothesis import given
from hypothesis import strategies as st

HOUR_S = 3600.0

stalls = st.floats(0.1, 600.0)
rates = st.floats(1e-9, 1e-2)
costs = st.builds(SaveCost, stalls, st.floats(0, 7200.0))
edges = st.none() | st.floats(1.0, 86_400.0)
wishes = st.tuples(edges, edges).map(
    lambda pair: Wish(*sorted(pair)) if None not in pair else Wish(*pair)  # type: ignore[type-var]
)


@pytest.mark.parametrize(
    ("nodes", "stall_s", "interval_s"),
    [(2_048, 2.0, 161.0), (512, 2.0, 322.0), (128, 2.0, 644.0), (128, 30.0, 2_482.0), (1, 2.0, 3_600.0)],
)
def test_examples_of_the_page(nodes: int, stall_s: float, interval_s: float) -> None:
    chosen = cadence.choose(SaveCost(stall_s), cadence.failures_per_s(nodes))
    assert chosen.interval_s == pytest.approx(interval_s, rel=0.01)


def test_for_rare_failures_it_is_youngs_root() -> None:
    assert arithmetic.optimum_s(2.0, 1e7) == pytest.approx(math.sqrt(2 * 2.0 * 1e7), rel=1e-3)


@given(stalls, st.floats(600.0, 1e8))
def test_no_other_interval_is_better_by_more_than_half_a_percent(stall_s: float, mtbf_s: float) -> None:
    at_best = arithmetic.slowdown(max(1e-3, arithmetic.optimum_s(stall_s, mtbf_s)), stall_s, mtbf_s)
    tried = (2.0 ** (k / 4) for k in range(-8, 100))
    assert at_best <= 1.005 * min(arithmetic.slowdown(one, stall_s, mtbf_s) for one in tried)


@given(costs, rates, wishes)
def test_the_owners_bounds_hold_whatever_was_measured(cost: SaveCost, rate: float, wish: Wish) -> None:
    interval_s = cadence.choose(cost, rate, wish).interval_s
    assert math.isfinite(interval_s)
    assert interval_s <= (wish.longest_s or max(arithmetic.LONGEST_S, wish.shortest_s or 0.0))
    assert interval_s >= (wish.shortest_s or min(arithmetic.SHORTEST_S, wish.longest_s or math.inf))


@given(costs, rates, st.floats(1.0, 86_400.0))
def test_a_wish_for_one_interval_is_granted(cost: SaveCost, rate: float, wished_s: float) -> None:
    assert cadence.choose(cost, rate, Wish(wished_s, wished_s)).interval_s == wished_s


@given(costs, st.tuples(rates, rates))
def test_who_fails_more_often_saves_no_less_often(cost: SaveCost, pair: tuple[float, float]) -> None:
    rare, often = sorted(pair)
    assert cadence.choose(cost, often).interval_s <= cadence.choose(cost, rare).interval_s * (1 + 1e-9)


def test_a_job_is_not_asked_to_save_faster_than_its_store_takes() -> None:
    chosen = cadence.choose(SaveCost(1.0, commit_s=500.0), cadence.failures_per_s(2_048))
    assert chosen.interval_s == 500.0
    assert "what a commit takes" in chosen.reason


def test_without_failures_the_longest_interval_stands() -> None:
    assert cadence.choose(SaveCost(), 0.0).interval_s == arithmetic.LONGEST_S


def test_half_or_double_the_interval_costs_a_quarter_more() -> None:
    stall_s, mtbf_s = 2.0, 20 * HOUR_S
    best = arithmetic.optimum_s(stall_s, mtbf_s)
    least = arithmetic.slowdown(best, stall_s, mtbf_s) - 1
    for other in (best / 2, best * 2):
        assert arithmetic.slowdown(other, stall_s, mtbf_s) - 1 == pytest.approx(1.25 * least, rel=0.02)
