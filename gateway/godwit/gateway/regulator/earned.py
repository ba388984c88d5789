"""The concurrency that a replica has earned: grows while its latency holds, falls when it does not.

Additive increase, multiplicative decrease (Chiu & Jain, "Analysis of the increase and decrease algorithms for
congestion avoidance", 1989), with TCP's slow start before the first cut (Jacobson, "Congestion avoidance and control",
1988). Congestion is what latency says: that of late beyond a multiple of the unloaded one, as in TCP Vegas (Brakmo &
Peterson, 1995) and in Netflix's concurrency limits. Of several gateways that share a replica and know nothing of each
other, each comes to a fair part: that is what Chiu & Jain prove of this law, and of no gradient.
"""

from dataclasses import dataclass, field

TOLERANCE = 2.0
"""Latency of late over the unloaded one that counts as congestion: a request then waits as long as it is worked on."""

SLACK_S = 0.025
"""Not congestion, whatever the ratio: what a gateway that is busy itself adds to a very quick answer."""

CUT = 0.7
"""What is left of the limit after a sign of congestion; between TCP's 0.5 and Netflix's 0.9."""

USED = 0.5
"""The part of the limit that must be in use for an answer to prove anything about more."""

SAMPLES_MIN = 4
DRIFT = 0.002
"""Of the way from the unloaded latency up to that of late, for each answer in quiet times: work that has grown heavier
is no congestion. A replica that is as busy as it may be proves nothing: its latency is what the limit made it."""

FLOOR_DRIFT = 0.1
"""The same at the floor, where no less can be sent: what is measured there is the replica's own latency."""


@dataclass
class EarnedLimit:
    """How many requests one replica is given at once. Times in seconds.

    `first` is where it starts, `most` where it ends; it never falls below one.
    """

    first: float
    most: float
    limit: float = field(init=False)
    slow_start: bool = field(init=False, default=True)
    unloaded_s: float | None = field(init=False, default=None)
    lately_s: float | None = field(init=False, default=None)
    cut_at: float = field(init=False, default=float("-inf"))

    def __post_init__(self) -> None:
        self.limit = min(self.first, self.most)

    def answered(self, latency_s: float, in_flight: int, now: float) -> None:
        """A request was answered after `latency_s`, when `in_flight` were there, itself included."""
        self._measure(latency_s, in_flight < self.limit * USED)
        if self.congested:
            self.cut(now)
        elif in_flight >= self.limit * USED:
            self.limit = min(self.most, self.limit + (1.0 if self.slow_start else 1.0 / self.limit))

    @property
    def congested(self) -> bool:
        """Whether answers take so long of late that requests wait inside of the replica."""
        if self.lately_s is None or self.unloaded_s is None:
            return False
        return self.lately_s > self.unloaded_s * TOLERANCE + SLACK_S

    def cut(self, now: float) -> None:
        """Take some of it back, once per latency: answers on their way tell of the same congestion again."""
        if now - self.cut_at < (self.lately_s or 0.0):
            return
        self.slow_start = False
        self.cut_at = now
        self.limit = max(1.0, self.limit * CUT)

    def gave_up(self, waited_s: float, now: float) -> None:
        """A client left after `waited_s` without an answer: no latency, but a sign where that is long for this one."""
        if self.unloaded_s is not None and waited_s > self.unloaded_s * TOLERANCE + SLACK_S:
            self.cut(now)

    def _measure(self, latency_s: float, quiet: bool) -> None:
        if self.lately_s is None or self.unloaded_s is None:
            self.lately_s = self.unloaded_s = latency_s
            return
        # Over about as many answers as are in flight: one round of them.
        self.lately_s += (latency_s - self.lately_s) * 2.0 / (max(SAMPLES_MIN, self.limit) + 1.0)
        if self.lately_s < self.unloaded_s:
            self.unloaded_s = self.lately_s
        elif self.limit <= 1.0:
            self.unloaded_s += (self.lately_s - self.unloaded_s) * FLOOR_DRIFT
        elif quiet:
            self.unloaded_s += (self.lately_s - self.unloaded_s) * DRIFT
