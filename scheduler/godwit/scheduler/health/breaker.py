"""How much of the fleet automation may take out at once: beyond it, it stops, and a person decides.

A driver, a switch or a check that went wrong shows as many sick nodes. To take them all out does more harm than what it
is meant to cure. Managed Kubernetes stops repairs when a fifth of the nodes is unhealthy, and NVSentinel when half of
them would be cordoned within five minutes.
"""

from collections import Counter
from collections.abc import Iterator
from functools import cached_property

from godwit.domain.health import Incident, IncidentState, Remedy
from godwit.domain.ids import NodeId
from godwit.domain.nodes import Node, NodeState
from godwit.scheduler.health.casebook import Casebook, takes_out

Scope = tuple[str, str]
"""What is counted together: ("fleet", ""), ("provider", its name) or ("fabric", its domain)."""

_NEVER_THERE = frozenset({NodeState.REQUESTED, NodeState.PROVISIONING, NodeState.JOINING})


class Budget:
    """What may still be taken out in this round; booked as it is used. One node counts once, whatever is wrong."""

    def __init__(self, book: Casebook) -> None:
        self._policy, self._book = book.policy, book

    # Most rounds take nothing out, and then nobody counts the fleet.

    @cached_property
    def _nodes(self) -> list[Node]:
        return [node for node in self._book.snapshot.nodes if node.state not in _NEVER_THERE]

    @cached_property
    def _sizes(self) -> Counter[Scope]:
        return Counter(scope for node in self._nodes for scope in scopes_of(node)) + Counter(self._book.view.beside)

    @cached_property
    def _places(self) -> dict[NodeId, tuple[Scope, ...]]:
        places = {node.id: scopes_of(node) for node in self._nodes}
        for cordon in self._book.view.cordons:  # what was given back since counts on
            places.setdefault(cordon.node_id, _scopes(cordon.provider, cordon.fabric_domain))
        return places

    @cached_property
    def _lately(self) -> set[NodeId]:
        return _lately(self._book)

    @cached_property
    def _out(self) -> set[NodeId]:
        acting = {one.node_id for active in self._book.active.values() for one in active if acts(one)}
        return acting | {node.id for node in self._nodes if node.state is NodeState.CORDONED}

    def refusal(self, node: Node) -> str | None:
        """Say which cap does not let automation take this node out as well; None when it may."""
        found = self._refused(node)
        return None if found is None else found[0]

    def trips(self, node: Node) -> bool:
        """Whether a person is needed. Two in a place of a few nodes may meet by chance: the second waits its turn."""
        found = self._refused(node)
        return found is not None and not found[1]

    def _refused(self, node: Node) -> tuple[str, bool] | None:
        """Why not, and whether it is over with the window: one always goes where the share is less than two."""
        for scope in scopes_of(node):
            size = max(1, self._sizes[scope])
            lately = self._count(self._lately | {node.id}, scope)
            if node.id not in self._lately and lately > cap(self._policy.breaker_share, size):
                window = f"{self._policy.breaker_window_s / 60:.0f} min"
                most = f"the most is {self._policy.breaker_share:.0%}, and one always"
                why = f"{lately} of {size} nodes of {_name(scope)} would be taken out within {window}; {most}"
                return why, int(self._policy.breaker_share * size + 1e-9) < 2
            out = self._count(self._out | {node.id}, scope)
            if node.id not in self._out and out > cap(self._policy.breaker_most, size):
                most = f"the most is {self._policy.breaker_most:.0%}"
                return f"{out} of {size} nodes of {_name(scope)} would be out; {most}", False
        return None

    def take(self, node: Node) -> None:
        """Automation takes this node out, or a GPU of it."""
        self._places.setdefault(node.id, scopes_of(node))
        self._lately.add(node.id)
        self._out.add(node.id)

    def _count(self, nodes: set[NodeId], scope: Scope) -> int:
        return sum(scope in self._places.get(node_id, ()) for node_id in nodes)


def cap(share: float, size: int) -> int:
    """So many of `size` nodes at most. One always: without it nobody would ever help a fleet of four."""
    return max(1, int(share * size + 1e-9))


def scopes_of(node: Node) -> tuple[Scope, ...]:
    """Where a node is counted."""
    return _scopes(node.offer.provider, node.offer.fabric_domain)


def _scopes(provider: str, fabric_domain: str | None) -> tuple[Scope, ...]:
    fabric = () if fabric_domain is None else (("fabric", f"{provider}/{fabric_domain}"),)
    return (("fleet", ""), ("provider", provider), *fabric)


def acts(incident: Incident) -> bool:
    """Whether something is out of the fleet because of it."""
    return takes_out(incident) and incident.state is not IncidentState.HELD


def next_deadlines(book: Casebook) -> Iterator[float]:
    """When the window lets go of what was taken out in it."""
    if any(one.state is IncidentState.HELD for one in book.view.incidents):
        yield from (at + book.policy.breaker_window_s for at, _ in _taken(book))


def _lately(book: Casebook) -> set[NodeId]:
    since = book.now - book.policy.breaker_window_s
    return {node_id for at, node_id in _taken(book) if at > since}


def _taken(book: Casebook) -> Iterator[tuple[float, NodeId]]:
    """When automation took out what: cordons, and incidents by when they began to act."""
    yield from ((cordon.at, cordon.node_id) for cordon in book.view.cordons)
    for one in (*book.view.incidents, *book.view.past):
        if acts(one):
            yield one.opened_at if one.cause is None and not _just_began(one) else one.state_since, one.node_id


def _just_began(one: Incident) -> bool:
    """Whether it is in the first state in which it acts: what was held acts since then, and not since it was found."""
    is_first = one.state in {IncidentState.OPEN, IncidentState.REPAIRING} or one.remedy is Remedy.NONE
    return is_first and not one.tried and one.state is not IncidentState.CLOSED


def _name(scope: Scope) -> str:
    kind, name = scope
    return "the fleet" if kind == "fleet" else f"{kind} {name}"
