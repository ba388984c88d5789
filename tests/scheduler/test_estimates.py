"""How long a job still runs: by its progress, its owner or its past; never nothing, and never negative."""

from dataclasses import replace
from typing import Any

import pytest
from godwit.domain.jobs import AttemptState, Job, JobState, Progress
from godwit.scheduler import estimates, fleet
from godwit.scheduler.estimates import NO_PAST, Estimate, Past, Source
from hypothesis import given
from hypothesis import strategies as st

from tests.scheduler import fleets

NOW = fleets.NOW
SECONDS = st.floats(0, 1e9)


def job(run_time_s: float | None = None, **fields: Any) -> Job:
    base = fleets.job("digits", state=JobState.RUNNING, epoch=1)
    return replace(base, spec=replace(base.spec, run_time_s=run_time_s), **fields)


def running(of: Job, since_s: float = 100.0, **fields: Any) -> Any:
    return fleets.attempt(of, fleets.node("n1"), created_at=NOW - since_s, **fields)


def test_nobody_knows_how_long_a_new_job_runs() -> None:
    assert estimates.of(job(), NO_PAST, None, NOW) is None


def test_its_owner_is_believed_less_what_it_has_run() -> None:
    mine = job(run_time_s=3_600.0)
    assert estimates.of(mine, NO_PAST, None, NOW) == Estimate(3_600.0, Source.OWNER)
    assert estimates.of(mine, Past(served_s=600.0), running(mine), NOW) == Estimate(2_900.0, Source.OWNER)


def test_without_a_word_of_its_owner_it_runs_as_long_as_those_before_it() -> None:
    past = Past(earlier_s=(100.0, 120.0, 90_000.0))
    assert estimates.of(job(), past, None, NOW) == Estimate(120.0, Source.PAST)
    assert estimates.of(job(run_time_s=60.0), past, None, NOW) == Estimate(60.0, Source.OWNER)


def test_its_progress_is_believed_before_anybody() -> None:
    mine = job(run_time_s=9_999.0, progress=Progress(25, NOW, 100))
    assert estimates.of(mine, NO_PAST, running(mine, 50.0), NOW) == Estimate(150.0, Source.PROGRESS)


def test_steps_from_before_a_checkpoint_are_not_its_speed_now() -> None:
    mine = job(progress=Progress(60, NOW, 100), epoch=2)
    again = running(mine, 100.0, epoch=2)
    assert estimates.of(mine, Past(resumed_step=50), again, NOW) == Estimate(400.0, Source.PROGRESS)


@pytest.mark.parametrize(
    "progress",
    [
        None,
        Progress(10, NOW),  # of how many?
        Progress(0, NOW, 100),  # nothing done yet
        Progress(10, NOW - 500, 100),  # of an attempt before
        Progress(101, NOW, 100),  # beyond its own end
    ],
)
def test_progress_that_says_nothing_is_passed_over(progress: Progress | None) -> None:
    mine = job(run_time_s=150.0, progress=progress)
    assert estimates.of(mine, NO_PAST, running(mine), NOW) == Estimate(50.0, Source.OWNER)


def test_progress_counts_only_while_the_program_runs() -> None:
    mine = job(progress=Progress(25, NOW, 100))
    assert estimates.of(mine, NO_PAST, running(mine, state=AttemptState.STOPPING), NOW) is None


def test_an_estimate_that_was_outrun_is_doubled_until_it_is_not() -> None:
    assert estimates.left(60.0, 59.0) == 1.0
    assert estimates.left(60.0, 60.0) == 60.0
    assert estimates.left(60.0, 130.0) == 110.0


@given(SECONDS, SECONDS)
def test_what_is_left_is_more_than_nothing_and_no_more_than_what_was_thought_or_run(total: float, ran: float) -> None:
    left = estimates.left(total, ran)
    assert 0 < left <= max(estimates.SHORTEST_S, total, ran)


@given(st.integers(0, 2**53), st.integers(0, 2**53), st.floats(-1e9, 2e9), st.integers(0, 2**53))
def test_no_report_of_a_program_breaks_it(step: int, total: int, at: float, resumed: int) -> None:
    mine = job(progress=Progress(step, at, total), epoch=2)
    found = estimates.of(mine, Past(resumed_step=resumed), running(mine, epoch=2), NOW)
    assert found is None or found.left_s > 0


def test_the_planner_counts_from_the_start_of_an_attempt_and_from_now_for_who_waits() -> None:
    mine = job(run_time_s=3_600.0)
    at = running(mine, 600.0)
    assert fleet.demand_of(mine, fleets.world(jobs=[mine], attempts=[at]), NOW).estimate_s == 3_600.0
    assert fleet.demand_of(mine, fleets.world(jobs=[mine]), NOW).estimate_s == 3_600.0
    past = {mine.id: Past(served_s=600.0)}
    assert fleet.demand_of(mine, fleets.world(jobs=[mine], pasts=past), NOW).estimate_s == 3_000.0
