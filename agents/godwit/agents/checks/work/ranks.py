"""The step times of a job's ranks on this node, gathered into windows for `godwit.domain.pace`."""

import statistics
from dataclasses import dataclass, field

from godwit.domain import pace
from godwit.domain.pace import Straggler

WINDOW_STEPS = 16
"""Steps of the fastest rank that make a window: ByteRobust looks at five rounds of 10 s, and steps take about 3 s."""

KEPT = 16
RANKS_MAX = 64


@dataclass
class RankWindows:
    """Windows of one attempt; `windows` are complete, the oldest first."""

    windows: list[dict[int, float]] = field(default_factory=list)
    _open: dict[int, list[float]] = field(default_factory=dict)
    told: frozenset[int] = frozenset()

    def saw(self, rank: int, compute_s: float) -> list[Straggler] | None:
        """One step of one rank; at the end of a window the stragglers, else None."""
        if rank not in self._open and len(self._open) >= RANKS_MAX:
            return None
        self._open.setdefault(rank, []).append(compute_s)
        if len(self._open[rank]) < WINDOW_STEPS:
            return None
        # Of a rank that is far behind there may be little; one step says enough to compare.
        self.windows.append({one: statistics.fmean(own) for one, own in self._open.items()})
        self._open.clear()
        keep = pace.WARM_UP + KEPT
        self.windows = self.windows[-keep:]
        return pace.stragglers(self.windows)
