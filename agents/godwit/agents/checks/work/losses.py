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

STAYS = 8
"""So many losses in a row that are no number, and none will be one again: a weight that is none spoils every later one,
while a single bad batch, or a gradient that overflowed, is skipped. As many as make it over."""


@dataclass
class LossWatch:
    """The losses of one attempt. `code` is what is wrong now: "loss:nan", "loss:jump", or nothing.

    `in_a_row` counts the losses since the last one that was a number; `stays` says that the newest report is the one
    from which on they are said to stay none.
    """

    usual: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    code: str = ""
    in_a_row: int = 0
    stays: bool = False
    _calm: int = 0

    def saw(self, loss: float | None, grad_norm: float | None = None) -> str | None:
        """A step's loss; returns what to tell: a code, "" when what was told is over, None when nothing is new.

        A loss that is no number is told of twice: the first time, and once it stays so.
        """
        if loss is None and grad_norm is None:
            return None
        if loss is not None:
            self.in_a_row = 0 if math.isfinite(loss) else self.in_a_row + 1
        self.stays = loss is not None and self.in_a_row == STAYS
        code = self._code_of(loss, grad_norm)
        if code:
            self._calm = 0
            is_new = code != self.code and not (self.code == "loss:nan" and code == "loss:jump")
            self.code = code if is_new else self.code
            return code if is_new or self.stays else None
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
