"""Counts a provider's calls, so that no adapter contains a metric."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TypeVar

from godwit.domain.errors import ProviderError
from godwit.providers.layers.wrapping import Layer
from godwit.providers.protocol import Provider

Answer = TypeVar("Answer")


class CallMetrics:
    """Calls and seconds by (provider, method, outcome); an outcome is "ok" or the class of the error."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: Counter[tuple[str, str, str]] = Counter()
        self._seconds: Counter[tuple[str, str, str]] = Counter()

    def count(self, provider: str, method: str, outcome: str, seconds: float) -> None:
        """One call ended."""
        with self._lock:
            self._calls[provider, method, outcome] += 1
            self._seconds[provider, method, outcome] += seconds  # type: ignore[assignment]

    def calls(self) -> Mapping[tuple[str, str, str], int]:
        """How many calls ended how."""
        with self._lock:
            return dict(self._calls)

    def seconds(self) -> Mapping[tuple[str, str, str], float]:
        """How long they took together."""
        with self._lock:
            return dict(self._seconds)


class Measured(Layer):
    """Counts each call and how it ended."""

    def __init__(self, inner: Provider, metrics: CallMetrics) -> None:
        super().__init__(inner)
        self._metrics = metrics

    def _call(self, method: str, ask: Callable[[], Answer]) -> Answer:
        began, outcome = time.monotonic(), "ok"
        try:
            return ask()
        except ProviderError as error:
            outcome = type(error).__name__
            raise
        finally:
            self._metrics.count(self.name, method, outcome, time.monotonic() - began)
