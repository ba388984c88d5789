"""The concurrency that a replica has earned: grows while its latency holds, falls when it does not.

Additive increase, multiplicative decrease (Chiu & Jain, "Analysis of the increase and decrease algorithms for
congestion avoidance", 1989), with a slow start before the first cut that doubles every other round, as in TCP Vegas
(Brakmo & Peterson, 1995): what a larger limit does to latency is seen one latency later, and must be seen before the
next. Congestion is what latency says, as in Vegas and in Netflix's concurrency limits: that of late is beyond a
multiple of the unloaded one, by more than chance. Of several gateways that share a replica and know nothing of each
other, each comes to a fair part: that is what Chiu & Jain prove of this law, and of no gradient.
"""

from dataclasses import dataclass, field

from godwit.gateway.regulator.latency import Latency

TOLERANCE = 1.5
"""Latency of late over the unloaded one that counts as congestion: Netflix's Gradient2 has the same."""

SLACK_S = 0.025
"""Not congestion, whatever the ratio: what a gateway that is busy itself adds to a very quick answer."""

CUT = 0.7
"""What is left of the limit after a sign of congestion; between TCP's 0.5 and Netflix's 0.9."""

USED = 0.5
"""The part of the limit that must be in use for an answer to prove anything about more."""

SAME_S = 1e-6
"""Two instants that are so close are one: an answer starts the next round, and the next request comes with it."""


@dataclass
class EarnedLimit:
    """How many requests one replica is given at once. Times in seconds.

    `first` is where it starts, `most` where it ends; it never falls below one.
    """

    first: float
    most: float
    limit: float = field(init=False)
    slow_start: bool = field(init=False, default=True)
    latency: Latency = field(init=False, default_factory=Latency)
    cut_at: float = field(init=False, default=float("-inf"))
    _round_at: float = field(init=False, default=float("-inf"))
    _of_round: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.limit = min(self.first, self.most)

    @property
    def unloaded_s(self) -> float | None:
        """The latency when nothing waits inside of the replica; None before the first answer."""
        return self.latency.unloaded_s

    @property
    def lately_s(self) -> float | None:
        """The latency of late; None before the first answer."""
        return self.latency.lately_s

    def answered(self, latency_s: float, in_flight: int, now: float) -> None:
        """A request was answered after `latency_s`, when `in_flight` were there, itself included."""
        is_used = in_flight >= self.limit * USED
        self.latency.saw(latency_s, self.limit, now, is_quiet=not is_used)
        if not self.latency.is_known:
            return  # it has its first limit until it is known what more does
        if self.congested:
            self.cut(now)
        elif is_used:
            self._grow(now - latency_s, now)

    @property
    def congested(self) -> bool:
        """Whether answers take so long of late that requests wait inside of the replica."""
        return self._is_long(self.latency.surely_s(self.limit))

    def cut(self, now: float) -> None:
        """Take some of it back, once per latency: answers on their way tell of the same congestion again."""
        if now - self.cut_at < (self.lately_s or 0.0):
            return
        self.slow_start = False
        self.cut_at = now
        self.limit = max(1.0, self.limit * CUT)

    def gave_up(self, waited_s: float, now: float) -> None:
        """A client left after `waited_s` without an answer: no latency, but a sign where it is long for any."""
        if self._is_long(waited_s - self.latency.chance_s(1)):
            self.cut(now)

    def _is_long(self, latency_s: float) -> bool:
        return self.unloaded_s is not None and latency_s > self.unloaded_s * TOLERANCE + SLACK_S

    def _grow(self, sent_at: float, now: float) -> None:
        if not self.slow_start:
            self.limit = min(self.most, self.limit + 1.0 / self.limit)
            return
        self._of_round += sent_at >= self._round_at - SAME_S
        if self._of_round >= int(self.limit):
            self.limit = min(self.most, self.limit * 2.0)
            self._round_at, self._of_round = now, 0
