"""Counts a provider's calls, so that no adapter contains a metric."""

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from godwit.domain.errors import ProviderError
from godwit.providers.layers.wrapping import Layer
from godwit.providers.protocol import Provider

Answer = TypeVar("Answer")

WINDOW_S = 900.0
"""How far back figures reach: long enough to see a trouble that comes and goes, short enough to see that it is over."""

WINDOW_CALLS = 1_000
"""Calls of one method that are kept: with two lists a second, as while nodes change, these are the last 8 minutes."""

OK, CRASHED = "ok", "crashed"
"""Outcomes without an error of the provider's: it answered, or an adapter failed by a fault of our own."""


@dataclass(frozen=True)
class Call:
    """One call that ended: when (seconds of the clock of its `CallMetrics`), what was called, how it ended."""

    at: float
    method: str
    outcome: str
    seconds: float


@dataclass(frozen=True)
class CallFigures:
    """Calls in short: how many, errors by class, and how long a call took (nearest rank; None without calls)."""

    calls: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)
    median_s: float | None = None
    p99_s: float | None = None


def figures(calls: Sequence[Call]) -> CallFigures:
    """The figures of these calls, those that failed included: whoever asked has waited for them too."""
    if not calls:
        return CallFigures()
    took = sorted(call.seconds for call in calls)
    errors = Counter(call.outcome for call in calls if call.outcome != OK)
    return CallFigures(len(calls), dict(sorted(errors.items())), ranked(took, 0.5), ranked(took, 0.99))


def ranked(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all do not exceed: the nearest rank. `ordered` has some."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


class CallMetrics:
    """Calls and seconds by (provider, method, outcome), and each provider's last calls.

    An outcome is "ok", the class of the error, or "crashed" for a fault of our own. `now` is a clock in seconds that
    only goes forward.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._calls: Counter[tuple[str, str, str]] = Counter()
        self._seconds: Counter[tuple[str, str, str]] = Counter()
        self._recent: dict[tuple[str, str], deque[Call]] = {}

    def count(self, provider: str, method: str, outcome: str, seconds: float) -> None:
        """One call ended."""
        call = Call(self._now(), method, outcome, seconds)
        with self._lock:
            self._calls[provider, method, outcome] += 1
            self._seconds[provider, method, outcome] += seconds  # type: ignore[assignment]
            self._recent.setdefault((provider, method), deque(maxlen=WINDOW_CALLS)).append(call)

    def calls(self) -> Mapping[tuple[str, str, str], int]:
        """How many calls ended how."""
        with self._lock:
            return dict(self._calls)

    def seconds(self) -> Mapping[tuple[str, str, str], float]:
        """How long they took together."""
        with self._lock:
            return dict(self._seconds)

    def recent(self, provider: str) -> list[Call]:
        """Its calls of the last `WINDOW_S`, method by method, of each method `WINDOW_CALLS` at the most."""
        since = self._now() - WINDOW_S
        with self._lock:
            return [
                call
                for (name, _), kept in sorted(self._recent.items())
                if name == provider
                for call in kept
                if call.at > since
            ]


class Measured(Layer):
    """Counts each call and how it ended."""

    def __init__(self, inner: Provider, metrics: CallMetrics) -> None:
        super().__init__(inner)
        self._metrics = metrics

    def _call(self, method: str, ask: Callable[[], Answer]) -> Answer:
        began, outcome = time.monotonic(), CRASHED
        try:
            answer = ask()
            outcome = OK
        except ProviderError as error:
            outcome = type(error).__name__
            raise
        finally:
            self._metrics.count(self.name, method, outcome, time.monotonic() - began)
        return answer
