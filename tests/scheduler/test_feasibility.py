"""Feasibility: whether a deadline and a budget can be kept, by how much not, and what can."""

from dataclasses import replace
from math import inf, nan

import pytest
from godwit.domain.offers import Offer
from godwit.scheduler import feasibility
from godwit.scheduler.asks import Ask
from godwit.scheduler.demands import Demand
from godwit.scheduler.feasibility import Estimate, Range, Verdict, Way, answer, ways_to_buy
from hypothesis import given
from hypothesis import strategies as st

HOUR = 3600.0
FRIDAY = 1_795_737_600.0
"""2026-11-27 00:00 UTC."""

CHEAP = Way("cheap", 4, 10.0, Range(0, 0, HOUR))
FAST = Way("fast", 8, 40.0, Range(0, 0, HOUR), speed=2.0)
RUN = Range(20 * HOUR, 40 * HOUR, 60 * HOUR)


def test_a_job_that_fits_both_limits_is_told_the_cheapest_way() -> None:
    found = answer([FAST, CHEAP], RUN, 100 * HOUR, 1000.0, 0.0)
    assert found.verdict is Verdict.YES
    assert found.short_by == 0
    assert found.best is not None
    assert (found.best.way, found.best.ends_at, found.best.usd) == (CHEAP, 40 * HOUR, 400.0)


def test_what_only_goes_well_if_nothing_is_slow_is_likely() -> None:
    assert answer([CHEAP], RUN, 41 * HOUR, None, 0.0).verdict is Verdict.LIKELY
    assert answer([CHEAP], RUN, 61 * HOUR, None, 0.0).verdict is Verdict.YES


def test_a_job_that_cannot_is_told_how_much_of_it_would_be_missing_and_what_can() -> None:
    found = answer([FAST, CHEAP], RUN, FRIDAY + 27.6 * HOUR, 400.0, FRIDAY)
    assert found.verdict is Verdict.NO
    assert found.short_by == pytest.approx(0.31)
    assert found.cheapest_in_time is not None
    assert found.cheapest_in_time.way == FAST
    assert found.soonest_in_budget is not None
    assert found.soonest_in_budget.way == CHEAP
    assert feasibility.words(found) == (
        "cannot finish by Sat 2026-11-28 03:36Z under $400: 31% short; "
        "cheapest that is in time: 8 x fast, done Fri 2026-11-27 20:00Z for $800; "
        "soonest for the money: 4 x cheap, done Sat 2026-11-28 16:00Z for $400"
    )
    assert answer([FAST, CHEAP], RUN, FRIDAY + 27.6 * HOUR, 800.0, FRIDAY).verdict is Verdict.LIKELY


def test_starting_up_costs_time_and_on_bought_nodes_money() -> None:
    slow = replace(CHEAP, starts_in_s=Range(HOUR, 2 * HOUR, 3 * HOUR))
    (bought,) = [answer([slow], RUN, None, None, 0.0).best]
    assert bought is not None
    assert (bought.ends_at, bought.usd) == (42 * HOUR, 420.0)
    own = answer([replace(slow, is_billed_while_starting=False)], RUN, None, None, 0.0).best
    assert own is not None
    assert (own.ends_at, own.usd) == (42 * HOUR, 400.0)


def test_a_started_step_of_billing_is_paid_to_its_end() -> None:
    hourly = replace(CHEAP, billing_step_s=HOUR)
    best = answer([hourly], Range(0, 1.5 * HOUR, 2 * HOUR), None, None, 0.0).best
    assert best is not None
    assert best.usd == 20.0


def test_without_an_estimate_only_what_holds_for_any_is_said() -> None:
    assert answer([CHEAP], None, 10 * HOUR, 5.0, 0.0).verdict is Verdict.UNKNOWN
    late = replace(CHEAP, starts_in_s=Range(HOUR, HOUR, HOUR))
    assert answer([late], None, 0.5 * HOUR, None, 0.0).verdict is Verdict.NO
    assert "nobody said" in feasibility.words(answer([CHEAP], None, 10 * HOUR, None, 0.0))


def test_with_nothing_on_offer_nothing_can_finish() -> None:
    found = answer([], RUN, 10 * HOUR, None, 0.0)
    assert (found.verdict, found.short_by) == (Verdict.NO, 1.0)
    assert "nothing" in feasibility.words(found)


