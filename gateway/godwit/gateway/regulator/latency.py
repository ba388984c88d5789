"""What a replica's latency is of late, what it is when nothing waits inside, and how much of that is chance.

Requests differ: the mean of a few answers is far from the mean of all, and the quick ones come back first. So the first
latency is measured over several of them before anything is concluded, and each conclusion leaves room for chance: twice
the standard error of the mean. Its standard deviation is taken from the steps between one answer and the next (von
Neumann, "Distribution of the ratio of the mean square successive difference to the variance", 1941), which a latency
that rises from round to round does not inflate.
"""

import math
from dataclasses import dataclass, field

FIRST_SAMPLES = 4
FIRST_LATENCIES = 3.0
"""The first latency is known after so many answers, and after so many of it: until then mostly quick ones came back."""

ERRORS = 2.0
"""Standard errors that chance is given, either way."""

STEP_OF_DEVIATION = 1.128
"""The mean step between two independent values, over their standard deviation (2 / sqrt(pi), of normal ones)."""

STEP_WEIGHT = 0.05
SAMPLES_MIN = 4
DRIFT = 0.002
"""Of the way from the unloaded latency up to that of late, for each answer in quiet times: work that has grown heavier
is no congestion. A replica that is as busy as it may be proves nothing: its latency is what the limit made it."""

FLOOR_DRIFT = 0.1
"""The same at the floor, where no less can be sent: what is measured there is the replica's own latency."""


@dataclass
class Latency:
    """Of one replica, in seconds. `lately_s` and `unloaded_s` are None before the first answer."""

    lately_s: float | None = field(init=False, default=None)
    unloaded_s: float | None = field(init=False, default=None)
    is_known: bool = field(init=False, default=False)
    _step_s: float = field(init=False, default=0.0)
    _last_s: float = field(init=False, default=0.0)
    _count: int = field(init=False, default=0)
    _since: float = field(init=False, default=0.0)

    def saw(self, latency_s: float, limit: float, now: float, *, is_quiet: bool) -> None:
        """An answer came; `limit` is about how many are in flight in one round."""
        self._count += 1
        if self.lately_s is None or self.unloaded_s is None:
            self._since = now - latency_s
            self.lately_s = self.unloaded_s = self._last_s = latency_s
            self._step_s = latency_s / 2.0  # as RFC 6298 has it of a first measurement
            return
        step_s, self._last_s = abs(latency_s - self._last_s), latency_s
        if not self.is_known:
            self._step_s += (step_s - self._step_s) / self._count
            self.lately_s += (latency_s - self.lately_s) / self._count
            self.unloaded_s = self.lately_s + self.chance_s(self._count)
            self.is_known = self._count >= FIRST_SAMPLES and now - self._since >= FIRST_LATENCIES * self.lately_s
            return
        self._step_s += (step_s - self._step_s) * STEP_WEIGHT
        # Over about as many answers as are in flight: one round of them.
        round_of = max(SAMPLES_MIN, limit)
        self.lately_s += (latency_s - self.lately_s) * 2.0 / (round_of + 1.0)
        surely_below = self.lately_s + self.chance_s(round_of)
        if surely_below < self.unloaded_s:
            self.unloaded_s = surely_below
        elif limit <= 1.0:
            self.unloaded_s += (self.lately_s - self.unloaded_s) * FLOOR_DRIFT
        elif is_quiet:
            self.unloaded_s += (self.lately_s - self.unloaded_s) * DRIFT

    def chance_s(self, count: float) -> float:
        """By how much the mean of so many answers may be off, either way."""
        return ERRORS * self._step_s / STEP_OF_DEVIATION / math.sqrt(count)

    def surely_s(self, limit: float) -> float:
        """What the latency of late is at least, whatever chance did; 0 while too little is known."""
        if self.lately_s is None or not self.is_known:
            return 0.0
        return self.lately_s - self.chance_s(max(SAMPLES_MIN, limit))
