"""Which nodes nobody needs: an idle GPU is money, and an hour that is paid already is not saved by giving it back."""

from collections.abc import Iterator, Mapping

from godwit.domain.ids import NodeId
from godwit.domain.nodes import Node, NodeState
from godwit.scheduler import repair, warm
from godwit.scheduler.health import attribution
from godwit.scheduler.plan import Action, ReserveNode, TerminateNode
from godwit.scheduler.snapshot import Policy, Snapshot

SHORT_STEP_S = 60.0
"""Steps up to this are not waited out. What is lost of one is at most a minute's price; most clouds bill by the second
or the minute (docs/fleet.md)."""

ROUNDING_S = 0.001
"""Instants are floats of seconds since 1970, good to a microsecond: an end computed twice may differ by as much."""

PRESENT = frozenset({NodeState.READY, NodeState.CORDONED})
"""States in which a node counts towards the least number of nodes."""


def idle(snapshot: Snapshot, now: float) -> Iterator[Action]:
    """Give back nodes that nobody used for the idle time, and free those whose job does not wait for them any more.

    A node is not given back early in a step of billing that is paid already, nor when the fleet's bounds keep it, nor
    while it is repaired or tested: its incident says when it goes.
    """
    expecting = repair.expecting(snapshot)
    for node in snapshot.nodes:
        if node.reserved_for is not None and node.reserved_for not in expecting:
            yield ReserveNode(node.id, None, "the job that it was bought for does not wait any more")
    kept = keepers(snapshot)
    cared_for = attribution.doubtful(snapshot)
    for node in warm.idle_nodes(snapshot):
        if node.id not in kept and node.id not in cared_for and is_due(node, snapshot.policy, now):
            yield TerminateNode(node.id, _because(node, now))


def keepers(snapshot: Snapshot) -> Mapping[NodeId, str]:
    """Idle nodes that stay however long they are idle, and why: the warm ones, and the cheapest up to `min_nodes`."""
    bounds = snapshot.policy.bounds
    why = {
        node_id: f"{ask.kept_by} keeps {ask.count} of {ask.ask.gpus}" for node_id, ask in warm.kept(snapshot).items()
    }
    if not why and not bounds.min_nodes:
        return {}
    others = [node for node in warm.idle_nodes(snapshot) if node.id not in why]
    others.sort(key=lambda node: (node.offer.price_usd_per_hour, node.id))
    present = sum(node.state in PRESENT and not node.gone for node in snapshot.nodes)
    lacking = max(0, bounds.min_nodes - (present - len(others)))
    return why | {node.id: f"fleet.min_nodes is {bounds.min_nodes}" for node in others[:lacking]}


def rest_of_paid_step_s(node: Node, at: float) -> float:
    """How long the step of billing lasts that is under way at `at`; 0 where steps are too short to matter.

    Steps count from when the node was asked for. The provider counts from its own launch, which is never earlier, so
    that no step really ends before it does here.
    """
    step_s = node.offer.billing_step_s
    return 0.0 if step_s <= SHORT_STEP_S else step_s - max(0.0, at - node.created_at) % step_s


def due_at(node: Node, policy: Policy, now: float) -> float | None:
    """The first instant, not before `now`, at which an idle node may go back; None for one that is in use."""
    if node.idle_since is None:
        return None
    earliest = max(now, node.idle_since + policy.idle_after_s)
    return earliest + max(0.0, rest_of_paid_step_s(node, earliest) - policy.release_margin_s)


def is_due(node: Node, policy: Policy, now: float) -> bool:
    """Whether an idle node may go back now, by the clock."""
    at = due_at(node, policy, now)
    return at is not None and at <= now + ROUNDING_S


def next_deadlines(snapshot: Snapshot, now: float) -> Iterator[float]:
    """Instants at which idle nodes come due."""
    for node in snapshot.nodes:
        at = due_at(node, snapshot.policy, now)
        if node.state is NodeState.READY and at is not None:
            yield at


def _because(node: Node, now: float) -> str:
    unused = f"nobody has used it for {now - (node.idle_since or now):.0f} s"
    rest_s = rest_of_paid_step_s(node, now)
    return unused + (f", and the step that is paid ends in {rest_s:.0f} s" if rest_s else "")
