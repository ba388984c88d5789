"""What the agents of a provider's machines said that they cannot do, for as long as it is believed of other machines.

A node's agent says it once, at its join. It is written on the node, and kept among the holds: machines of one provider
come from one image, so for a day nobody buys more of them for work that they would not do. The names of these holds
begin with what they are about.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from godwit.control_plane.store import schema, writes
from godwit.control_plane.store.database import Transaction
from godwit.domain.ids import OfferKey
from godwit.domain.offers import Offer
from godwit.scheduler.snapshot import Hold
from sqlalchemy import delete

BELIEVED_S = 24 * 3600.0
"""A day: the image of a provider's machines changes, and one of them is worth a try then."""

SAVES, GPU_SAVES = "saves:", "gpu-saves:"


def learn(tx: Transaction, offer: Offer, no_saves: str, no_gpu_saves: str, now: float) -> Offer:
    """Keep what an agent said; returns the offer as its node has it."""
    _keep(tx, f"{SAVES}{offer.provider}", no_saves, now)
    if offer.gpu_count:  # of a machine without GPUs nothing is learned about those with
        _keep(tx, f"{GPU_SAVES}{offer.provider}", no_gpu_saves, now)
    return replace(offer, no_process_saves=no_saves, no_gpu_process_saves=no_gpu_saves)


def known(offers: Iterable[Offer], holds: Sequence[Hold]) -> list[Offer]:
    """Offers with what is believed of their machines."""
    said = {hold.offer_key: hold.reason for hold in holds if hold.offer_key.startswith((SAVES, GPU_SAVES))}
    return [_with(offer, said) for offer in offers] if said else list(offers)


def _keep(tx: Transaction, name: str, said: str, now: float) -> None:
    if said:
        writes.hold(tx, Hold(OfferKey(name), now + BELIEVED_S, said))
    else:
        tx.conn.execute(delete(schema.holds).where(schema.holds.c.offer_key == name))


def _with(offer: Offer, said: dict[OfferKey, str]) -> Offer:
    no_saves, no_gpu_saves = (said.get(OfferKey(f"{about}{offer.provider}"), "") for about in (SAVES, GPU_SAVES))
    if not no_saves and not no_gpu_saves:
        return offer
    return replace(offer, no_process_saves=no_saves, no_gpu_process_saves=no_gpu_saves)
