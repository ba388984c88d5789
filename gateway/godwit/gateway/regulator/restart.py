"""The admission limit of a whole service that comes back from nothing.

Each replica earns its own limit. What lies behind them (a database, a store of weights, a cache that all share) has no
limit of its own here, and it is cold too: so the service as a whole starts as one replica does, and grows by half with
each round of answers, until it no longer holds anybody back.
"""

from dataclasses import dataclass, field

from godwit.gateway.regulator.replicas import Outcome

GROWTH = 0.5
"""For each answer: half as much again per round, below the doubling of each replica's slow start."""

CUT = 0.7


@dataclass
class Restart:
    """`limit` is None while the service is not restarting. `first`: where it starts, in requests at once."""

    first: float
    limit: float | None = field(init=False, default=None)
    down: bool = field(init=False, default=True)
    since: float | None = field(init=False, default=None)

    def saw(self, usable: int, limits: int, now: float) -> None:
        """There are so many usable replicas, with so much room together."""
        if not usable:
            self.down, self.limit = True, None
        elif self.down:
            self.down, self.limit, self.since = False, self.first, now
        elif self.limit is not None and self.limit >= limits:
            self.limit = None

    def ended(self, outcome: Outcome) -> None:
        """A request is over."""
        if self.limit is None or outcome is Outcome.ABANDONED:
            return
        grown = self.limit + GROWTH if outcome is Outcome.ANSWERED else self.limit * CUT
        self.limit = max(self.first, grown)

    def bound(self, limits: int) -> int:
        """The room that there is, of what replicas have."""
        return limits if self.limit is None else min(limits, int(self.limit))
