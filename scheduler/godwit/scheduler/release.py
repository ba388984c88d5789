"""Which nodes nobody needs: an idle GPU is money."""

from collections.abc import Iterator

from godwit.domain.nodes import NodeState
from godwit.scheduler.plan import Action, ReserveNode, TerminateNode
from godwit.scheduler.repair import waits
from godwit.scheduler.snapshot import Snapshot


def idle(snapshot: Snapshot, now: float) -> Iterator[Action]:
    """Give back nodes that nobody used for the idle time, and free those whose job does not wait for them any more."""
    waiting = {job.id for job in snapshot.jobs if waits(job)}
    for node in snapshot.nodes:
        if node.reserved_for is not None and node.reserved_for not in waiting:
            yield ReserveNode(node.id, None, "the job that it was bought for does not wait any more")
        elif node.state is NodeState.READY and node.reserved_for is None and node.idle_since is not None:
            idle_s = now - node.idle_since
            if idle_s >= snapshot.policy.idle_after_s:
                yield TerminateNode(node.id, f"nobody has used it for {idle_s:.0f} s")


def next_deadlines(snapshot: Snapshot) -> Iterator[float]:
    """Instants at which idle nodes come due."""
    for node in snapshot.nodes:
        if node.state is NodeState.READY and node.idle_since is not None:
            yield node.idle_since + snapshot.policy.idle_after_s
