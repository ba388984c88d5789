"""Time as an argument: nothing in godwit reads the wall clock except through one of these."""

import threading
import time
from collections.abc import Callable
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


SLEW = 0.1
"""How much faster or slower than time a steady clock may go. Work of a silent node is given away a fifth of its lease
after the lease (`scheduler.snapshot.Policy`), and a clock that is a tenth too fast takes half of that."""


def since_boot_s() -> float:
    """Seconds since this machine booted, also those in which it slept; nobody sets this clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class SteadyClock:
    """Follows the wall clock, but does not jump with it: what it is off by it makes up for at the rate `SLEW`.

    A wall clock that is set forward would end every lease at once, while the programs under them go on; one that is
    set back would put off for as long whatever is due. `steady` counts seconds from any instant. Safe for threads.
    """

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = since_boot_s) -> None:
        self._wall, self._steady = wall, steady
        self._lock = threading.Lock()
        self._now, self._at = wall(), steady()

    def now(self) -> float:
        """The current instant in seconds since the epoch, UTC; never less than what it was before."""
        with self._lock:
            at = self._steady()
            passed_s = at - self._at
            off_s = self._wall() - (self._now + passed_s)
            self._now += passed_s + min(max(off_s, -SLEW * passed_s), SLEW * passed_s)
            self._at = at
            return self._now


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
