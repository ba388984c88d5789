"""One way to complete a gang by buying: what is kept, what is bought, why, and what if it is refused."""

from dataclasses import dataclass

from godwit.domain.ids import NodeId
from godwit.domain.offers import Offer
from godwit.scheduler.market.expected import Expected
from godwit.scheduler.market.shelf import Place

REASON_MAX = 200
"""What a person reads in a line or two; the rest is `arithmetic`."""


@dataclass(frozen=True)
class Purchase:
    """How to complete one gang: nodes it already has or waits for, and what to buy; all in one `place`.

    `alternatives` are what is bought next, in this order, each when the ones before it are refused. It is not what is
    cheapest for this gang alone where that saves `saved_micros` an hour to it and those who come next together.
    """

    place: Place
    keep: tuple[NodeId, ...]
    bought: tuple[Expected, ...]
    recently_lost: bool
    alternatives: tuple[Expected, ...] = ()
    saved_micros: int = 0

    @property
    def buy(self) -> tuple[Offer, ...]:
        """An offer for each node to buy."""
        return tuple(one.offer for one in self.bought)

    @property
    def usd_micros(self) -> int:
        """Expected millionths of a dollar for an hour of work, for the bought part."""
        return sum(one.usd_micros for one in self.bought)

    @property
    def price_usd_per_hour(self) -> float:
        """What the bought part costs per hour."""
        return sum(offer.price_usd_per_hour for offer in self.buy)

    def because(self, offer: Offer) -> str:
        """Why this one of `buy`, for people: at most `REASON_MAX` characters, unless prices are absurd."""
        mine = self._of(offer)
        parts = [
            f"cheapest that completes the gang: {len(self.buy)} to buy at ${self.price_usd_per_hour:.2f}/h in all, "
            f"${mine.usd_micros / 1e6:.2f} per hour of work"
        ]
        if self.saved_micros:
            parts.append(f"room for others saves ${self.saved_micros / 1e6:.2f}/h")
        if self.recently_lost:
            parts.append("its provider lost a node lately, but nothing else will do")
        return "; ".join(parts)

    def arithmetic(self, offer: Offer) -> str:
        """What it is expected to cost and why, for whoever wants to check; and what would be bought instead."""
        words = [str(self._of(offer))]
        if self.alternatives:
            words.append("if it is refused, in this order: " + ", ".join(str(one) for one in self.alternatives))
        return "; ".join(words)

    def _of(self, offer: Offer) -> Expected:
        return next(one for one in self.bought if one.offer == offer)


def in_order(one: Purchase) -> tuple[bool, int, Place, list[str]]:
    """Which of several is best: the least."""
    return (one.recently_lost, one.usd_micros, one.place, [offer.key for offer in one.buy[:1]])
