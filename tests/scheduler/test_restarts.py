"""What does not come to run is tried again at once, and then with pauses; it says for what it waits."""

from dataclasses import replace
from typing import Any

import pytest
from godwit.domain.ids import JobId
from godwit.domain.jobs import Job, JobState, Retries
from godwit.scheduler import planner, restarts
from godwit.scheduler.plan import FinishJob, StartAttempt
from godwit.scheduler.reasons import Code
from godwit.scheduler.restarts import PAUSE_MAX_S, PAUSE_S
from hypothesis import given
from hypothesis import strategies as st

from tests.scheduler.fleets import NOW, job, node, world

WHY = "node n1 stopped it: Ray on this node ended with exit code 1"


def again(since: float, **fields: Any) -> Job:
    return job("a", state=JobState.RECOVERING, state_since=since, detail=WHY, **fields)


def starts(failed: int, since: float, now: float = NOW) -> bool:
    """Whether a job starts on a free node that was interrupted at `since`."""
    snapshot = world(jobs=[again(since)], nodes=[node("n1")], failed_starts={JobId("a"): failed})
    return any(isinstance(one, StartAttempt) for one in planner.plan(snapshot, now, seed=1).actions)


def test_the_first_time_it_is_tried_again_at_once() -> None:
    assert starts(0, since=NOW)
    assert starts(1, since=NOW)


def test_what_fails_again_waits_twice_as_long_each_time_up_to_a_bound() -> None:
    pauses = [restarts.pause_s(failed) for failed in range(12)]
    assert pauses[:7] == [0.0, 0.0, 5.0, 10.0, 20.0, 40.0, 80.0]
    assert set(pauses[6:]) == {PAUSE_MAX_S}


def test_five_retries_take_more_than_a_minute() -> None:
    assert sum(restarts.pause_s(failed) for failed in range(1, Retries().max + 1)) >= 60.0


def test_it_says_what_it_waits_for_and_wakes_the_planner_for_it() -> None:
    snapshot = world(jobs=[again(NOW - 1)], nodes=[node("n1")], failed_starts={JobId("a"): 3})
    made = planner.plan(snapshot, NOW, seed=1)
    (refusal,) = made.refusals[JobId("a")]
    assert refusal.code is Code.STARTS_FAIL
    assert "3 times in a row" in refusal.message
    assert WHY in refusal.message
    assert refusal.retry_at == NOW + 9
    assert made.wake_at is not None
    assert made.wake_at <= NOW + 9
    (told,) = planner.preview(snapshot, again(NOW - 1), NOW, seed=1).refusals[JobId("a")]
    assert told == refusal


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.MIGRATING])
def test_only_what_was_interrupted_waits_for_it(state: JobState) -> None:
    assert restarts.not_before(replace(again(NOW), state=state), world(failed_starts={JobId("a"): 5})) is None


def test_who_has_no_retry_left_fails_at_once() -> None:
    spent = again(NOW, interruptions=6)
    made = planner.plan(world(jobs=[spent], nodes=[node("n1")], failed_starts={JobId("a"): 6}), NOW, seed=1)
    assert [type(one) for one in made.actions] == [FinishJob]


@given(failed=st.integers(0, 10_000), waited_s=st.floats(0, 2 * PAUSE_MAX_S))
def test_it_starts_when_its_pause_is_over_and_not_before(failed: int, waited_s: float) -> None:
    since = NOW - waited_s
    assert starts(failed, since) == (since + restarts.pause_s(failed) <= NOW)
    assert restarts.pause_s(failed) <= restarts.pause_s(failed + 1) <= PAUSE_MAX_S
    assert failed < 2 or restarts.pause_s(failed) >= PAUSE_S
