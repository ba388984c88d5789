"""What sick hardware explains: a program that failed on it, and a node that is not heard because it boots anew."""

from collections.abc import Iterable, Iterator

from godwit.domain.health import Finding, Grade, Incident, IncidentState, Remedy
from godwit.domain.ids import JobId, NodeId
from godwit.domain.jobs import Attempt
from godwit.domain.nodes import Node
from godwit.scheduler.health.casebook import is_whole, takes_out
from godwit.scheduler.health.signs import HOT, JOB_CHECKS, LINK_LOST
from godwit.scheduler.snapshot import Snapshot

AFTER_S = 300.0
"""A sign this long after the failure still explains it (Meta RSC, arXiv 2410.21680: 10 min before to 5 min after)."""


def rebooting(snapshot: Snapshot) -> frozenset[NodeId]:
    """Nodes that are not heard because they were told to boot anew; their incidents have a deadline of their own."""
    return frozenset(
        one.node_id
        for one in snapshot.health.incidents
        if one.state is IncidentState.REPAIRING and one.remedy is Remedy.REBOOT
    )


def cause_of_failure(attempt: Attempt, failed_at: float, snapshot: Snapshot) -> Incident | None:
    """The incident of hardware under an attempt that explains why its program failed; None when nothing does."""
    before_s = snapshot.policy.health.attribution_s
    for one in (*snapshot.health.incidents, *snapshot.health.past):
        is_near = failed_at - before_s <= one.opened_at <= failed_at + AFTER_S
        if is_near and takes_out(one) and one.check not in JOB_CHECKS and _is_under(one, attempt, snapshot):
            return one
    return None


def _is_under(one: Incident, attempt: Attempt, snapshot: Snapshot) -> bool:
    node = snapshot.node_by_id.get(one.node_id)
    held = [gpu for slot in attempt.slots if slot.node_id == one.node_id for gpu in slot.gpus]
    here = any(slot.node_id == one.node_id for slot in attempt.slots)
    return here and (is_whole(one) or node is None or _has_any(node, held, one))


def _has_any(node: Node, held: Iterable[int], one: Incident) -> bool:
    wanted = set(held)
    return any(gpu.index in wanted and gpu.uuid in one.gpus for gpu in node.gpus)


def barred(snapshot: Snapshot) -> frozenset[NodeId]:
    """Nodes of a burst with one cause: nothing is done to them while they are held, and nothing starts there either."""
    return frozenset(
        one.node_id for one in snapshot.health.incidents if one.state is IncidentState.HELD and one.cause is not None
    )


def unsettled(snapshot: Snapshot, now: float) -> frozenset[NodeId]:
    """Nodes that said that their network is gone, and not that it is back: nothing starts there until it is judged.

    Such a word alone takes nothing out, since most links come back at once. A gang that starts meanwhile would only
    fail, and on a switch that is down it would do so on all of its nodes.
    """
    return frozenset(one.node_id for one in _lost_links(snapshot) if one.at + snapshot.policy.health.unsettled_s > now)


def next_deadlines(snapshot: Snapshot) -> Iterator[float]:
    """When work may start again where a network was said to be gone."""
    yield from (one.at + snapshot.policy.health.unsettled_s for one in _lost_links(snapshot))


def _lost_links(snapshot: Snapshot) -> Iterator[Finding]:
    found = [one for one in snapshot.health.findings if one.code in LINK_LOST]
    over = dict[NodeId, float]()
    for one in found:
        if one.grade is Grade.HEALTHY:
            over[one.node_id] = max(one.at, over.get(one.node_id, 0.0))
    for one in found:
        if one.grade is not Grade.HEALTHY and one.at > over.get(one.node_id, 0.0):
            yield one


def under_test(snapshot: Snapshot) -> frozenset[JobId]:
    """Jobs whose nodes are tested as a whole: they wait for these, and nothing is bought meanwhile."""
    return frozenset(
        job_id
        for one in snapshot.health.incidents
        if one.state is IncidentState.HELD and one.cause is not None and one.check in JOB_CHECKS
        for job_id in one.job_ids
    )


def doubtful(snapshot: Snapshot) -> frozenset[NodeId]:
    """Nodes to use only when no other will do: something is wrong there that nobody may act upon, or with one GPU."""
    return frozenset(one.node_id for one in snapshot.health.incidents if takes_out(one))


def hot(snapshot: Snapshot) -> frozenset[NodeId]:
    """Nodes with a GPU that heat slows down. That takes nothing out, but a gang that starts there goes at its pace."""
    last = {(one.node_id, one.code, one.gpu): one.grade for one in snapshot.health.findings if one.code in HOT}
    return frozenset(node_id for (node_id, _, _), grade in last.items() if grade is not Grade.HEALTHY)
