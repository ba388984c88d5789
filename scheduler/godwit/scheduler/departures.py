"""Replicas that have to leave their nodes: why, and by when at the latest. Pure.

A replica is never just told to stop while there is time: another one takes its place, requests go there, it finishes
those that it has, and only then it ends (`serving`). What ends that time depends on the cause:

    its machine is taken back              `LAST_MOMENT_S` before that
    its node is drained                    `LAST_MOMENT_S` before the node counts as drained for too long
    a GPU is suspect that still computes   as long as a drained node has
    another job needs its place            `GIVES_WAY_WITHIN_S`
    its machine is gone, its GPU is wrong  there is none: it is lost, and only replaced
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from godwit.domain import lifecycle
from godwit.domain.ids import NodeId
from godwit.domain.jobs import Attempt, AttemptState, Job, JobKind
from godwit.domain.nodes import Node, NodeState

LAST_MOMENT_S = 10.0
"""So long before its machine goes a replica is told to stop, drained or not."""

GIVES_WAY_WITHIN_S = 120.0
"""How long a replica has that gives way to another job: as long as EC2's notice, which serving on spot has to live with
anyway. Whoever waits for the place waits no longer than that."""

EMPTIES_WITHIN_S = lifecycle.DEADLINES[NodeState.DRAINING].after_s or 600.0
"""How long a drained node has until it counts as drained for too long."""


@dataclass(frozen=True)
class Departure:
    """Why a replica has to leave its nodes, and when it is told to stop (seconds since the epoch)."""

    why: str
    by: float


def asks_first(job: Job | None, attempt: Attempt) -> bool:
    """Whether an attempt is asked to leave before it is told to stop: that of a replica that runs and was not yet."""
    is_replica = job is not None and job.spec.kind is JobKind.SERVICE and not job.cancel_requested
    return is_replica and attempt.state is AttemptState.RUNNING and attempt.outcome is None


def of(attempt: Attempt, nodes: Mapping[NodeId, Node]) -> Departure | None:
    """Why and by when a replica's attempt has to leave, the soonest of several; None while it may stay."""
    return min(_all(attempt, nodes), key=lambda one: one.by, default=None)


def _all(attempt: Attempt, nodes: Mapping[NodeId, Node]) -> Iterator[Departure]:
    if attempt.leaves_by is not None:
        yield Departure(attempt.detail or "it was asked to leave", attempt.leaves_by)
    for slot in attempt.staying:
        node = nodes.get(slot.node_id)
        if node is None or node.state is not NodeState.DRAINING:
            continue
        yield Departure(f"node {node.id} is drained", node.state_since + EMPTIES_WITHIN_S - LAST_MOMENT_S)
        if node.leaves_at is not None:
            yield Departure(f"the machine of node {node.id} is taken back", node.leaves_at - LAST_MOMENT_S)
