"""SIGTERM to the agent of a spot machine: the machine is being shut down (Nebius: 60 s until it is off)."""

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

from godwit.agents.effects import Noticed

WINDOW_S = 60.0
"""Nebius's documentation of preemptible VMs, 2026-08: SIGTERM, 60 s, SIGKILL."""


class Sigterm:
    """Hears the signal from `listen` on; until then, and on machines that are not spot, it ends the agent as ever."""

    every_s = 0.1

    def __init__(self, window_s: float = WINDOW_S, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._window_s, self._monotonic_s = window_s, monotonic_s
        self._ends_at: float | None = None
        self.heard = threading.Event()

    def listen(self) -> None:
        """Catch the signal; to be called by the main thread."""
        signal.signal(signal.SIGTERM, self._on_signal)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self._ends_at is None:
            self._ends_at = self._monotonic_s() + self._window_s
        self.heard.set()

    def look(self) -> Noticed | None:
        """That it came, if it did."""
        if self._ends_at is None:
            return None
        return Noticed("sigterm", max(0.0, self._ends_at - self._monotonic_s()), "the machine is being shut down")
