"""When idle nodes go back: after the idle time, and late in what is paid for already."""

from dataclasses import replace

import pytest
from godwit.domain.jobs import JobState
from godwit.domain.nodes import Node
from godwit.domain.offers import Offer
from godwit.scheduler import planner, release
from godwit.scheduler.plan import TerminateNode
from godwit.scheduler.snapshot import Policy
from hypothesis import given
from hypothesis import strategies as st

from tests.scheduler.fleets import NOW, attempt, job, node, offer, world

BOUGHT_AT = NOW - 10_000
POLICY = Policy()
HOUR = offer(billing_step_s=3600.0)


def idle(name: str = "n1", sold_as: Offer = HOUR, *, since: float, bought_at: float = BOUGHT_AT) -> Node:
    return node(name, sold_as, created_at=bought_at, idle_since=since)


def released(*fleet: Node, now: float) -> list[str]:
    """Which nodes go back at `now`; all of them are heard (`serving_since` is then)."""
    made = planner.plan(world(nodes=list(fleet), serving_since=now), now, seed=1)
    return [action.node_id for action in made.actions if isinstance(action, TerminateNode)]


def test_the_worked_example_of_the_documentation() -> None:
    """Bought at 10:00, used until 10:20: idle enough at 10:25, given back at 10:58 and not a minute before."""
    ten, minute = 36_000.0, 60.0
    unused = idle(bought_at=ten, since=ten + 20 * minute)
    assert release.due_at(unused, POLICY, ten + 21 * minute) == ten + 58 * minute
    assert released(unused, now=ten + 25 * minute) == []
    assert released(unused, now=ten + 57 * minute) == []
    assert released(unused, now=ten + 58 * minute) == ["n1"]


def test_who_comes_too_late_for_one_hour_goes_at_the_end_of_the_next() -> None:
    unused = idle(bought_at=0.0, since=100.0)
    assert released(unused, now=3_599.0) == ["n1"]
    assert released(unused, now=3_601.0) == []
    assert release.due_at(unused, POLICY, 3_601.0) == 7_200.0 - POLICY.release_margin_s


def test_a_node_that_becomes_idle_enough_just_before_the_hour_ends_goes_at_once() -> None:
    assert released(idle(bought_at=0.0, since=3_550.0 - POLICY.idle_after_s), now=3_550.0) == ["n1"]


@pytest.mark.parametrize("step_s", [0.0, 1.0, 60.0])
def test_short_steps_are_not_waited_out(step_s: float) -> None:
    unused = idle(sold_as=offer(billing_step_s=step_s), since=NOW - POLICY.idle_after_s)
    assert released(unused, now=NOW) == ["n1"]


def test_the_planner_is_woken_when_a_paid_hour_is_nearly_over() -> None:
    unused = idle(bought_at=NOW - 3_000, since=NOW - 1_000)
    made = planner.plan(world(nodes=[unused], serving_since=NOW), NOW, 1)
    assert made.wake_at is not None
    due_at = NOW + 600 - POLICY.release_margin_s
    assert list(release.next_deadlines(world(nodes=[unused]), NOW)) == [due_at]
    assert made.wake_at <= due_at


def test_a_node_whose_hour_is_paid_serves_the_next_job_meanwhile() -> None:
    made = planner.plan(world(jobs=[job("a")], nodes=[idle(since=NOW - 1_000)], serving_since=NOW), NOW, 1)
    assert [type(action).__name__ for action in made.actions] == ["StartAttempt"]


def test_the_reason_says_how_long_it_was_unused_and_what_is_left_of_the_step() -> None:
    made = planner.plan(world(nodes=[idle(bought_at=0.0, since=3_000.0)], serving_since=3_540.0), 3_540.0, 1)
    (action,) = made.actions
    assert action.reason == "nobody has used it for 540 s, and the step that is paid ends in 60 s"


steps = st.one_of(st.sampled_from([0.0, 1.0, 60.0, 61.0, 119.0, 600.0, 3600.0, 86_400.0]), st.floats(0.0, 100_000.0))
instants = st.floats(1.6e9, 2.0e9)


@given(steps, instants, st.floats(0, 1e6), st.floats(0, 1e5))
def test_release_comes_within_one_step_after_the_idle_time(
    step_s: float, bought_at: float, busy_s: float, waited_s: float
) -> None:
    unused = idle(sold_as=offer(billing_step_s=step_s), bought_at=bought_at, since=bought_at + busy_s)
    now = bought_at + busy_s + waited_s
    due_at = release.due_at(unused, POLICY, now)
    assert due_at is not None
    earliest = max(now, bought_at + busy_s + POLICY.idle_after_s)
    assert earliest <= due_at <= earliest + step_s
    assert release.is_due(unused, POLICY, due_at)
    assert released(unused, now=due_at) == ["n1"]


@given(steps.filter(lambda step_s: step_s > POLICY.release_margin_s), instants, st.floats(0, 1e6), st.floats(0, 1e5))
def test_nothing_goes_back_early_in_a_step_that_is_paid(
    step_s: float, bought_at: float, busy_s: float, waited_s: float
) -> None:
    unused = idle(sold_as=offer(billing_step_s=step_s), bought_at=bought_at, since=bought_at + busy_s)
    now = bought_at + busy_s + waited_s
    if released(unused, now=now):
        paid_until = bought_at + step_s * (1 + (now - bought_at) // step_s)
        assert paid_until - now <= POLICY.release_margin_s + 2 * release.ROUNDING_S


def test_a_node_in_use_never_comes_due() -> None:
    assert release.due_at(node("n1", idle_since=None), POLICY, NOW) is None


def test_an_idle_node_that_is_kept_for_the_first_of_the_queue_stays() -> None:
    free, busy = idle("free", offer(), since=NOW - 900), node("busy")
    runs = job("runs", state=JobState.RUNNING, epoch=1)
    runs = replace(runs, spec=replace(runs.spec, run_time_s=500.0))
    fleet = world(jobs=[runs, job("gang", nodes=2)], nodes=[free, busy], attempts=[attempt(runs, busy)])
    assert planner.plan(fleet, NOW, 1).actions == ()
    alone = planner.plan(replace(fleet, jobs=(runs,)), NOW, 1)
    assert [action.node_id for action in alone.actions if isinstance(action, TerminateNode)] == ["free"]
