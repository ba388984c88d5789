"""What is lost, what is safe to give away, and whose fault it was. Pure rules over one snapshot.

The order of proof matters more than speed: an attempt's GPUs are free only when its node said so, its provider said
that the machine is gone, or its lease ran out with a margin. A program's failure is believed only when every node of
the gang was heard after it, because a dying node makes healthy programs fail.
"""

from collections.abc import Iterable, Iterator

from godwit.domain import lifecycle
from godwit.domain.ids import JobId, NodeId
from godwit.domain.jobs import Attempt, AttemptState, Job, JobKind, JobState, Outcome, Slot
from godwit.domain.nodes import Node, NodeState
from godwit.scheduler import departures, dependencies, notices
from godwit.scheduler.health import attribution
from godwit.scheduler.plan import (
    Action,
    EndAttempt,
    FinishAttempt,
    FinishJob,
    MarkNodeLost,
    ReleaseSlot,
    ShrinkAttempt,
    TerminateNode,
)
from godwit.scheduler.resizing import bending, targets
from godwit.scheduler.snapshot import Snapshot

HEARD_STATES = frozenset({NodeState.READY, NodeState.CORDONED, NodeState.DRAINING})
"""States in which a node's agent is expected to be heard."""

BOOT_STATES = frozenset({NodeState.REQUESTED, NodeState.PROVISIONING, NodeState.JOINING})
"""States on the way to the first heartbeat."""

LOSS_SHOWS_S = 60.0
"""A program that fails so soon after it lost a node fails because of that: Ray's own word takes up to fifteen seconds,
and a collective operation that hangs a timeout more."""

VERDICT_POLL_S = 0.5
"""How soon to look again whether every node was heard after a failure: heartbeats come each second, without a hint."""


def nodes(snapshot: Snapshot, now: float) -> Iterator[Action]:
    """Nodes that are not heard, gone, or stuck in a state past its deadline."""
    booting = attribution.rebooting(snapshot)
    for node in snapshot.nodes:
        if node.state is NodeState.TERMINATING or (node.id in booting and not node.gone):
            continue
        overdue = lifecycle.is_overdue(node.state, node.state_since, now)
        if node.gone:
            why = f"its machine cannot be used: {node.detail or 'it is gone'}"
            yield TerminateNode(node.id, why, blame=node.state in BOOT_STATES)
        elif node.state in HEARD_STATES and _unheard_for(node, snapshot, now) > snapshot.policy.missed_after_s:
            yield MarkNodeLost(node.id, f"its agent has not been heard for {_unheard_for(node, snapshot, now):.1f} s")
        elif node.state is NodeState.DRAINING and not _in_use(node, snapshot):
            yield TerminateNode(node.id, "it is drained: nothing runs on it any more")
        elif overdue:
            yield TerminateNode(node.id, f"it was {node.state} for too long", blame=node.state in BOOT_STATES)


def attempts(snapshot: Snapshot, now: float) -> Iterator[Action]:
    """Attempts whose outcome is settled by what is known of their nodes, and slots that are certainly free."""
    for attempt in snapshot.attempts:
        if attempt.state is AttemptState.STOPPING:
            yield from _stopping(attempt, snapshot, now)
            continue
        leaving = [slot for slot in attempt.slots if slot.leaving]
        released = list(_release(attempt, leaving, attempt.resized_at or attempt.state_since, snapshot, now))
        if released:
            yield from released
            continue
        verdict = _verdict(attempt, snapshot, now)
        if verdict is not None:
            yield verdict


def jobs(snapshot: Snapshot) -> Iterator[Action]:
    """Jobs that end without an attempt to say so."""
    for job in snapshot.jobs:
        if job.id in snapshot.attempt_by_job:
            continue
        lost = dependencies.why_ended(job, snapshot.standings(job))
        if job.state is JobState.STOPPING:
            yield FinishJob(job.id, cancelled=True, reason="no node runs it any more")
        elif lost is not None:
            yield FinishJob(job.id, cancelled=True, reason=lost)
        elif job.state is JobState.RECOVERING and job.interruptions > job.spec.retries.max:
            yield FinishJob(
                job.id,
                cancelled=False,
                reason=f"interrupted {job.interruptions} times, and retries.max is {job.spec.retries.max}",
            )


