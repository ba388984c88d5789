"""A budget of retries, so that a failing service is not killed by those who try again."""

from dataclasses import dataclass

SHARE = 0.2
PER_S_MIN = 5.0
TTL_S = 10.0
"""Finagle's RetryBudget has a fifth of the requests of the last 10 s, and 10 a second for quiet times; a replica on a
GPU answers fewer requests than a web server, so half of that here."""


@dataclass
class RetryBudget:
    """How many retries are left; old deposits fade with a time constant of `TTL_S`."""

    now: float
    balance: float = PER_S_MIN

    def deposit(self, now: float) -> None:
        """A request came."""
        self._fade(now)
        self.balance += SHARE

    def withdraw(self, now: float) -> bool:
        """Whether one may be sent again; counts it as sent."""
        self._fade(now)
        if self.balance < 1.0:
            return False
        self.balance -= 1.0
        return True

    def _fade(self, now: float) -> None:
        passed_s = max(0.0, now - self.now)
        self.now = max(now, self.now)
        kept = max(0.0, 1.0 - passed_s / TTL_S)
        # Quiet times earn up to what one second of them allows; more than that fades.
        self.balance = max(min(PER_S_MIN, self.balance + PER_S_MIN * passed_s), self.balance * kept)
