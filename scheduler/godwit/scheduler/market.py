"""What to buy when the fleet cannot hold a gang: the cheapest offers that complete it, within one fabric domain.

Purchases are joint: a small job waits for what is left on a node that is on its way for another, instead of buying one
of its own, and nodes bought for one gang are not counted on by the next.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from godwit.domain.ids import NodeId
from godwit.domain.jobs import Fabric, Job, Resources
from godwit.domain.nodes import Node, NodeState
from godwit.domain.offers import Offer
from godwit.scheduler.asks import WHOLE, Ask, NodeKind
from godwit.scheduler.bounds import Room
from godwit.scheduler.demands import Demand
from godwit.scheduler.engine import Engine
from godwit.scheduler.fits import NEVER
from godwit.scheduler.placement import offer_refusal
from godwit.scheduler.reasons import Code, Refusal
from godwit.scheduler.snapshot import Snapshot

COMING = frozenset({NodeState.REQUESTED, NodeState.PROVISIONING, NodeState.JOINING})
"""States of a node that was bought and will be usable."""


MOST_NODES = 4096
"""A larger gang is a slip of the pen: the largest training runs that were published used 16,384 GPUs on 2,048 nodes
(Llama 3, arXiv 2407.21783, section 3.3)."""


@dataclass(frozen=True)
class Purchase:
    """How to complete one gang: nodes it already has or waits for, and offers to buy; all in one `domain`.

    `usd_per_useful_hour` is the price divided by the trust in each offer: what an hour of work costs there.
    """

    domain: tuple[str, ...]
    keep: tuple[NodeId, ...]
    buy: tuple[Offer, ...]
    recently_lost: bool
    usd_per_useful_hour: float

    @property
    def price_usd_per_hour(self) -> float:
        """What the bought part costs per hour."""
        return sum(offer.price_usd_per_hour for offer in self.buy)


class Stock:
    """What is left of each offer's capacity, and of the fleet's maximum, while one plan is made."""

    def __init__(self, room: Room | None = None) -> None:
        self._taken: Counter[str] = Counter()
        self.room = room or Room()

    def left(self, offer: Offer) -> int:
        """Instances of `offer` that may still be bought; a provider that does not say is taken to have plenty."""
        return 1_000_000 if offer.capacity is None else max(0, offer.capacity - self._taken[offer.key])

    def take(self, offers: Sequence[Offer]) -> None:
        """Book the capacity of bought offers."""
        self._taken.update(offer.key for offer in offers)
        self.room.take(offers)


@dataclass
class _Spare:
    """What is left of a node that is on its way for somebody."""

    kind: NodeKind
    gpu_milli: int
    cpu_milli: int
    memory_mib: int
    refusal: Refusal

    def take(self, ask: Ask) -> bool:
        """Book `ask` here, if it fits."""
        left = (self.gpu_milli - ask.total_milli, self.cpu_milli - ask.cpu_milli, self.memory_mib - ask.memory_mib)
        if min(left) < 0 or not ask.suits(self.kind):
            return False
        self.gpu_milli, self.cpu_milli, self.memory_mib = left
        return True


@dataclass
class _Shelf:
    """Offers that would do for some resources, by their domain, the best first; and why others would not."""

    by_domain: dict[tuple[str, ...], list[Offer]] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)


class Market:
    """Offers, their stock, and nodes on their way, while one plan is made."""

    def __init__(self, snapshot: Snapshot, engine: Engine, now: float) -> None:
        self._snapshot, self._engine, self._now = snapshot, engine, now
        self._stock = Stock(Room(snapshot.policy.bounds, snapshot.nodes))
        self._shelves: dict[Resources, _Shelf] = {}
        self._coming = {node.id: node for node in snapshot.nodes if node.state in COMING and not node.gone}
        self._spare: list[_Spare] = []
        for node in self._coming.values():
            owner = snapshot.job_by_id.get(node.reserved_for) if node.reserved_for is not None else None
            if owner is not None:
                self._leave_rest(node.offer, Ask.of(owner.spec.resources), f"node {node.id}", owner)

    def rest(self, job: Job, demand: Demand) -> Refusal | None:
        """What it may wait for: what others leave of a node that is on its way. Booked for it within this plan."""
        if demand.nodes_min > 1 or self._engine.kept_for(job.id):
            return None
        return next((spare.refusal for spare in self._spare if spare.take(demand.ask)), None)

    def choose(self, job: Job, demand: Demand) -> tuple[Purchase | None, list[Refusal]]:
        """The cheapest way to complete the job's gang by buying, or None; and why each offer was refused.

        A provider that lost a node lately is the last choice: what killed one machine of a gang is often still around.
        """
        if demand.nodes_min > MOST_NODES:
            return None, [_too_many(demand)]
        shelf = self._shelf(job.spec.resources)
        refusals, options = list(shelf.refusals), []
        there = self._there(job, demand)
        for domain in sorted({*shelf.by_domain, *there}):
            option = self._complete(demand, domain, shelf.by_domain.get(domain, []), there.get(domain, []))
            if isinstance(option, Refusal):
                refusals.append(option)
            else:
                options.append(option)
        best = min(options, key=lambda o: (o.recently_lost, o.usd_per_useful_hour, o.domain), default=None)
        return best, list(dict.fromkeys(refusals))

    def book(self, purchase: Purchase, job: Job, demand: Demand) -> None:
        """Nobody else in this plan counts on what this purchase keeps or buys, but on what it leaves."""
        self._stock.take(purchase.buy)
        for node_id in purchase.keep:
            if node_id not in self._engine.kept_for(job.id):
                self._engine.keep(node_id, demand)
                coming = self._coming.get(node_id)
                if coming is not None:
                    self._leave_rest(coming.offer, demand.ask, f"node {node_id}", job)
        for offer in purchase.buy:
            self._leave_rest(offer, demand.ask, offer.key, job)

    def _leave_rest(self, offer: Offer, ask: Ask, subject: str, job: Job) -> None:
        kind = NodeKind.of(offer)
        refusal = Refusal(
            Code.NOT_READY, subject, f"has room beside job {job.id}, for which it comes", "wait until it boots"
        )
        spare = _Spare(kind, kind.gpus * WHOLE, kind.cpu_milli, kind.memory_mib, refusal)
        if spare.take(ask):
            self._spare.append(spare)

    def _shelf(self, resources: Resources) -> _Shelf:
        shelf = self._shelves.get(resources)
        if shelf is None:
            usable, refusals = _usable_offers(resources, self._snapshot, self._now)
            shelf = self._shelves[resources] = _Shelf(refusals=refusals)
            for offer in sorted(usable, key=_by_usefulness(self._snapshot, self._now)):
                shelf.by_domain.setdefault(_domain(resources, offer), []).append(offer)
        return shelf

    def _there(self, job: Job, demand: Demand) -> dict[tuple[str, ...], list[NodeId]]:
        """Nodes that the gang can count on: free now, or on their way and for no other job. Its own come first."""
        engine, resources = self._engine, job.spec.resources
        own = [NodeId(node_id) for node_id in engine.kept_for(job.id) if self._will_do(NodeId(node_id), job, demand)]
        kept = engine.cluster.held
        free = [engine.cluster.ids[row] for row in engine.fits(demand.ask).fitting().tolist()]
        coming = [
            node.id
            for node in self._coming.values()
            if engine.cluster.row_of[node.id] not in kept and demand.ask.suits(NodeKind.of(node.offer))
        ]
        found: dict[tuple[str, ...], list[NodeId]] = {}
        for node_id in [*own, *sorted(NodeId(name) for name in (*free, *coming))]:
            node: Node = self._snapshot.node_by_id[node_id]
            found.setdefault(_domain(resources, node.offer, node_id), []).append(node_id)
        return found

    def _will_do(self, node_id: NodeId, job: Job, demand: Demand) -> bool:
        """Whether a node that is kept for a job is on its way, or has room: what it lost it may never have again."""
        if node_id in self._coming:
            return True
        keys = self._engine.fits(demand.ask).keys_for(job.id)
        return bool(keys[self._engine.cluster.row_of[node_id]] < NEVER)

    def _complete(
        self, demand: Demand, domain: tuple[str, ...], offers: list[Offer], there: list[NodeId]
    ) -> Purchase | Refusal:
        keep = there[: demand.nodes_min]
        missing = demand.nodes_min - len(keep)
        stock, snapshot, now = self._stock, self._snapshot, self._now
        buy = _pick(offers, missing, stock)
        if stock.room.refusal(buy) is not None:
            # What is trusted more may cost more, and within a maximum the least price is better than nothing.
            buy = _pick(sorted(offers, key=lambda offer: (offer.price_usd_per_hour, offer.key)), missing, stock)
        if len(buy) < missing:
            place = "/".join(domain[1:]) or "anywhere"
            message = f"{len(keep)} nodes there and {len(buy)} to be had, {demand.nodes_min} needed together"
            read_again_at = max((o.seen_at for o in offers), default=now) + snapshot.policy.offers_every_s
            help_ = "fewer nodes, fabric: any, or wait for capacity"
            return Refusal(Code.NO_CAPACITY, place, message, help_, max(now, read_again_at))
        over = stock.room.refusal(buy)
        if over is not None:
            return over
        is_lossy = any(_lost_lately(offer, snapshot, now) for offer in buy)
        return Purchase(domain, tuple(keep), tuple(buy), is_lossy, sum(_useful_price(o, snapshot) for o in buy))


def cheapest(
    resources: Resources, snapshot: Snapshot, stock: Stock, now: float, passed_over: Collection[str] = ()
) -> Offer | None:
    """The best offer for one node of `resources`, not of the providers in `passed_over`; None when none can be had."""
    ask = Ask.of(resources)
    there = (
        offer
        for offer in snapshot.offers
        if offer.provider not in passed_over
        and ask.suits(NodeKind.of(offer))
        and not _is_held(offer, snapshot, now)
        and stock.left(offer)
        and stock.room.refusal([offer]) is None
    )
    return min(there, key=_by_usefulness(snapshot, now), default=None)


def _is_held(offer: Offer, snapshot: Snapshot, now: float) -> bool:
    hold = snapshot.held.get(offer.key)
    return hold is not None and hold.until > now


def _usable_offers(resources: Resources, snapshot: Snapshot, now: float) -> tuple[list[Offer], list[Refusal]]:
    usable, refusals = [], []
    for offer in snapshot.offers:
        refusal = offer_refusal(resources, offer, offer.key) or _price_refusal(offer)
        hold = snapshot.held.get(offer.key)
        if refusal is None and hold is not None and hold.until > now:
            refusal = Refusal(Code.HELD, offer.key, hold.reason, "wait: it is tried again then", hold.until)
        if refusal is None:
            usable.append(offer)
        else:
            refusals.append(refusal)
    return usable, refusals


def _too_many(demand: Demand) -> Refusal:
    what = f"of {demand.nodes_min:,} nodes is larger than {MOST_NODES:,}"
    return Refusal(Code.TOO_MANY_NODES, "the gang", what, "fewer nodes")


def _price_refusal(offer: Offer) -> Refusal | None:
    if isfinite(offer.price_usd_per_hour) and offer.price_usd_per_hour >= 0:
        return None
    what = f"says that it costs {offer.price_usd_per_hour} an hour"
    return Refusal(Code.NO_PRICE, offer.key, what, "wait until its provider tells a price")


def _pick(offers: Sequence[Offer], count: int, stock: Stock) -> list[Offer]:
    """Up to `count` instances, the first offers first, as far as each one's capacity goes."""
    picked: list[Offer] = []
    for offer in offers:
        if len(picked) == count:
            break
        picked += [offer] * min(count - len(picked), stock.left(offer))
    return picked


def _by_usefulness(snapshot: Snapshot, now: float) -> Callable[[Offer], Any]:
    return lambda offer: (_lost_lately(offer, snapshot, now), _useful_price(offer, snapshot), offer.key)


def _useful_price(offer: Offer, snapshot: Snapshot) -> float:
    return offer.price_usd_per_hour / snapshot.trust_in(offer)


def _lost_lately(offer: Offer, snapshot: Snapshot, now: float) -> bool:
    at = snapshot.losses.get(offer.provider)
    return at is not None and now - at < snapshot.policy.loss_memory_s


def _domain(resources: Resources, offer: Offer, node_id: str = "") -> tuple[str, ...]:
    """What a gang must not straddle, as (GPU model, provider, region, fabric domain) or just the model."""
    model = offer.gpu_model or "" if resources.gpus.count else ""
    if resources.nodes_min == 1 or resources.fabric is Fabric.ANY:
        return (model,)
    return (model, offer.provider, offer.region, offer.fabric_domain or f"node {node_id}")
