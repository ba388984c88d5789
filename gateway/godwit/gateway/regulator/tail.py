"""The latency that most answers do not exceed, followed one answer at a time.

A request that takes longer than that of nearly all others may be sent to a second replica: few more requests, and a
tail that is much shorter (Dean & Barroso, "The tail at scale", CACM 2013). The level moves up by `STEP` x `PART` of
itself for an answer above it and down by `STEP` x (1 - `PART`) for one below, so that it rests where `PART` of them are
below (as in Ma, Muthukrishnan & Sandler, "Frugal streaming", 2013). It need only hear whether an answer took longer,
which is known of one that was cancelled too: what hedging cuts off does not make the level fall.
"""

from dataclasses import dataclass

PART = 0.95
"""Dean & Barroso's: the load grows by a twentieth at most."""

STEP = 0.1
"""A level that is half of what it should be is there after 8 answers, one that is twice as high after 140."""

SAMPLES_MIN = 20
"""Before so many answers nothing is known of the slowest twentieth."""

FLOOR_S = 0.025
"""What a gateway that is busy itself adds to a very quick answer is no reason to ask twice."""


@dataclass
class Tail:
    """Of one service. `level_s` is in seconds, None before the first answer."""

    level_s: float | None = None
    seen: int = 0

    def saw(self, latency_s: float) -> None:
        """An answer came after so long, or did not come while somebody waited for so long."""
        self.seen += 1
        if self.level_s is None or self.seen <= SAMPLES_MIN:
            self.level_s = max(self.level_s or 0.0, latency_s)
        else:
            self.level_s *= 1.0 + STEP * PART if latency_s > self.level_s else 1.0 - STEP * (1.0 - PART)

    def gave_up(self, waited_s: float) -> None:
        """Nobody waits any more for an answer; that says something once it is late."""
        if self.level_s is not None and self.seen >= SAMPLES_MIN and waited_s > self.level_s:
            self.saw(waited_s)

    @property
    def late_s(self) -> float | None:
        """After so long a request is late; None while too little is known."""
        return max(FLOOR_S, self.level_s) if self.level_s is not None and self.seen >= SAMPLES_MIN else None
