"""What counts as proof: of a loss, of safety, and of whose fault a failure was."""

from dataclasses import replace
from typing import Any

import pytest
from godwit.domain.jobs import AttemptState, JobState, Outcome
from godwit.domain.nodes import Node, NodeState
from godwit.scheduler import planner
from godwit.scheduler.plan import (
    Action,
    EndAttempt,
    FinishAttempt,
    FinishJob,
    MarkNodeLost,
    ReleaseSlot,
    StartAttempt,
    TerminateNode,
)
from godwit.scheduler.snapshot import Policy, Snapshot

from tests.scheduler.fleets import NOW, attempt, job, node, world

POLICY = Policy()
RUNNING = job("a", nodes=2, state=JobState.RUNNING, epoch=1)


def actions(snapshot: Snapshot, now: float = NOW) -> list[Action]:
    return list(planner.plan(snapshot, now, seed=1).actions)


def gang(second: Node, **fields: Any) -> Snapshot:
    """A running gang of two, of which the first node is well."""
    first = node("n1")
    return world(jobs=[RUNNING], nodes=[first, second], attempts=[attempt(RUNNING, first, second, **fields)])


def test_a_node_that_missed_its_heartbeats_is_lost() -> None:
    assert actions(gang(node("n2", last_seen_at=NOW - POLICY.missed_after_s + 0.1))) == []
    (lost,) = actions(gang(node("n2", last_seen_at=NOW - POLICY.missed_after_s - 0.1)))
    assert isinstance(lost, MarkNodeLost)
    assert lost.node_id == "n2"


def test_nobody_is_late_before_the_control_plane_listens() -> None:
    snapshot = replace(gang(node("n2", last_seen_at=NOW - 60)), serving_since=NOW - 1)
    assert actions(snapshot) == []


def test_a_lost_node_keeps_its_attempt_until_its_lease_is_over_for_certain() -> None:
    lost = node("n2", state=NodeState.LOST, state_since=NOW - 5, last_seen_at=NOW - 10, lease_until=NOW + 5)
    assert actions(gang(lost)) == []
    expired = replace(lost, lease_until=NOW - POLICY.lease_margin_s - 0.1)
    (end,) = actions(gang(expired))
    assert isinstance(end, EndAttempt)
    assert end.outcome is Outcome.INTERRUPTED


def test_after_a_restart_leases_count_from_the_restart() -> None:
    lost = node("n2", state=NodeState.LOST, state_since=NOW - 5, last_seen_at=NOW - 60, lease_until=NOW - 45)
    assert actions(replace(gang(lost), serving_since=NOW - 5)) == []


def test_a_machine_that_its_provider_calls_off_needs_no_lease_to_run_out() -> None:
    end, terminate = sorted(actions(gang(node("n2", gone=True))), key=lambda a: type(a).__name__)
    assert isinstance(end, EndAttempt)
    assert end.outcome is Outcome.INTERRUPTED
    assert isinstance(terminate, TerminateNode)


def test_a_failure_is_the_programs_own_once_every_node_was_heard_after_it() -> None:
    snapshot = gang(node("n2", last_seen_at=NOW - 0.5), failed_at=NOW - 1, exit_code=3)
    (end,) = actions(snapshot)
    assert isinstance(end, EndAttempt)
    assert end.outcome is Outcome.FAILED
    assert "exit code 3" in end.reason


def test_a_failure_waits_for_its_verdict_while_a_node_has_not_been_heard_since() -> None:
    snapshot = gang(node("n2", last_seen_at=NOW - 2), failed_at=NOW - 1, exit_code=1)
    made = planner.plan(snapshot, NOW, 1)
    assert made.actions == ()
    assert made.wake_at is not None
    assert made.wake_at <= NOW + 1


def test_a_failure_is_the_platforms_fault_once_a_node_is_lost() -> None:
    lost = node("n2", state=NodeState.LOST, last_seen_at=NOW - 6, state_since=NOW - 1)
    (end,) = actions(gang(lost, failed_at=NOW - 4, exit_code=1))
    assert isinstance(end, EndAttempt)
    assert end.outcome is Outcome.INTERRUPTED
    assert "n2" in end.reason


