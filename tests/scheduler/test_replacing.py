"""What replaces machines that are taken back: as many as leave, near those that stay, and each bought once."""

from dataclasses import replace

from godwit.domain.jobs import AttemptState, JobState, Outcome
from godwit.domain.nodes import NodeState
from godwit.scheduler import planner
from godwit.scheduler.plan import BuyNode, EndAttempt, ReserveNode
from godwit.scheduler.snapshot import Snapshot

from tests.scheduler.fleets import NOW, attempt, job, node, offer, world

RUNNING = job("a", nodes=2, state=JobState.RUNNING, epoch=1)
STAYS, GOES = node("n1"), node("n2", state=NodeState.DRAINING, leaves_at=NOW + 90.0)


def stopping(**more: object) -> Snapshot:
    """A gang of two of which one machine is taken back, and which was told to save."""
    waiting = replace(RUNNING, state=JobState.RECOVERING)
    saving = attempt(RUNNING, STAYS, GOES, state=AttemptState.STOPPING, outcome=Outcome.EVICTED, state_since=NOW - 1)
    fields: dict[str, object] = {"nodes": [STAYS, GOES], "offers": [offer(seen_at=NOW)]}
    return world(jobs=[waiting], attempts=[saving], **(fields | more))


def test_a_gang_is_told_to_leave_with_the_grace_that_there_is_and_loses_no_retry() -> None:
    snapshot = world(jobs=[RUNNING], nodes=[STAYS, GOES], attempts=[attempt(RUNNING, STAYS, GOES)])
    (end,) = planner.plan(snapshot, NOW, seed=1).actions
    assert isinstance(end, EndAttempt)
    assert (end.outcome, end.grace_s) == (Outcome.EVICTED, 60.0)


def test_a_node_that_is_drained_by_a_person_interrupts_as_ever() -> None:
    drained = replace(GOES, leaves_at=None)
    snapshot = world(jobs=[RUNNING], nodes=[STAYS, drained], attempts=[attempt(RUNNING, STAYS, drained)])
    (end,) = planner.plan(snapshot, NOW, seed=1).actions
    assert isinstance(end, EndAttempt)
    assert (end.outcome, end.grace_s) == (Outcome.INTERRUPTED, None)


def test_only_what_leaves_is_bought_anew_near_what_stays() -> None:
    far = offer("cheaper", price=1.0, region="west", fabric_domain="f2", seen_at=NOW)
    (buy,) = planner.plan(stopping(offers=[offer(seen_at=NOW), far]), NOW, seed=1).actions
    assert isinstance(buy, BuyNode)
    assert (buy.job_id, buy.offer.region) == (RUNNING.id, STAYS.offer.region)


def test_a_free_node_is_kept_instead_of_buying_one() -> None:
    (keep,) = planner.plan(stopping(nodes=[STAYS, GOES, node("n3")]), NOW, seed=1).actions
    assert keep == ReserveNode(node("n3").id, RUNNING.id, keep.reason)


def test_what_is_on_its_way_is_not_bought_again() -> None:
    coming = node("n3", state=NodeState.PROVISIONING, reserved_for=RUNNING.id)
    assert planner.plan(stopping(nodes=[STAYS, GOES, coming]), NOW, seed=1).actions == ()