def is_safe(slot: Slot, snapshot: Snapshot, now: float) -> str | None:
    """Say why it is certain that `slot`'s node runs nothing any more, or None while it may."""
    node = snapshot.node_by_id.get(slot.node_id)
    if node is None:
        return "the machine is gone"
    if node.gone:
        return "its provider says that the machine does not run"
    # A lease granted just before a restart of the control plane may not have been written down: count from the start.
    lease_until = max(node.lease_until or 0.0, snapshot.serving_since + snapshot.policy.lease_s)
    if node.state not in HEARD_STATES and now > lease_until + snapshot.policy.lease_margin_s:
        return "its lease ran out, so its guard has stopped everything"
    return None


def next_deadlines(snapshot: Snapshot, now: float) -> Iterator[float]:
    """Instants at which time alone may change what the rules above answer."""
    policy = snapshot.policy
    for node in snapshot.nodes:
        deadline = lifecycle.DEADLINES[node.state].after_s
        if deadline is not None:
            yield node.state_since + deadline
        if node.state in HEARD_STATES:
            yield now + policy.missed_after_s - _unheard_for(node, snapshot, now)
        elif node.lease_until is not None:
            yield max(node.lease_until, snapshot.serving_since + policy.lease_s) + policy.lease_margin_s
    for attempt in snapshot.attempts:
        going = departures.of(attempt, snapshot.node_by_id)
        if going is not None and attempt.outcome is None:
            yield going.by
        if attempt.failed_at is not None and attempt.outcome is None:
            yield now + VERDICT_POLL_S
        deadline = lifecycle.DEADLINES[attempt.state].after_s
        if deadline is not None:
            yield attempt.state_since + deadline
        job = snapshot.job_by_id.get(attempt.job_id)
        if job is not None and attempt.is_changing:
            yield (attempt.resized_at or now) + (lifecycle.DEADLINES[AttemptState.STOPPING].after_s or 0.0)
            yield job.state_since + (lifecycle.DEADLINES[JobState.RESIZING].after_s or 0.0)


def _in_use(node: Node, snapshot: Snapshot) -> bool:
    return any(s.node_id == node.id and not s.released for a in snapshot.attempts for s in a.slots)


def _unheard_for(node: Node, snapshot: Snapshot, now: float) -> float:
    return now - max(node.last_seen_at or node.state_since, snapshot.serving_since)


def _verdict(attempt: Attempt, snapshot: Snapshot, now: float) -> EndAttempt | ShrinkAttempt | None:
    job = snapshot.job_by_id.get(attempt.job_id)
    if job is None or job.cancel_requested:
        return EndAttempt(attempt.id, Outcome.CANCELLED, "its owner cancelled the job")
    lost = _lost(attempt, snapshot, now) or _drained(job, attempt, snapshot, now) or _late(job, attempt, now)
    if lost:
        reason = "; ".join(lost.values())
        if bending.may_lose(job, attempt, lost):
            return ShrinkAttempt(attempt.id, tuple(lost), f"goes on without a part of its nodes: {reason}")
        return notices.ending(attempt, reason, snapshot, now)
    if attempt.failed_at is not None:
        return _whose_fault(attempt, attempt.failed_at, snapshot)
    return _timed_out(attempt, now)


def _timed_out(attempt: Attempt, now: float) -> EndAttempt | None:
    if attempt.leaves_by is not None and now >= attempt.leaves_by:
        outcome = Outcome.EVICTED if attempt.yields_to is None else Outcome.PREEMPTED
        return EndAttempt(attempt.id, outcome, f"its time to leave is over: {attempt.detail}")
    if lifecycle.is_overdue(attempt.state, attempt.state_since, now):
        return EndAttempt(attempt.id, Outcome.INTERRUPTED, f"it was {attempt.state} for too long")
    return None


def _lost(attempt: Attempt, snapshot: Snapshot, now: float) -> dict[NodeId, str]:
    """Nodes of an attempt that certainly run nothing any more, and how one knows."""
    safe = {slot.node_id: is_safe(slot, snapshot, now) for slot in attempt.staying if not slot.released}
    return {node_id: f"node {node_id} is lost: {why}" for node_id, why in safe.items() if why is not None}