def test_times_that_no_calendar_has_and_prices_next_to_nothing_are_answered_all_the_same() -> None:
    slow = replace(CHEAP, usd_per_hour=5e-324)
    found = answer([slow], Range(1e12, 1e12, 1e12), inf, 1.0, 0.0)
    assert "no time on a calendar" in feasibility.words(found)


@pytest.mark.parametrize(
    "bad", [{"usd_per_hour": nan}, {"usd_per_hour": -1.0}, {"usd_once": inf}, {"speed": 0.0}, {"useful": 1.1}]
)
def test_ways_that_cannot_be_reckoned_with_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="reckoned"):
        replace(CHEAP, **bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(("deadline", "budget"), [(nan, None), (None, nan), (None, -1.0)])
def test_limits_that_are_none_are_refused(deadline: float | None, budget: float | None) -> None:
    with pytest.raises(ValueError, match="limits"):
        answer([CHEAP], RUN, deadline, budget, 0.0)


@pytest.mark.parametrize(
    "guess", [(2.0, 1.0, 3.0), (-1.0, 1.0, 2.0), (0.0, nan, 1.0), (0.0, 1.0, inf), (0.0, 1.0, 2e12)]
)
def test_a_guess_ascends_and_is_finite(guess: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="guess"):
        Range(*guess)


def offer(name: str, price: float, capacity: int | None = None, model: str = "H100-SXM") -> Offer:
    return Offer("cloud", "r", None, name, model, 8, 80.0, 100, 1000.0, price, capacity=capacity)  # type: ignore[arg-type]


def test_what_can_be_bought_is_what_suits_and_is_there_at_sizes_whose_speed_is_known() -> None:
    gang = Demand("j", Ask(8, models=("H100", "A100")), 0.0, 2, 8)
    estimate = Estimate(RUN, 2, {1: 0.6, 4: 1.8, 16: 5.0}, {"A100": 0.5})
    offers = [
        offer("h", 20.0),
        offer("few", 10.0, 3),
        offer("a", 8.0, None, "A100-80GB-SXM"),
        offer("l", 1.0, None, "L4"),
    ]
    offers += [offer("nan", nan), offer("minus", -3.0)]
    found = {(way.name.split("/")[3], way.nodes): way for way in ways_to_buy(gang, offers, estimate)}
    assert set(found) == {("h", 2), ("h", 4), ("few", 2), ("a", 2), ("a", 4)}
    assert found["a", 4].speed == pytest.approx(0.9)
    assert found["h", 4].usd_per_hour == 80.0
    assert 0.8 < found["h", 2].useful < 1


TIMES = st.floats(0, 1e6)
WAYS = st.lists(
    st.builds(
        Way,
        st.sampled_from("abc"),
        st.integers(1, 9),
        st.floats(0, 100),
        TIMES.map(Range.around),
        st.floats(0.1, 10),
        st.floats(0.1, 1),
        st.floats(0, 50),
        st.sampled_from([1.0, 60.0, 3600.0]),
        st.booleans(),
    ),
    max_size=4,
)


@given(
    ways=WAYS,
    run_s=st.none() | TIMES.map(Range.around),
    deadline=st.none() | TIMES,
    budget=st.none() | st.floats(0, 1e5),
    more=st.tuples(st.floats(0, 1e5), st.floats(0, 1e5)),
)
def test_a_later_deadline_or_a_larger_budget_never_makes_the_answer_worse(
    ways: list[Way],
    run_s: Range | None,
    deadline: float | None,
    budget: float | None,
    more: tuple[float, float],
) -> None:
    less = answer(ways, run_s, deadline, budget, 0.0)
    later = None if deadline is None else deadline + more[0]
    larger = None if budget is None else budget + more[1]
    for wider in ((later, budget), (deadline, larger), (later, larger), (None, None)):
        found = answer(list(reversed(ways)), run_s, *wider, 0.0)
        assert found.verdict >= less.verdict
        assert found.short_by <= less.short_by
    assert (less.short_by == 0) or less.verdict is Verdict.NO
    assert answer(ways, run_s, deadline, budget, 0.0) == less
    assert feasibility.words(less)