def test_a_stopping_attempt_gives_its_slots_back_one_by_one_and_then_ends() -> None:
    first, dead = node("n1"), node("n2", gone=True, state=NodeState.TERMINATING)
    stopping = attempt(RUNNING, first, dead, state=AttemptState.STOPPING, outcome=Outcome.INTERRUPTED)
    snapshot = world(jobs=[replace(RUNNING, state=JobState.RECOVERING)], nodes=[first, dead], attempts=[stopping])
    (release,) = actions(snapshot)
    assert isinstance(release, ReleaseSlot)
    assert release.node_id == "n2"
    over = replace(stopping, slots=tuple(replace(slot, released=True) for slot in stopping.slots))
    assert isinstance(actions(replace(snapshot, attempts=(over,)))[0], FinishAttempt)


def test_a_job_is_not_placed_again_while_its_last_attempt_may_still_run() -> None:
    first = node("n1")
    old = attempt(RUNNING, first, state=AttemptState.STOPPING, outcome=Outcome.INTERRUPTED, state_since=NOW - 1)
    hurt = job("a", nodes=1, state=JobState.RECOVERING, epoch=1)
    made = planner.plan(world(jobs=[hurt], nodes=[first, node("n2")], attempts=[old]), NOW, 1)
    assert made.actions == ()
    assert made.refusals[hurt.id][0].code == "fencing"


def test_the_next_attempt_has_the_next_epoch() -> None:
    hurt = job("a", state=JobState.RECOVERING, epoch=4)
    (start,) = actions(world(jobs=[hurt], nodes=[node("n1")]))
    assert isinstance(start, StartAttempt)
    assert start.epoch == 5


def test_a_node_that_ignores_a_stop_is_terminated() -> None:
    first = node("n1")
    deaf = attempt(RUNNING, first, state=AttemptState.STOPPING, outcome=Outcome.CANCELLED, state_since=NOW - 61)
    stopping = replace(RUNNING, state=JobState.STOPPING)
    (terminate,) = actions(world(jobs=[stopping], nodes=[first], attempts=[deaf]))
    assert isinstance(terminate, TerminateNode)


def test_cancelling_ends_the_attempt_and_then_the_job() -> None:
    first = node("n1")
    wanted = replace(RUNNING, cancel_requested=True)
    (end,) = actions(world(jobs=[wanted], nodes=[first], attempts=[attempt(wanted, first)]))
    assert isinstance(end, EndAttempt)
    assert end.outcome is Outcome.CANCELLED
    (finish,) = actions(world(jobs=[replace(wanted, state=JobState.STOPPING)], nodes=[first]))
    assert isinstance(finish, FinishJob)
    assert finish.cancelled


def test_a_job_interrupted_more_often_than_it_allows_fails_and_says_so() -> None:
    worn = job("a", state=JobState.RECOVERING, interruptions=6, epoch=6)
    (finish,) = actions(world(jobs=[worn], nodes=[node("n1")]))
    assert isinstance(finish, FinishJob)
    assert not finish.cancelled
    assert "retries.max is 5" in finish.reason


@pytest.mark.parametrize("state", [NodeState.REQUESTED, NodeState.PROVISIONING, NodeState.JOINING])
def test_a_node_that_takes_too_long_to_boot_is_ended_and_its_offer_held(state: NodeState) -> None:
    (terminate,) = actions(world(nodes=[node("n1", state=state, state_since=NOW - 10_000)]))
    assert isinstance(terminate, TerminateNode)
    assert terminate.blame


@pytest.mark.parametrize("state", [NodeState.REQUESTED, NodeState.PROVISIONING, NodeState.JOINING])
def test_a_machine_that_fails_before_it_ever_worked_has_its_offer_held(state: NodeState) -> None:
    (terminate,) = actions(world(nodes=[node("n1", state=state, gone=True, detail="did not boot")]))
    assert isinstance(terminate, TerminateNode)
    assert (terminate.blame, terminate.reason) == (True, "its machine cannot be used: did not boot")


def test_a_node_that_worked_and_is_gone_speaks_not_against_its_offer() -> None:
    (terminate,) = actions(world(nodes=[node("n1", gone=True)]))
    assert isinstance(terminate, TerminateNode)
    assert not terminate.blame


def test_a_drained_node_loses_its_work_and_then_goes() -> None:
    first = node("n1", state=NodeState.DRAINING)
    (end,) = actions(world(jobs=[RUNNING], nodes=[first], attempts=[attempt(RUNNING, first)]))
    assert isinstance(end, EndAttempt)
    assert (end.outcome, end.reason) == (Outcome.INTERRUPTED, "node n1 is drained")
    (terminate,) = actions(world(nodes=[first]))
    assert isinstance(terminate, TerminateNode)
