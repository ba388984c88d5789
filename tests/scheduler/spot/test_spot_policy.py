"""Spot or on demand under a deadline: what is chosen in plain cases, and that no deadline is ever missed by it."""

from dataclasses import replace

import pytest
from godwit.scheduler.spot import baselines, policy, worth
from godwit.scheduler.spot.situation import Market, Place, Situation, Task, Where
from godwit.scheduler.spot.spells import AGES_H, PRIOR_PER_HOUR, Lifetimes, Watch
from hypothesis import given, settings
from hypothesis import strategies as st

TASK = Task(work_h=48.0, window_h=60.0, changeover_h=0.2, usd_per_hour=3.06)
MARKET = Market(usd_per_hour=0.9731)
LASTING = Lifetimes(times=0.1)
FLEETING = Lifetimes(times=8.0)
SPOT = Place("a", 0.9731, 1.0)
START = Situation(TASK, 48.0, 60.0, MARKET, look_h=1 / 6)

CHOOSERS = {"godwit": policy.choose, "uniform progress": baselines.uniform_progress, "greedy": baselines.greedy}


def test_spot_capacity_is_taken_when_it_is_there_at_the_start() -> None:
    assert policy.choose(replace(START, places=(SPOT,))).place == SPOT


def test_a_job_stays_on_its_spot_machines_until_they_are_lost() -> None:
    late = replace(START, until_h=48.3, where=Where.SPOT, places=(SPOT,))
    assert policy.choose(late).where is Where.SPOT


def test_the_safety_net_goes_on_demand_when_one_changeover_is_all_there_is_time_for() -> None:
    late = replace(START, until_h=48.3, places=(SPOT,))
    choice = policy.choose(late)
    assert choice.where is Where.ON_DEMAND
    assert "safety net" in choice.because


def test_without_spot_capacity_it_waits_at_first_and_goes_on_demand_when_its_reserve_is_reached() -> None:
    assert policy.choose(START).where is Where.NOWHERE
    assert policy.choose(replace(START, until_h=56.9)).where is Where.ON_DEMAND


def test_capacity_that_will_not_last_is_not_worth_leaving_a_machine_on_demand() -> None:
    on_demand = replace(START, left_h=30.0, until_h=34.0, where=Where.ON_DEMAND)
    for lasts, where in ((FLEETING, Where.ON_DEMAND), (LASTING, Where.SPOT)):
        market = replace(MARKET, lasts=lasts, there=lasts)
        at = replace(on_demand, market=market, places=(replace(SPOT, lasts=lasts),))
        assert policy.choose(at).where is where


def test_of_several_places_the_cheapest_is_taken_unless_it_is_soon_lost() -> None:
    cheap = Place("cheap", 0.90, 0.0, FLEETING)
    steady = Place("steady", 0.97, 5.0, LASTING)
    assert policy.choose(replace(START, places=(cheap, steady))).place == steady
    assert policy.choose(replace(START, places=(replace(cheap, lasts=LASTING, age_h=5.0), steady))).place != steady


def test_the_choice_is_told_with_what_each_way_is_expected_to_cost() -> None:
    because = policy.choose(replace(START, places=(SPOT,))).because
    assert "spot $" in because
    assert "on demand $" in because
    assert "60.0 h until the deadline, 48.0 h of work left, 12.0 h to spare" in because


def test_uniform_progress_leaves_on_demand_when_it_is_two_changeovers_ahead_of_a_steady_pace() -> None:
    on_demand = replace(START, where=Where.ON_DEMAND, places=(SPOT,), until_h=30.0)
    assert baselines.uniform_progress(replace(on_demand, left_h=24.0)).where is Where.ON_DEMAND
    assert baselines.uniform_progress(replace(on_demand, left_h=23.6)).where is Where.SPOT


def test_greedy_waits_where_uniform_progress_goes_on_demand() -> None:
    behind = replace(START, left_h=48.0, until_h=58.0)
    assert baselines.greedy(behind).where is Where.NOWHERE
    assert baselines.uniform_progress(behind).where is Where.ON_DEMAND


def test_what_lasted_long_is_expected_to_last() -> None:
    assert list(PRIOR_PER_HOUR) == sorted(PRIOR_PER_HOUR, reverse=True)


def test_a_watch_counts_hours_and_ends_by_the_age_that_they_had() -> None:
    watch = Watch()
    for is_there in (True, True, True, False, True):
        watch.see(is_there, 0.5)
    there = watch.lifetimes(there=True)
    assert sum(there.hours) == 1.5
    assert there.ends[AGES_H.index(0.75)] == 1
    assert sum(watch.lifetimes(there=False).hours) == 0.5


def test_a_gang_of_four_is_lost_four_times_as_often() -> None:
    assert Lifetimes(times=4.0).at(2.0) == pytest.approx(4 * Lifetimes().at(2.0))


@given(
    there=st.lists(st.booleans(), min_size=40, max_size=40),
    work_h=st.floats(0.5, 5.0),
    slack_h=st.floats(0.0, 4.0),
    changeover_h=st.floats(0.01, 0.6),
    chooser=st.sampled_from(sorted(CHOOSERS)),
)
@settings(max_examples=60, deadline=None)
def test_no_deadline_is_missed_that_on_demand_could_have_met(
    there: list[bool], work_h: float, slack_h: float, changeover_h: float, chooser: str
) -> None:
    task = Task(work_h, work_h + changeover_h + slack_h, changeover_h, 3.06)
    assert _ended_h(task, there, CHOOSERS[chooser]) <= task.window_h + 1e-6


@given(slack_h=st.floats(0.5, 10.0), until_h=st.floats(11.0, 50.0), times=st.floats(0.05, 10.0))
@settings(max_examples=10, deadline=None)
def test_more_slack_never_makes_it_dearer(slack_h: float, until_h: float, times: float) -> None:
    market = replace(MARKET, lasts=Lifetimes(times=times))
    found = worth.table(worth.model_of(replace(START, until_h=until_h, market=market), market.lasts, 0.9731))
    left = min(len(found.nowhere) - 1, round(until_h / found.step_h))
    column = found.nowhere[left, : round(slack_h / found.step_h) + 2, 0]
    reserved = column[2:] - column[1:-1]
    assert (reserved <= 1e-3).all()


def _ended_h(task: Task, there: list[bool], chooser: object) -> float:
    """When a job ends if capacity comes and goes so, at looks that are a quarter of an hour apart."""
    assert callable(chooser)
    look_h, left_h, at_h, starting_h, where = 0.25, task.work_h, 0.0, 0.0, Where.NOWHERE
    watch = Watch()
    for index in range(1000):
        is_there = there[index % len(there)]
        watch.see(is_there, look_h)
        if where is Where.SPOT and not is_there:
            where, starting_h = Where.NOWHERE, 0.0
        lasts = watch.lifetimes(there=True)
        places = (Place("a", 0.9731, watch.age_h, lasts),) if is_there else ()
        market = Market(0.9731, watch.age_h, lasts, lasts, watch.lifetimes(there=False))
        at = Situation(task, left_h, task.window_h - at_h, market, places, where, starting_h, look_h)
        choice = chooser(at)
        if choice.where is not where:
            where, starting_h = choice.where, 0.0 if choice.where is Where.NOWHERE else task.changeover_h
        if where is not Where.NOWHERE:
            if starting_h + left_h <= look_h:
                return at_h + starting_h + left_h
            left_h -= max(0.0, look_h - starting_h)
            starting_h = max(0.0, starting_h - look_h)
        at_h += look_h
    return at_h
