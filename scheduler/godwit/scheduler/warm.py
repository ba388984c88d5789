"""Nodes that are kept ready for work that has not come yet: which they are, and which to buy when some are missing."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from godwit.domain.ids import NodeId
from godwit.domain.nodes import Health, Node, NodeState
from godwit.domain.offers import Offer
from godwit.scheduler import market
from godwit.scheduler.asks import Ask, NodeKind
from godwit.scheduler.bounds import Room, Warm
from godwit.scheduler.health import spares
from godwit.scheduler.plan import BuyNode
from godwit.scheduler.reasons import Code, Refusal
from godwit.scheduler.snapshot import Snapshot

AT_ONCE = 2
"""Nodes that may be on their way for nobody: the next is bought when one of them is ready, or has failed. So a wrong
setting costs two nodes' boot time to notice, not a fleet."""

STORM = 3
"""A provider with so many offers on hold refuses more than a shape or two: quota, credentials, or an incident. Warm
nodes are not worth adding to that; those of a job are still tried."""


def idle_nodes(snapshot: Snapshot) -> list[Node]:
    """Nodes that are ready, that nobody uses, and that no job waits for."""
    used = {slot.node_id for attempt in snapshot.attempts for slot in attempt.slots if not slot.released}
    return [
        node
        for node in snapshot.nodes
        if node.state is NodeState.READY
        and node.idle_since is not None
        and node.reserved_for is None
        and not node.gone
        and node.id not in used
    ]


def assigned(warm: Sequence[Warm], nodes: Iterable[Node]) -> Mapping[NodeId, Warm]:
    """Which of `nodes` are kept for which ask: as many as possible, and among these the first ones of `nodes`.

    A matching, so that a node that two asks fit goes to the one that has no other. Nodes are taken in turn, each along
    an augmenting path; one that is matched stays matched (the greedy algorithm on a transversal matroid, hence the
    cheapest set when `nodes` come cheapest first).
    """
    places = [index for index, ask in enumerate(warm) for _ in range(ask.count)]
    asks = [Ask.of(ask.ask) for ask in warm]
    holder: dict[int, Node] = {}
    fitting: dict[NodeId, list[int]] = {}

    def place(node: Node, tried: set[int]) -> bool:
        free = next((spot for spot in fitting[node.id] if spot not in holder), None)
        if free is not None:
            holder[free] = node
            return True
        for spot in fitting[node.id]:
            if spot not in tried:
                tried.add(spot)
                if place(holder[spot], tried):
                    holder[spot] = node
                    return True
        return False

    for node in nodes:
        if len(holder) == len(places):
            break
        kind = NodeKind.of(node.offer)
        fits = [ask.suits(kind) and _is_whole(node, ask) for ask in asks]
        fitting[node.id] = [spot for spot, index in enumerate(places) if fits[index]]
        place(node, set())
    return {node.id: warm[places[spot]] for spot, node in holder.items()}


def asks(snapshot: Snapshot) -> tuple[Warm, ...]:
    """What is to be kept ready: what the operator set, and spares for gangs that may lose a node."""
    return (*snapshot.policy.bounds.warm, *spares.asks(snapshot))


def kept(snapshot: Snapshot) -> Mapping[NodeId, Warm]:
    """The idle nodes that are not given back, and the ask that each is kept for; the cheapest that fit."""
    warm = asks(snapshot)
    return assigned(warm, sorted(idle_nodes(snapshot), key=_cheapest_first)) if warm else {}


def missing(snapshot: Snapshot) -> list[Warm]:
    """The asks without an idle node, once for each node that is neither there nor on its way."""
    warm = asks(snapshot)
    if not warm:
        return []
    nodes = [*sorted(idle_nodes(snapshot), key=_cheapest_first), *sorted(_coming(snapshot), key=_cheapest_first)]
    have = Counter(assigned(warm, nodes).values())
    wanted: Counter[Warm] = Counter()
    for ask in warm:
        wanted[ask] += ask.count
    return list((wanted - have).elements())


def purchases(snapshot: Snapshot, refusals: Iterable[Sequence[Refusal]], now: float) -> Iterator[BuyNode]:
    """Buy warm nodes that are missing: few at a time, last of all, and never where a provider refuses everything.

    `refusals` are what waiting jobs were told. While a maximum of the fleet holds one back, the room that others leave
    is for it.
    """
    wanted = Counter(missing(snapshot))
    if not wanted or any(refusal.code is Code.FLEET_MAX for told in refusals for refusal in told):
        return
    under_way = len(_coming(snapshot))
    stock = market.Stock(Room(snapshot.policy.bounds, snapshot.nodes))
    stormy = _stormy(snapshot, now)
    for ask, count in wanted.items():
        for _ in range(min(count, AT_ONCE - under_way)):
            offer = market.cheapest(ask.ask, snapshot, stock, now, stormy)
            if offer is None:
                break
            stock.take([offer])
            under_way += 1
            yield BuyNode(offer, None, _because(ask, offer))


def _because(ask: Warm, offer: Offer) -> str:
    place = f"{offer.key} at ${offer.price_usd_per_hour:.2f}/h is the cheapest"
    return f"{ask.kept_by} keeps {ask.count} of {ask.ask.gpus} ready, and one is missing: {place}"


def _coming(snapshot: Snapshot) -> list[Node]:
    """Nodes on their way that no job waits for."""
    return [n for n in snapshot.nodes if n.state in market.COMING and n.reserved_for is None and not n.gone]


def _is_whole(node: Node, ask: Ask) -> bool:
    """Whether a node that is ready has enough GPUs that are well; of one on its way none are known yet."""
    return node.state is not NodeState.READY or sum(gpu.health is Health.HEALTHY for gpu in node.gpus) >= ask.gpus


def _stormy(snapshot: Snapshot, now: float) -> frozenset[str]:
    """Providers that refuse so much that it cannot be a matter of one shape."""
    held = Counter(
        offer.provider
        for offer in snapshot.offers
        if (hold := snapshot.held.get(offer.key)) is not None and hold.until > now
    )
    return frozenset(provider for provider, count in held.items() if count >= STORM)


def _cheapest_first(node: Node) -> tuple[float, str]:
    return (node.offer.price_usd_per_hour, node.id)
