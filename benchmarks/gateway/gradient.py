"""The other law that was tried: Netflix's Gradient2 (concurrency-limits, Gradient2Limit.java), for comparison only."""

import math
from dataclasses import dataclass

from godwit.gateway.regulator.earned import EarnedLimit

SMOOTHING = 0.2
LONG_WINDOW = 600
TOLERANCE = 1.5


@dataclass
class GradientLimit(EarnedLimit):
    """The limit follows the ratio of long-term to short-term latency, and leaves room for a queue of its root."""

    short_s: float | None = None
    long_s: float | None = None

    def answered(self, latency_s: float, in_flight: int, now: float) -> None:  # noqa: ARG002 - the law it stands in for takes it
        """As Gradient2 has it: no change while less than half of the limit is in use."""
        if self.short_s is None or self.long_s is None:
            self.short_s = self.long_s = latency_s
            return
        self.short_s += (latency_s - self.short_s) * SMOOTHING
        self.long_s += (latency_s - self.long_s) * 2.0 / (LONG_WINDOW + 1.0)
        if self.long_s > 2.0 * self.short_s:
            self.long_s *= 0.95
        if in_flight < self.limit / 2.0:
            return
        gradient = max(0.5, min(1.0, TOLERANCE * self.long_s / self.short_s))
        wanted = self.limit * gradient + math.sqrt(self.limit)
        self.limit = max(1.0, min(self.most, self.limit * (1.0 - SMOOTHING) + wanted * SMOOTHING))
