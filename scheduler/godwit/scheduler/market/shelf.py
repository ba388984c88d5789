"""The offers that would do for one ask, the best first, and why others would not."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from math import isfinite

from godwit.domain.jobs import Fabric, Resources
from godwit.domain.offers import Offer
from godwit.scheduler.asks import Ask, NodeKind
from godwit.scheduler.market import expected
from godwit.scheduler.market.expected import Expected, Work
from godwit.scheduler.market.stock import Stock
from godwit.scheduler.placement import offer_refusal
from godwit.scheduler.reasons import Code, Refusal
from godwit.scheduler.snapshot import Snapshot
from godwit.scheduler.trust import UNKNOWN

Place = tuple[str, ...]
"""What a gang must not straddle, as (GPU model, provider, region, fabric domain) or just the model."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """Offers that would do for some work, by their place, the best first; and why others would not."""

    by_place: dict[Place, list[Expected]]
    refusals: tuple[Refusal, ...]


def shelf(resources: Resources, work: Work, snapshot: Snapshot, now: float) -> Shelf:
    """Every offer weighed for this work. Those of a provider that lost a node lately come last."""
    refusals: list[Refusal] = []
    usable: list[Expected] = []
    for offer in snapshot.offers:
        refusal = offer_refusal(resources, offer, offer.key) or _price_refusal(offer) or _hold(offer, snapshot, now)
        if refusal is None:
            usable.append(expected.of(offer, snapshot.records.get(offer.key, UNKNOWN), work))
        else:
            refusals.append(refusal)
    by_place: dict[Place, list[Expected]] = {}
    for one in sorted(usable, key=lambda one: _order(one, snapshot, now)):
        by_place.setdefault(place(resources, one.offer), []).append(one)
    return Shelf(by_place, tuple(refusals))


def cheapest(
    resources: Resources, snapshot: Snapshot, stock: Stock, now: float, passed_over: Collection[str] = ()
) -> Offer | None:
    """The best offer for one node of `resources`, not of the providers in `passed_over`; None when none can be had."""
    there = _to_be_had(resources, snapshot, stock, now, passed_over)
    weighed = (expected.of(offer, snapshot.records.get(offer.key, UNKNOWN), Work()) for offer in there)
    best = min(weighed, key=lambda one: _order(one, snapshot, now), default=None)
    return None if best is None else best.offer


def lost_lately(offer: Offer, snapshot: Snapshot, now: float) -> bool:
    """Whether its provider lost a node within `loss_memory_s`."""
    at = snapshot.losses.get(offer.provider)
    return at is not None and now - at < snapshot.policy.loss_memory_s


def place(resources: Resources, offer: Offer, node_id: str = "") -> Place:
    """Where a node of this offer is, as far as it matters to a gang that asks for `resources`."""
    model = offer.gpu_model or "" if resources.gpus.count else ""
    if resources.nodes_min == 1 or resources.fabric is Fabric.ANY:
        return (model,)
    return (model, offer.provider, offer.region, offer.fabric_domain or f"node {node_id}")


def _to_be_had(
    resources: Resources, snapshot: Snapshot, stock: Stock, now: float, passed_over: Collection[str]
) -> Iterator[Offer]:
    ask = Ask.of(resources)
    for offer in snapshot.offers:
        if offer.provider in passed_over or not ask.suits(NodeKind.of(offer)) or _price_refusal(offer) is not None:
            continue
        if _hold(offer, snapshot, now) is None and stock.left(offer) and stock.room.refusal([offer]) is None:
            yield offer


def _order(one: Expected, snapshot: Snapshot, now: float) -> tuple[bool, int, str]:
    return (lost_lately(one.offer, snapshot, now), one.usd_micros, one.offer.key)


def _hold(offer: Offer, snapshot: Snapshot, now: float) -> Refusal | None:
    hold = snapshot.held.get(offer.key)
    if hold is None or hold.until <= now:
        return None
    return Refusal(Code.HELD, offer.key, hold.reason, "wait: it is tried again then", hold.until)


def _price_refusal(offer: Offer) -> Refusal | None:
    if isfinite(offer.price_usd_per_hour) and offer.price_usd_per_hour >= 0:
        return None
    what = f"says that it costs {offer.price_usd_per_hour} an hour"
    return Refusal(Code.NO_PRICE, offer.key, what, "wait until its provider tells a price")
