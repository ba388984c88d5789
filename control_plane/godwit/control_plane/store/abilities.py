"""What the agents of an offer's machines said that they cannot do, for as long as it is believed of other machines.

A node's agent says it once, at its join. It is written on the node, and kept among the holds: for a day nobody buys
more of this offer for work that it would not do. The names of these holds begin with what they are about.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from godwit.control_plane.store import writes
from godwit.control_plane.store.database import Transaction
from godwit.domain.ids import OfferKey
from godwit.domain.offers import Offer
from godwit.scheduler.snapshot import Hold

BELIEVED_S = 24 * 3600.0
"""A day: the image of a provider's machines changes, and one of them is worth a try then."""

SAVES, GPU_SAVES = "saves:", "gpu-saves:"


def learn(tx: Transaction, offer: Offer, no_saves: str, no_gpu_saves: str, now: float) -> Offer:
    """Keep what an agent said; returns the offer as its node has it."""
    for about, said in ((SAVES, no_saves), (GPU_SAVES, no_gpu_saves)):
        if said:
            writes.hold(tx, Hold(OfferKey(f"{about}{offer.key}"), now + BELIEVED_S, said))
    return replace(offer, no_process_saves=no_saves, no_gpu_process_saves=no_gpu_saves)


def known(offers: Iterable[Offer], holds: Sequence[Hold]) -> list[Offer]:
    """Offers with what is believed of their machines."""
    said = {hold.offer_key: hold.reason for hold in holds if hold.offer_key.startswith((SAVES, GPU_SAVES))}
    return [_with(offer, said) for offer in offers] if said else list(offers)


def _with(offer: Offer, said: dict[OfferKey, str]) -> Offer:
    no_saves, no_gpu_saves = (said.get(OfferKey(f"{about}{offer.key}"), "") for about in (SAVES, GPU_SAVES))
    if not no_saves and not no_gpu_saves:
        return offer
    return replace(offer, no_process_saves=no_saves, no_gpu_process_saves=no_gpu_saves)
