"""How large the fleet may get and what it may cost, what it never gives back, and what it keeps ready."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from godwit.domain.jobs import Resources
from godwit.domain.nodes import Node
from godwit.domain.offers import Offer
from godwit.scheduler.reasons import Code, Refusal

CENT = 0.005
"""Half a cent: prices are added as floats, and a sum that is equal to the maximum on paper must not exceed it."""


@dataclass(frozen=True)
class Warm:
    """`count` idle nodes that `ask` fits are kept ready. Each node counts alone: how many `ask` wants does not.

    `kept_by` is the setting that says so.
    """

    ask: Resources = field(default_factory=Resources)
    count: int = 1
    kept_by: str = "fleet.warm"


@dataclass(frozen=True)
class Bounds:
    """What an operator sets for the whole fleet; the defaults set nothing.

    `max_nodes` and `max_usd_per_hour` bind what is bought, and end nothing that is there already. `min_nodes` nodes are
    not given back; only `warm` nodes are bought without a job.
    """

    min_nodes: int = 0
    max_nodes: int | None = None
    max_usd_per_hour: float | None = None
    warm: tuple[Warm, ...] = ()


class Room:
    """What the maximum still lets one plan buy; mutable while it is made.

    Every node counts that has not ended, also one that boots, is lost or is being given back: it is paid for until its
    provider says that it is gone.
    """

    def __init__(self, bounds: Bounds | None = None, nodes: Iterable[Node] = ()) -> None:
        self._bounds = bounds or Bounds()
        self._count, self._usd_per_hour = 0, 0.0
        self.take([node.offer for node in nodes])

    def take(self, offers: Iterable[Offer]) -> None:
        """Book what is bought."""
        for offer in offers:
            self._count += 1
            self._usd_per_hour += offer.price_usd_per_hour

    def refusal(self, buy: Sequence[Offer]) -> Refusal | None:
        """Say which maximum does not let these be bought together, or None when there is room."""
        return None if not buy else self._too_many(len(buy)) or self._too_dear(sum(o.price_usd_per_hour for o in buy))

    def _too_many(self, more: int) -> Refusal | None:
        most = self._bounds.max_nodes
        if most is None or self._count + more <= most:
            return None
        message = (
            f"is {most}: the fleet has {_nodes(self._count)}, and {more} more {'is' if more == 1 else 'are'} needed"
        )
        return Refusal(Code.FLEET_MAX, "fleet.max_nodes", message, self._lifts_max_nodes(more, most))

    def _lifts_max_nodes(self, more: int, most: int) -> str:
        """A maximum lifts by itself when nodes go back, unless too many of them never do or too much is asked."""
        stay = max(self._bounds.min_nodes, sum(warm.count for warm in self._bounds.warm))
        if more <= most < more + stay:
            lower = f"lower fleet.min_nodes and fleet.warm, which keep {_nodes(stay)}"
            return f"wait until nodes that fit are free, raise fleet.max_nodes, or {lower}"
        return _would_help("max_nodes", more <= most)

    def _too_dear(self, more_usd_per_hour: float) -> Refusal | None:
        most = self._bounds.max_usd_per_hour
        # What costs nothing is no matter of money, even where a lowered maximum is exceeded already.
        if most is None or more_usd_per_hour <= 0 or self._usd_per_hour + more_usd_per_hour <= most + CENT:
            return None
        have = f"is ${most:.2f}: the fleet costs ${self._usd_per_hour:.2f}/h"
        message = f"{have}, and ${more_usd_per_hour:.2f}/h more is needed"
        helps_to_wait = more_usd_per_hour <= most + CENT
        return Refusal(
            Code.FLEET_MAX, "fleet.max_usd_per_hour", message, _would_help("max_usd_per_hour", helps_to_wait)
        )


def _nodes(count: int) -> str:
    return f"{count} node{'' if count == 1 else 's'}"


def _would_help(name: str, helps_to_wait: bool) -> str:
    """A maximum lifts by itself when nodes go back, unless what is asked alone exceeds it."""
    return (
        f"wait until nodes go back, or raise fleet.{name}" if helps_to_wait else f"ask for less, or raise fleet.{name}"
    )
