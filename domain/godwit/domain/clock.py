"""Time as an argument: nothing in godwit reads the wall clock except through one of these."""

import time
from typing import Protocol


class Clock(Protocol):
    """Says what time it is. All instants in godwit are seconds since 1970-01-01T00:00Z, as floats."""

    def now(self) -> float:
        """The current instant in seconds since the epoch, UTC."""
        ...


class SystemClock:
    """The machine's wall clock."""

    def now(self) -> float:
        """The current instant in seconds since the epoch, UTC."""
        return time.time()


class ManualClock:
    """A clock that moves only when told to; simulation and tests run on it."""

    def __init__(self, now: float = 1_790_000_000.0) -> None:
        self._now = now

    def now(self) -> float:
        """The instant it was last set to."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move forward by `seconds`."""
        self._now += seconds
