"""What to buy when the fleet cannot hold a gang: the cheapest offers that complete it, within one fabric domain."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from godwit.domain.jobs import Fabric, Job, Resources
from godwit.domain.nodes import NodeState
from godwit.domain.offers import Offer
from godwit.scheduler.bounds import Room
from godwit.scheduler.fleet import Fleet, FreeNode
from godwit.scheduler.placement import node_refusal, offer_refusal
from godwit.scheduler.reasons import Code, Refusal
from godwit.scheduler.snapshot import Snapshot

COMING = frozenset({NodeState.REQUESTED, NodeState.PROVISIONING, NodeState.JOINING})
"""States of a node that was bought and will be usable."""


@dataclass(frozen=True)
class Purchase:
    """How to complete one gang: nodes it already has or waits for, and offers to buy; all in one `domain`.

    `usd_per_useful_hour` is the price divided by the trust in each offer: what an hour of work costs there.
    """

    domain: tuple[str, ...]
    keep: tuple[FreeNode, ...]
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


def choose(
    job: Job, snapshot: Snapshot, fleet: Fleet, stock: Stock, now: float
) -> tuple[Purchase | None, list[Refusal]]:
    """The cheapest way to complete the job's gang by buying, or None; and why each offer was refused.

    A provider that lost a node lately is the last choice: what killed one machine of a gang is often still around.
    """
    usable, refusals = _usable_offers(job.spec.resources, snapshot, now)
    options = []
    for domain in sorted({_domain(job, offer) for offer in usable}):
        option = _complete(job, domain, [o for o in usable if _domain(job, o) == domain], snapshot, fleet, stock, now)
        if isinstance(option, Refusal):
            refusals.append(option)
        else:
            options.append(option)
    best = min(options, key=lambda o: (o.recently_lost, o.usd_per_useful_hour, o.domain), default=None)
    return best, list(dict.fromkeys(refusals))


def cheapest(
    resources: Resources, snapshot: Snapshot, stock: Stock, now: float, passed_over: Collection[str] = ()
) -> Offer | None:
    """The best offer for one node of `resources`, not of the providers in `passed_over`; None when none can be had."""
    usable, _ = _usable_offers(resources, snapshot, now)
    there = (o for o in usable if o.provider not in passed_over and stock.left(o) and stock.room.refusal([o]) is None)
    return min(there, key=_by_usefulness(snapshot, now), default=None)


def _usable_offers(resources: Resources, snapshot: Snapshot, now: float) -> tuple[list[Offer], list[Refusal]]:
    usable, refusals = [], []
    for offer in snapshot.offers:
        refusal = offer_refusal(resources, offer, offer.key)
        hold = snapshot.held.get(offer.key)
        if refusal is None and hold is not None and hold.until > now:
            refusal = Refusal(Code.HELD, offer.key, hold.reason, "wait: it is tried again then", hold.until)
        if refusal is None:
            usable.append(offer)
        else:
            refusals.append(refusal)
    return usable, refusals


def _complete(
    job: Job, domain: tuple[str, ...], offers: list[Offer], snapshot: Snapshot, fleet: Fleet, stock: Stock, now: float
) -> Purchase | Refusal:
    resources = job.spec.resources
    keep = list(_already_there(job, domain, fleet))[: resources.nodes_min]
    missing = resources.nodes_min - len(keep)
    buy = _pick(offers, missing, stock, _by_usefulness(snapshot, now))
    if stock.room.refusal(buy) is not None:
        # What is trusted more may cost more, and within a maximum the least price is better than nothing.
        buy = _pick(offers, missing, stock, lambda offer: (offer.price_usd_per_hour, offer.key))
    if len(buy) < missing:
        place = "/".join(domain[1:]) or "anywhere"
        message = f"{len(keep)} nodes there and {len(buy)} to be had, {resources.nodes_min} needed together"
        read_again_at = max((o.seen_at for o in offers), default=now) + snapshot.policy.offers_every_s
        help_ = "fewer nodes, fabric: any, or wait for capacity"
        return Refusal(Code.NO_CAPACITY, place, message, help_, max(now, read_again_at))
    over = stock.room.refusal(buy)
    if over is not None:
        return over
    is_lossy = any(_lost_lately(offer, snapshot, now) for offer in buy)
    return Purchase(domain, tuple(keep), tuple(buy), is_lossy, sum(_useful_price(offer, snapshot) for offer in buy))


def _pick(offers: list[Offer], count: int, stock: Stock, order: Callable[[Offer], Any]) -> list[Offer]:
    """Up to `count` instances, the first in this order first, as far as each offer's capacity goes."""
    picked: list[Offer] = []
    for offer in sorted(offers, key=order):
        picked += [offer] * min(count - len(picked), stock.left(offer))
    return picked


def _by_usefulness(snapshot: Snapshot, now: float) -> Callable[[Offer], Any]:
    return lambda offer: (_lost_lately(offer, snapshot, now), _useful_price(offer, snapshot), offer.key)


def _useful_price(offer: Offer, snapshot: Snapshot) -> float:
    return offer.price_usd_per_hour / snapshot.trust_in(offer)


def _lost_lately(offer: Offer, snapshot: Snapshot, now: float) -> bool:
    at = snapshot.losses.get(offer.provider)
    return at is not None and now - at < snapshot.policy.loss_memory_s


def _already_there(job: Job, domain: tuple[str, ...], fleet: Fleet) -> Iterator[FreeNode]:
    """Nodes that the gang can count on: free now, or on their way and not for another job. Its own come first."""
    for free in sorted(fleet.by_id.values(), key=lambda f: (f.reserved_for != job.id, f.node.id)):
        if _domain(job, free.node.offer, free.node.id) != domain:
            continue
        coming = free.node.state in COMING and free.reserved_for in {None, job.id} and not free.node.gone
        if coming or node_refusal(job, free) is None:
            yield free


def _domain(job: Job, offer: Offer, node_id: str = "") -> tuple[str, ...]:
    """What a gang of this job must not straddle, as (GPU model, provider, region, fabric domain) or just the model."""
    model = offer.gpu_model or "" if job.spec.resources.gpus.count else ""
    if job.spec.resources.nodes_min == 1 or job.spec.resources.fabric is Fabric.ANY:
        return (model,)
    return (model, offer.provider, offer.region, offer.fabric_domain or node_id or f"no fabric: {offer.key}")
