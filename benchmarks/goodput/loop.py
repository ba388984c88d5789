"""Virtual time: calls that wait for their instant, in order."""

import heapq
from collections.abc import Callable
from typing import Any


class Loop:
    """What is due when. `now` is in seconds since the beginning; calls of one instant keep their order."""

    def __init__(self) -> None:
        self.now = 0.0
        self._queue: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._calls = 0

    def at(self, when: float, what: Callable[..., None], *arguments: Any) -> None:
        """Call this at that time."""
        self._calls += 1
        heapq.heappush(self._queue, (max(when, self.now), self._calls, what, arguments))

    def after(self, delay_s: float, what: Callable[..., None], *arguments: Any) -> None:
        """Call this so much later."""
        self.at(self.now + delay_s, what, *arguments)

    def run(self, until: float) -> None:
        """Let time pass."""
        while self._queue and self._queue[0][0] <= until:
            self.now, _, what, arguments = heapq.heappop(self._queue)
            what(*arguments)
        self.now = until
