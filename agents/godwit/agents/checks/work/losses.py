"""When a loss is a bad sign: pure."""

import math
import statistics
from collections import deque
from dataclasses import dataclass, field

WINDOW, LEAST = 32, 16
"""Losses that tell what is usual, and how many are needed."""

JUMP = 5.0
"""Times the median of the window (ByteRobust, arXiv 2509.16293)."""

CALM = 8
"""So many sound losses in a row, and it is over."""


@dataclass
class LossWatch:
    """The losses of one attempt. `code` is what is wrong now: "loss:nan", "loss:jump", or nothing."""

    usual: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    code: str = ""
    _calm: int = 0

    def saw(self, loss: float | None, grad_norm: float | None = None) -> str | None:
        """A step's loss; returns what to tell: a code, "" when what was told is over, None when nothing is new."""
        if loss is None and grad_norm is None:
            return None
        code = self._code_of(loss, grad_norm)
        if code:
            self._calm = 0
            is_new = code != self.code and not (self.code == "loss:nan" and code == "loss:jump")
            self.code = code if is_new else self.code
            return code if is_new else None
        if loss is not None:
            self.usual.append(loss)
        self._calm += 1
        if self.code and self._calm >= CALM:
            self.code = ""
            return ""
        return None

    @property
    def median(self) -> float | None:
        """What is usual; None before it is known."""
        return statistics.median(self.usual) if len(self.usual) >= LEAST else None

    def _code_of(self, loss: float | None, grad_norm: float | None) -> str:
        if any(value is not None and not math.isfinite(value) for value in (loss, grad_norm)):
            return "loss:nan"
        median = self.median
        return "loss:jump" if loss is not None and median is not None and 0 < median * JUMP < loss else ""
