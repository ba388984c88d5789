"""Keeps to a provider's rate limits by waiting before a call rather than by being refused after it.

A provider that refuses a call all the same is left alone by everybody for as long as it asks.
"""

import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

from godwit.domain.clock import Clock
from godwit.domain.errors import RateLimited
from godwit.providers.kinds import Rates
from godwit.providers.layers.wrapping import Layer
from godwit.providers.protocol import Provider

Answer = TypeVar("Answer")

PATIENCE_S = 30.0
"""A call that would have to wait longer is refused at once as `RateLimited`: no thread is parked for minutes."""

PAUSE_MAX_S = 300.0
"""The longest pause that a provider's word gets: what asks for an hour is asked again after five minutes."""


class Turns(Protocol):
    """One pace, of this process or of several together."""

    def turn_in_s(self) -> float:
        """Seconds until the caller's turn. Raises `RateLimited` when that is too long; then no turn is taken."""

    def pause(self, pause_s: float) -> None:
        """Give no turn for so long: the provider asks for it."""


Pacing = Callable[[str, float | None, Clock], Turns]
"""The pace of a name, at so many a second (None: as many as one likes)."""


class Pace:
    """Grants turns at `per_s` a second, evenly spaced; a pause is granted in the order in which turns are asked for."""

    def __init__(self, per_s: float | None, clock: Clock) -> None:
        self._spacing_s = 0.0 if per_s is None else 1.0 / per_s
        self._clock = clock
        self._next_at = 0.0
        self._lock = threading.Lock()

    def turn_in_s(self) -> float:
        """Seconds until the caller's turn. Raises `RateLimited` when that is too long; then no turn is taken."""
        with self._lock:
            now = self._clock.now()
            wait_s = max(0.0, self._next_at - now)
            if wait_s > PATIENCE_S:
                raise RateLimited("too many calls are waiting for this provider's rate limit", wait_s)
            self._next_at = max(now, self._next_at) + self._spacing_s
            return wait_s

    def pause(self, pause_s: float) -> None:
        """Give no turn for so long, for `PAUSE_MAX_S` at the most."""
        with self._lock:
            self._next_at = max(self._next_at, self._clock.now() + min(pause_s, PAUSE_MAX_S))


def alone(_name: str, per_s: float | None, clock: Clock) -> Turns:
    """The pace of a process that calls a provider alone."""
    return Pace(per_s, clock)


class Limited(Layer):
    """Waits for its turn before each call; launches keep to a slower pace of their own where there is one."""

    def __init__(
        self, inner: Provider, rates: Rates, clock: Clock, sleep: Callable[[float], None], pacing: Pacing = alone
    ) -> None:
        super().__init__(inner)
        self._calls = pacing(f"{inner.name}/calls", rates.calls_per_s, clock)
        self._launches = pacing(f"{inner.name}/launches", rates.launches_per_s, clock)
        self._sleep = sleep

    def _call(self, method: str, ask: Callable[[], Answer]) -> Answer:
        if method == "launch":
            self._wait(self._launches)
        self._wait(self._calls)
        try:
            return ask()
        except RateLimited as limited:
            self._calls.pause(limited.retry_after_s)
            raise

    def _wait(self, pace: Turns) -> None:
        wait_s = pace.turn_in_s()
        if wait_s:
            self._sleep(wait_s)
