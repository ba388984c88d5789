"""What the gateway knows of one replica: what it has, what it may have, how it did."""

from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

from godwit.gateway.regulator.earned import EarnedLimit

FAILURES_IN_A_ROW = 5
"""After so many it is left out for a while; as in Envoy's outlier detection (consecutive_5xx)."""

EJECT_FIRST_S = 0.5
EJECT_MAX_S = 10.0
"""Doubling from the first to the last. Envoy leaves a host out for 30 s and more; a replica on a GPU is a third of a
service, and one request at a time is what asking again costs."""

EJECT_ALONE_S = 1.0
"""The longest where there is no other replica: nobody is spared by waiting, and one request a second finds out."""

_EWMA = 0.1


class Outcome(StrEnum):
    """How a request that was sent to a replica ended."""

    ANSWERED = "answered"
    FAILED = "failed"  # an answer of 5xx, a broken one, none in time
    UNREACHABLE = "unreachable"  # nothing was sent: the connection was refused, or took too long
    REFUSED = "refused"  # the replica says itself that it has enough (429, 503)
    ABANDONED = "abandoned"  # the client left: says nothing of the replica


@dataclass
class Replica:
    """One replica as this gateway sees it.

    `proving`: it came back after failures and gets one request at a time until it has answered one.
    """

    id: str
    version: str
    earned: EarnedLimit
    url: str = ""
    draining: bool = False
    in_flight: int = 0
    latency_s: float | None = None
    failures: int = 0
    ejections: int = 0
    out_until: float = float("-inf")
    proving: bool = False
    answered: int = 0
    failed: int = 0
    why_out: str = field(default="", compare=False)

    def usable(self, now: float) -> bool:
        """Whether it takes new requests at all."""
        return not self.draining and now >= self.out_until

    @property
    def limit(self) -> int:
        """How many requests it may have at once."""
        return 1 if self.proving else int(self.earned.limit)

    def has_room(self, now: float) -> bool:
        """Whether it may have one more now."""
        return self.in_flight < self.limit and self.usable(now)

    def headed(self, latency_s: float, now: float) -> None:
        """The head of an answer came after `latency_s`; the rest may take long."""
        self._succeeded(latency_s, self.in_flight, now)

    def ended(self, outcome: Outcome, latency_s: float | None, now: float, rng: Random, *, others: bool = True) -> None:
        """A request that it had is over; `latency_s` is until the head of the answer, None where `headed` was told.

        `others`: there are replicas without it. The last one is never left out for bad answers.
        """
        # What ends may have been given to the process that was here before.
        in_flight, self.in_flight = self.in_flight, max(0, self.in_flight - 1)
        if outcome is Outcome.ANSWERED:
            if latency_s is not None:
                self._succeeded(latency_s, in_flight, now)
        elif outcome is Outcome.REFUSED:
            self.earned.cut(now)
        elif outcome is Outcome.ABANDONED:
            if latency_s is not None:
                self.earned.gave_up(latency_s, now)
        else:
            self._failed(outcome, now, rng, others)

    def _succeeded(self, latency_s: float, in_flight: int, now: float) -> None:
        self.answered += 1
        self.failures = 0
        if self.proving:
            self.proving, self.ejections = False, 0
        known = self.latency_s
        self.latency_s = latency_s if known is None else known + (latency_s - known) * _EWMA
        self.earned.answered(latency_s, in_flight, now)

    def _failed(self, outcome: Outcome, now: float, rng: Random, others: bool) -> None:
        self.failed += 1
        self.failures += 1
        self.earned.cut(now)
        # Whoever refuses connections is gone: the next request need not find that out again.
        if outcome is Outcome.UNREACHABLE or (others and (self.proving or self.failures >= FAILURES_IN_A_ROW)):
            self._eject(outcome, now, rng, EJECT_MAX_S if others else EJECT_ALONE_S)

    def _eject(self, outcome: Outcome, now: float, rng: Random, most_s: float) -> None:
        if now < self.out_until:
            return  # the others that it had when it broke say the same
        out_s = min(most_s, EJECT_FIRST_S * 2.0 ** min(self.ejections, 10))
        self.out_until = now + out_s * (0.75 + 0.5 * rng.random())
        self.why_out = f"{outcome}, {self.failures} in a row"
        self.ejections += 1
        self.failures = 0
        self.proving = True
        # What it had earned, it had earned warm; one request at a time is all that it has shown since.
        self.earned = type(self.earned)(1.0, self.earned.most)
        self.latency_s = None
