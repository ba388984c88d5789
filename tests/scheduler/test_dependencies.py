"""Jobs that wait for jobs: served only after these came out as wanted, ended when they cannot any more."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from godwit.domain import lifecycle
from godwit.domain.afters import Dependency, When
from godwit.domain.jobs import Job, JobState
from godwit.scheduler import dependencies, planner
from godwit.scheduler.dependencies import Standing
from godwit.scheduler.plan import BuyNode, FinishJob, StartAttempt
from godwit.scheduler.snapshot import Snapshot
from hypothesis import given
from hypothesis import strategies as st

from tests.scheduler import fleets

NOW = fleets.NOW
STATES = st.dictionaries(st.sampled_from(JobState), st.integers(1, 9_999), min_size=1)


def standing(*, when: When = When.SUCCEEDED, is_array: bool = False, **states: int) -> Standing:
    return standing_in({JobState(state): count for state, count in states.items()}, when, is_array=is_array)


def standing_in(states: Mapping[JobState, int], when: When = When.SUCCEEDED, *, is_array: bool = False) -> Standing:
    return Standing(Dependency("job-1", "prep", when), states, is_array)


def waiting(*standings: Standing, **fields: Any) -> Snapshot:
    job = replace(fleets.job("train"), after_id="set-1", **fields)
    return fleets.world(jobs=[job], nodes=[fleets.node("n1")], dependencies={"set-1": standings})


@pytest.mark.parametrize("state", [state for state in JobState if not lifecycle.is_final(state)])
@pytest.mark.parametrize("when", list(When))
def test_a_job_waits_while_what_must_come_first_has_not_ended(state: JobState, when: When) -> None:
    plan = planner.plan(waiting(standing_in({state: 1}, when)), NOW, 1)
    assert not [a for a in plan.actions if isinstance(a, StartAttempt | BuyNode | FinishJob)]
    (refusal,) = plan.refusals[fleets.job("train").id]
    assert (refusal.code, refusal.subject, refusal.message) == ("after", "job prep", f"is {state}")
    wanted = "has succeeded" if when is When.SUCCEEDED else "has ended"
    assert refusal.would_help == f"wait until it {wanted}"


def test_it_starts_once_all_of_them_have_succeeded() -> None:
    array = standing(is_array=True, succeeded=50)
    plan = planner.plan(waiting(standing(succeeded=1), array), NOW, 1)
    assert [a.job_id for a in plan.actions if isinstance(a, StartAttempt)] == ["train"]


@pytest.mark.parametrize(("state", "how"), [("failed", "failed"), ("cancelled", "was cancelled")])
def test_it_is_cancelled_with_the_reason_when_one_of_them_ends_otherwise(state: str, how: str) -> None:
    plan = planner.plan(waiting(standing(running=1), standing_in({JobState(state): 1})), NOW, 1)
    (finish,) = plan.actions
    assert isinstance(finish, FinishJob)
    assert finish.cancelled
    assert finish.reason == f"job prep, which must succeed first, {how}"


@pytest.mark.parametrize("state", ["failed", "cancelled", "succeeded"])
def test_whoever_waits_only_for_an_end_takes_any(state: str) -> None:
    plan = planner.plan(waiting(standing_in({JobState(state): 1}, When.ENDED)), NOW, 1)
    assert [type(a) for a in plan.actions] == [StartAttempt]


def test_an_array_is_told_by_how_many_of_it_are_to_come() -> None:
    plan = planner.plan(waiting(standing(is_array=True, running=10, queued=28, succeeded=12)), NOW, 1)
    (refusal,) = next(iter(plan.refusals.values()))
    assert refusal.subject == "array prep"
    assert refusal.message == "has 38 of 50 jobs to come: 28 queued, 10 running"


def test_an_array_of_which_one_failed_can_never_have_succeeded_though_others_still_run() -> None:
    plan = planner.plan(waiting(standing(is_array=True, running=10, failed=1, cancelled=2)), NOW, 1)
    (finish,) = plan.actions
    assert isinstance(finish, FinishJob)
    assert finish.reason == "array prep, which must succeed first, has 1 failed, 2 cancelled"


def test_something_that_is_not_there_never_comes() -> None:
    (finish,) = planner.plan(waiting(standing()), NOW, 1).actions
    assert isinstance(finish, FinishJob)
    assert finish.reason == "job prep (job-1), which must come first, is not there"


def test_a_job_that_ran_before_waits_for_nobody_when_it_recovers() -> None:
    plan = planner.plan(waiting(standing(failed=1), state=JobState.RECOVERING, epoch=1), NOW, 1)
    assert [type(a) for a in plan.actions] == [StartAttempt]


def test_a_node_that_others_could_use_is_not_kept_from_them_by_one_who_waits_for_a_job() -> None:
    snapshot = waiting(standing(running=1))
    other = replace(fleets.job("other"), created_at=NOW)
    plan = planner.plan(replace(snapshot, jobs=(*snapshot.jobs, other)), NOW, 1)
    assert [a.job_id for a in plan.actions if isinstance(a, StartAttempt)] == ["other"]


@given(STATES, st.sampled_from(When), st.booleans())
def test_exactly_one_of_waiting_going_and_ending_is_so(states: dict[JobState, int], when: When, is_array: bool) -> None:
    one = Standing(Dependency("job-1", "prep", when), states, is_array)
    job: Job = fleets.job("train")
    waits, ends = bool(dependencies.why_waiting(job, [one])), dependencies.why_ended(job, [one]) is not None
    goes = not waits and not ends
    all_succeeded, all_ended = set(states) == {JobState.SUCCEEDED}, all(map(lifecycle.is_final, states))
    assert goes == (all_succeeded if when is When.SUCCEEDED else all_ended)
    assert not (waits and ends)


def test_who_waits_for_what_was_not_read_goes_on_waiting() -> None:
    snapshot = replace(waiting(standing(succeeded=1)), dependencies={})
    plan = planner.plan(snapshot, NOW, 1)
    assert not [a for a in plan.actions if isinstance(a, StartAttempt | BuyNode | FinishJob)]
    assert [refusal.code for refusal in plan.refusals[fleets.job("train").id]] == ["after"]
    assert planner.preview(snapshot, snapshot.jobs[0], NOW, 1).actions == ()