def _drained(job: Job, attempt: Attempt, snapshot: Snapshot, now: float) -> dict[NodeId, str]:
    """Nodes that an attempt has to leave now; a replica of a service has its time, and drains meanwhile."""
    found = (snapshot.node_by_id.get(slot.node_id) for slot in attempt.staying)
    drained = [node for node in found if node is not None and node.state is NodeState.DRAINING]
    going = departures.of(attempt, snapshot.node_by_id) if job.spec.kind is JobKind.SERVICE else None
    if going is not None and now < going.by:
        return {}
    return {node.id: f"node {node.id} is drained" for node in drained}


def _late(job: Job, attempt: Attempt, now: float) -> dict[NodeId, str]:
    """Nodes that were to join it and did not in time."""
    if job.state is not JobState.RESIZING or not lifecycle.is_overdue(job.state, job.state_since, now):
        return {}
    return {slot.node_id: f"node {slot.node_id} did not join it in time" for slot in attempt.staying if slot.joining}


def _whose_fault(attempt: Attempt, failed_at: float, snapshot: Snapshot) -> EndAttempt | None:
    """A failure is the program's own once every node was heard after it, the platform's once one is lost or sick."""
    nodes_of = [snapshot.node_by_id.get(slot.node_id) for slot in attempt.slots]
    if attempt.resized_at is not None and failed_at - attempt.resized_at <= LOSS_SHOWS_S and attempt.left:
        return EndAttempt(attempt.id, Outcome.INTERRUPTED, "the program failed when it had just lost a node")
    lost = next((n for n in nodes_of if n is None or n.gone or n.state not in HEARD_STATES), "none")
    if lost != "none":
        name = lost.id if isinstance(lost, Node) else "one of its nodes"
        return EndAttempt(attempt.id, Outcome.INTERRUPTED, f"the program failed because {name} was lost")
    sick = attribution.cause_of_failure(attempt, failed_at, snapshot)
    if sick is not None:
        return EndAttempt(attempt.id, Outcome.INTERRUPTED, f"the program failed because of incident {sick.id}")
    if all(node is not None and (node.last_seen_at or 0.0) > failed_at for node in nodes_of):
        code = "" if attempt.exit_code is None else f" with exit code {attempt.exit_code}"
        return EndAttempt(attempt.id, Outcome.FAILED, f"the program failed{code} while all its nodes were well")
    return None


def _stopping(attempt: Attempt, snapshot: Snapshot, now: float) -> Iterator[Action]:
    if attempt.released:
        yield FinishAttempt(attempt.id, "no node can be running it any more")
        return
    yield from _release(attempt, attempt.slots, attempt.state_since, snapshot, now)


def _release(attempt: Attempt, slots: Iterable[Slot], since: float, snapshot: Snapshot, now: float) -> Iterator[Action]:
    """What is certain of slots that were told to stop at `since`; a node that does not stop is ended."""
    overdue = lifecycle.is_overdue(AttemptState.STOPPING, since, now)
    for slot in slots:
        if slot.released:
            continue
        safe = is_safe(slot, snapshot, now)
        node = snapshot.node_by_id.get(slot.node_id)
        if safe is not None:
            yield ReleaseSlot(attempt.id, slot.node_id, safe)
        elif overdue and node is not None and node.state in HEARD_STATES:
            yield TerminateNode(node.id, f"it did not stop attempt {attempt.id} when told to")


def waits(job: Job) -> bool:
    """Whether a job is one that the planner should place."""
    is_one = job.state in {JobState.QUEUED, JobState.RECOVERING, JobState.MIGRATING} or bending.restarts(job)
    return is_one and not job.cancel_requested


def expecting(snapshot: Snapshot) -> frozenset[JobId]:
    """Jobs for which nodes are kept: those that wait or will move, and those that give way and will wait for what they
    are left, and those that run and are to have more.
    """
    yielding = (attempt.job_id for attempt in snapshot.attempts if attempt.yields_to is not None)
    moving = (migration.job_id for migration in snapshot.migrations if not lifecycle.is_final(migration.state))
    return frozenset([*(job.id for job in snapshot.jobs if waits(job)), *yielding, *moving]) | targets.lacking(snapshot)
