"""Machines that their providers take back at a known time: what runs there is told to save, and leaves. Pure.

    notice ─▶ node draining, leaves_at ─▶ attempt told to save ─┬─▶ it stops, its node is given back
                                                                └─▶ meanwhile `replacing` buys what it goes on with

The time is the provider's (`Node.leaves_at`), and no more than a promise: a lease ends what overstays it.
"""

from godwit.domain import grace
from godwit.domain.jobs import Attempt, Outcome
from godwit.domain.nodes import Node
from godwit.scheduler.plan import EndAttempt
from godwit.scheduler.snapshot import Snapshot


def leaving(attempt: Attempt, snapshot: Snapshot) -> list[Node]:
    """The nodes of an attempt that are to be taken back."""
    nodes = (snapshot.node_by_id.get(slot.node_id) for slot in attempt.slots)
    return [node for node in nodes if node is not None and node.leaves_at is not None]


def ending(attempt: Attempt, reason: str, snapshot: Snapshot, now: float) -> EndAttempt:
    """The end of an attempt of which a node is drained.

    Where that is because of a notice, it costs the job none of its retries, and it has as long as there is to save.
    """
    leaves_at = min((node.leaves_at for node in leaving(attempt, snapshot) if node.leaves_at is not None), default=None)
    if leaves_at is None:
        return EndAttempt(attempt.id, Outcome.INTERRUPTED, reason)
    left_s = max(0.0, leaves_at - now)
    why = f"{reason}: its machine is taken back in {left_s:.0f} s"
    return EndAttempt(attempt.id, Outcome.EVICTED, why, grace.within(left_s))
