"""What to buy when the fleet cannot hold a gang: the offers that complete it for the least expected dollars per hour of
work (`expected`), all within one fabric domain.

Purchases are joint: a small job waits for what is left on a node that is on its way for another, instead of buying one
of its own; a larger node is bought where those who come next then need none (`sharing`); and nodes bought for one gang
are not counted on by the next.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from heapq import nsmallest

from godwit.domain.ids import JobId, NodeId
from godwit.domain.jobs import Job, Resources
from godwit.domain.nodes import Node, NodeState
from godwit.domain.offers import Offer
from godwit.scheduler.asks import Ask, NodeKind
from godwit.scheduler.bounds import Room
from godwit.scheduler.cluster import ANYWHERE
from godwit.scheduler.demands import Demand
from godwit.scheduler.engine import Engine
from godwit.scheduler.fits import NEVER
from godwit.scheduler.market import sharing
from godwit.scheduler.market.expected import MOST_MICROS, Expected, Work
from godwit.scheduler.market.purchase import Purchase, in_order
from godwit.scheduler.market.sharing import Next
from godwit.scheduler.market.shelf import Place, Shelf, lost_lately, place, shelf
from godwit.scheduler.market.stock import Spare, Spares, Stock
from godwit.scheduler.reasons import Code, Refusal
from godwit.scheduler.snapshot import Snapshot

COMING = frozenset({NodeState.REQUESTED, NodeState.PROVISIONING, NodeState.JOINING})
"""States of a node that was bought and will be usable."""

MOST_NODES = 4096
"""A larger gang is a slip of the pen: the largest training runs that were published used 16,384 GPUs on 2,048 nodes
(Llama 3, arXiv 2407.21783, section 3.3)."""

ALTERNATIVES = 3
"""How many purchases that were not made are told with one that was."""

_ALONE = 8
"""Offers that are remembered for one who comes next: enough that one of them is left."""


class Market:
    """Offers, their stock, and nodes on their way, while one plan is made."""

    def __init__(self, snapshot: Snapshot, engine: Engine, now: float) -> None:
        self._snapshot, self._engine, self._now = snapshot, engine, now
        self._stock = Stock(Room(snapshot.policy.bounds, snapshot.nodes))
        self._shelves: dict[tuple[Resources, Work], Shelf] = {}
        self._coming = {node.id: node for node in snapshot.nodes if node.state in COMING and not node.gone}
        self._spares = Spares()
        self._followers = sharing.Followers(engine)
        self._nexts: dict[int, Next] = {}
        for node in self._coming.values():
            owner = snapshot.job_by_id.get(node.reserved_for) if node.reserved_for is not None else None
            if owner is not None:
                self._leave_rest(node.offer, snapshot.ask_of(owner), f"node {node.id}", owner)

    def rest(self, job: Job, demand: Demand) -> Refusal | None:
        """What it may wait for: what others leave of a node that is on its way. Booked for it within this plan."""
        self._followers.served(job.id)
        if demand.nodes_min > 1 or self._engine.kept_for(job.id):
            return None
        spare = self._spares.take(demand.ask)
        return None if spare is None else spare.refusal

    def choose(self, job: Job, demand: Demand) -> tuple[Purchase | None, list[Refusal]]:
        """The cheapest way to complete the job's gang by buying, or None; and why each offer was refused.

        A provider that lost a node lately is the last choice: what killed one machine of a gang is often still around.
        """
        self._followers.served(job.id)
        if demand.nodes_min > MOST_NODES:
            return None, [_too_many(demand)]
        sold, there = self._shelf(job, demand), self._there(job, demand)
        options, refusals = self._options(demand, sold, there)
        if not options:
            return None, list(dict.fromkeys([*sold.refusals, *refusals]))
        best = min(options.values(), key=in_order)
        if best.bought:
            best = self._with_room_for_others(best, demand, sold, there)
        return replace(best, alternatives=self._alternatives(best, options, demand, sold)), list(sold.refusals)

    def more(self, job: Job, demand: Demand, beside: NodeId, count: int) -> list[Expected]:
        """Up to `count` machines for a job that runs, within reach of the node `beside`, the best first. Booked."""
        near = self._snapshot.node_by_id.get(beside)
        if count <= 0 or near is None:
            return []
        offers = [
            one
            for place_offers in self._shelf(job, demand).by_place.values()
            for one in place_offers
            if _reaches(near.offer, one.offer, demand.within) and demand.ask.suits(NodeKind.of(one.offer))
        ]
        picked = _pick(sorted(offers, key=lambda one: (one.usd_micros, one.offer.key)), count, self._stock)
        while picked and self._stock.room.refusal([one.offer for one in picked]) is not None:
            picked.pop()
        self._stock.take([one.offer for one in picked])
        return picked

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
        message = f"has room beside job {job.id}, for which it comes"
        refusal = Refusal(Code.NOT_READY, subject, message, "wait until it boots")
        spare = Spare.all_of(NodeKind.of(offer), refusal, ask.tenant)
        if spare.take(ask):
            self._spares.add(spare)

    def _shelf(self, job: Job, demand: Demand) -> Shelf:
        key = (job.spec.resources, Work.of(job, demand))
        if key not in self._shelves:
            self._shelves[key] = shelf(*key, self._snapshot, self._now)
        return self._shelves[key]

    def _there(self, job: Job, demand: Demand) -> dict[Place, list[NodeId]]:
        """Nodes that the gang can count on: free now, or on their way and for no other job.

        Its own come first, but one that came free while its own were on their way is there sooner than these.
        """
        engine, resources = self._engine, job.spec.resources
        own = [NodeId(node_id) for node_id in engine.kept_for(job.id) if self._will_do(NodeId(node_id), job, demand)]
        kept = engine.cluster.held
        free = [engine.cluster.ids[row] for row in engine.fits(demand.ask).fitting().tolist()]
        coming = [
            node.id
            for node in self._coming.values()
            if engine.cluster.row_of[node.id] not in kept and demand.ask.suits(NodeKind.of(node.offer))
        ]
        found: dict[Place, list[NodeId]] = {}
        own_free = [node_id for node_id in own if node_id not in self._coming]
        own_coming = [node_id for node_id in own if node_id in self._coming]
        for node_id in [*own_free, *sorted(map(NodeId, free)), *own_coming, *sorted(map(NodeId, coming))]:
            node: Node = self._snapshot.node_by_id[node_id]
            found.setdefault(place(resources, node.offer, node_id), []).append(node_id)
        return found

    def _will_do(self, node_id: NodeId, job: Job, demand: Demand) -> bool:
        """Whether a node that is kept for a job is on its way, or has room: what it lost it may never have again."""
        if node_id in self._coming:
            return True
        keys = self._engine.fits(demand.ask).keys_for(job.id)
        return bool(keys[self._engine.cluster.row_of[node_id]] < NEVER)

    def _options(
        self, demand: Demand, sold: Shelf, there: Mapping[Place, list[NodeId]]
    ) -> tuple[dict[Place, Purchase], list[Refusal]]:
        """The best of each place, or why there is none."""
        options, refusals = dict[Place, Purchase](), list[Refusal]()
        for where in sorted({*sold.by_place, *there}):
            keep = tuple(there.get(where, [])[: demand.nodes_min])
            option = self._complete(demand, where, sold.by_place.get(where, []), keep)
            if isinstance(option, Refusal):
                refusals.append(option)
            else:
                options[where] = option
        return options, refusals

    def _complete(
        self, demand: Demand, where: Place, offers: list[Expected], keep: tuple[NodeId, ...]
    ) -> Purchase | Refusal:
        missing = demand.nodes_min - len(keep)
        stock, snapshot, now = self._stock, self._snapshot, self._now
        bought = _pick(offers, missing, stock)
        if stock.room.refusal([one.offer for one in bought]) is not None:
            # What is trusted more may cost more, and within a maximum the least price is better than nothing.
            by_price = sorted(offers, key=lambda one: (one.offer.price_usd_per_hour, one.offer.key))
            bought = _pick(by_price, missing, stock)
        if len(bought) < missing:
            message = f"{len(keep)} nodes there and {len(bought)} to be had, {demand.nodes_min} needed together"
            read_again_at = max((one.offer.seen_at for one in offers), default=now) + snapshot.policy.offers_every_s
            help_ = "fewer nodes, fabric: any, or wait for capacity"
            subject = "/".join(where[1:]) or "anywhere"
            return Refusal(Code.NO_CAPACITY, subject, message, help_, max(now, read_again_at))
        over = stock.room.refusal([one.offer for one in bought])
        if over is not None:
            return over
        is_lossy = any(lost_lately(one.offer, snapshot, now) for one in bought)
        return Purchase(where, keep, tuple(bought), is_lossy)

    def _alternatives(
        self, best: Purchase, options: dict[Place, Purchase], demand: Demand, sold: Shelf
    ) -> tuple[Expected, ...]:
        """What would be bought if the offers of `best` were refused, and so on: one round, nothing is tried twice."""
        found, refused, options = list[Expected](), set[str](), dict(options)
        while best.bought and len(found) < ALTERNATIVES:
            refused |= {offer.key for offer in best.buy}
            for where, option in list(options.items()):
                if any(offer.key in refused for offer in option.buy):
                    del options[where]
                    left = [one for one in sold.by_place[where] if one.offer.key not in refused]
                    again = self._complete(demand, where, left, option.keep)
                    if isinstance(again, Purchase):
                        options[where] = again
            if not options:
                break
            best = min(options.values(), key=in_order)
            found += best.bought[:1]
        return tuple(found)

    def _with_room_for_others(
        self, best: Purchase, demand: Demand, sold: Shelf, there: Mapping[Place, list[NodeId]]
    ) -> Purchase:
        """The same, or one that leaves room for others of the queue, if all together then cost less."""
        nexts = [self._next(one) for one in self._followers.of(demand)]
        others = sharing.without_rest(nexts, self._spares.copy()) if nexts else []
        if not others:
            return best
        at_least = sharing.total(demand.ask, best.bought, others, self._stock, MOST_MICROS)
        least, found = at_least, best
        for option in nsmallest(sharing.SHAPES, self._of_one_offer(best, demand, sold, there), key=in_order):
            cost = sharing.total(demand.ask, option.bought, others, self._stock, least)
            if cost < least:
                least, found = cost, option
        return replace(found, saved_micros=at_least - least)

    def _of_one_offer(
        self, best: Purchase, demand: Demand, sold: Shelf, there: Mapping[Place, list[NodeId]]
    ) -> Iterator[Purchase]:
        """Ways to complete the gang by machines of one offer, one for each shape in each place."""
        for where in sorted(sold.by_place):
            keep = tuple(there.get(where, [])[: demand.nodes_min])
            missing = demand.nodes_min - len(keep)
            for one in sharing.shapes(sold.by_place[where], partial(self._has, missing)) if missing else ():
                is_lossy = lost_lately(one.offer, self._snapshot, self._now)
                if best.recently_lost or not is_lossy:
                    yield Purchase(where, keep, (one,) * missing, is_lossy)

    def _has(self, count: int, one: Expected) -> bool:
        return self._stock.left(one.offer) >= count and self._stock.room.refusal([one.offer] * count) is None

    def _next(self, demand: Demand) -> Next:
        """What a job of one node would buy for itself."""
        sold = self._shelf(self._snapshot.job_by_id[JobId(demand.job_id)], demand)
        key = id(sold)
        if key not in self._nexts:
            every = [one for offers in sold.by_place.values() for one in offers]
            cheapest = nsmallest(_ALONE, every, key=lambda one: (one.usd_micros, one.offer.key))
            per_gpu = nsmallest(_ALONE, every, key=_per_gpu)
            self._nexts[key] = Next(demand.ask, tuple(cheapest), tuple(per_gpu))
        return self._nexts[key]


def _too_many(demand: Demand) -> Refusal:
    what = f"of {demand.nodes_min:,} nodes is larger than {MOST_NODES:,}"
    return Refusal(Code.TOO_MANY_NODES, "the gang", what, "fewer nodes")


def _reaches(near: Offer, offer: Offer, within: int) -> bool:
    """Whether a machine of `offer` may work in a gang with one of `near`."""
    if offer.gpu_model != near.gpu_model:
        return False
    if within == ANYWHERE:
        return True
    is_same = (offer.provider, offer.region, offer.fabric_domain) == (near.provider, near.region, near.fabric_domain)
    return is_same and offer.fabric_domain is not None


def _per_gpu(one: Expected) -> tuple[int, str]:
    return (one.usd_micros // max(1, one.offer.gpu_count), one.offer.key)


def _pick(offers: Sequence[Expected], count: int, stock: Stock) -> list[Expected]:
    """Up to `count` instances, the first offers first, as far as each one's capacity goes."""
    picked: list[Expected] = []
    for one in offers:
        if len(picked) == count:
            break
        picked += [one] * min(count - len(picked), stock.left(one.offer))
    return picked
