"""For what seconds of a machine its provider takes money: whole units of billing, and no less than the least."""

import math
from dataclasses import dataclass

from godwit.domain.ids import NodeId, ProviderName

ROUNDING_S = 1e-6
"""What instants may be off by as floating-point numbers since 1970: no machine pays for a unit begun that long ago."""


@dataclass(frozen=True)
class Bill:
    """A machine that is or was paid for, from `began_at` until `ended_at`, None while it goes on; times in seconds.

    `id` is the provider's name for the machine. `node_id` is whose machine it is; None for one that no living node has
    (an orphan). `step_s` is what a started unit of billing lasts, `least_s` the shortest time that is billed.
    """

    id: str
    provider: ProviderName
    node_id: NodeId | None
    gpu_count: int
    price_usd_per_hour: float
    spot: bool
    began_at: float
    ended_at: float | None = None
    step_s: float = 1.0
    least_s: float = 0.0

    @property
    def paid_until(self) -> float:
        """Until when it is paid for: the end of its last begun unit; infinite while it goes on."""
        if self.ended_at is None:
            return math.inf
        lasted_s = max(0.0, self.ended_at - self.began_at - ROUNDING_S, self.least_s)
        if self.step_s <= 0:
            return self.began_at + lasted_s
        return self.began_at + math.ceil(lasted_s / self.step_s - ROUNDING_S) * self.step_s

    def usd(self, since: float, until: float) -> float:
        """What its seconds between two instants cost in dollars."""
        paid_s = min(until, self.paid_until) - max(since, self.began_at)
        return max(0.0, paid_s) * self.price_usd_per_hour / 3600
