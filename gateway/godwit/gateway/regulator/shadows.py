"""Versions that get copies of requests, whose answers nobody is shown: they have limits of their own to earn.

A copy is the first thing that is dropped: when somebody waits, while the service restarts, when no replica of the
version has room, or when `COPIES_MAX` are under way. None of it counts for clients, capacity or scaling.
"""

from dataclasses import dataclass, field
from random import Random

from godwit.gateway.regulator import balance
from godwit.gateway.regulator.replicas import Outcome, Replica

COPIES_MAX = 100
"""Of one service at once. Each holds on to a body of at most 1 MiB."""


@dataclass
class Shadows:
    """Of one service. `parts` says which part of the requests (0 to 1) each version gets copies of."""

    parts: dict[str, float] = field(default_factory=dict)
    replicas: dict[str, Replica] = field(default_factory=dict)
    dropped: int = 0

    def grant(self, now: float, rng: Random, *, is_quiet: bool) -> list[str]:
        """The replicas that get a copy of the request which was just granted one; `ended` must be told of each."""
        granted = []
        for version, part in self.parts.items():
            if rng.random() >= part:
                continue
            replica = balance.choose(list(self.replicas.values()), {version: 1.0}, now, rng)
            if replica is None or not is_quiet or self.in_flight >= COPIES_MAX:
                self.dropped += 1
                continue
            replica.in_flight += 1
            granted.append(replica.id)
        return granted

    def ended(self, replica: Replica, outcome: Outcome, latency_s: float | None, now: float, rng: Random) -> None:
        """A copy is over."""
        others = any(one.usable(now) for one in self.replicas.values() if one is not replica)
        replica.ended(outcome, latency_s, now, rng, others=others)

    @property
    def in_flight(self) -> int:
        """How many copies are under way."""
        return sum(replica.in_flight for replica in self.replicas.values())
