"""The step times of a job's ranks, gathered into windows for `godwit.domain.pace`: pure."""

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

WINDOW_STEPS = 16
"""Steps that make a window: ByteRobust looks at five rounds of 10 s, and steps take about 3 s. Windows begin at
multiples of it, so that they are the same on all nodes."""

KEPT = 12
"""Windows that are kept: enough to say for how long somebody lags."""

RANKS_MAX = 1_024
"""On one node; a node of eight GPUs has eight."""

Windows = dict[int, dict[int, float]]
"""By number: what steps of each rank took on average, in seconds."""


@dataclass
class RankWindows:
    """Windows of the ranks that report on this node."""

    _open: dict[int, list[float]] = field(default_factory=dict)
    _number: int = -1
    _complete: Windows = field(default_factory=dict)

    def saw(self, rank: int, step: int, compute_s: float) -> bool:
        """One step of one rank; returns whether it ended a window. A step of an older window comes too late."""
        number, ended = step // WINDOW_STEPS, False
        if number < self._number:
            return False
        if number > self._number:
            ended = bool(self._open)
            if ended:
                self._complete[self._number] = {one: statistics.fmean(own) for one, own in self._open.items()}
                self._complete = dict(sorted(self._complete.items())[-KEPT:])
            self._open, self._number = {}, number
        if rank in self._open or len(self._open) < RANKS_MAX:
            self._open.setdefault(rank, []).append(compute_s)
        return ended

    @property
    def complete(self) -> Windows:
        """The windows that are over, the oldest first."""
        return dict(self._complete)


def merged(parts: Iterable[Mapping[int, Mapping[int, float]]]) -> Windows:
    """The windows of all nodes together, as far as most nodes have them: the newest is not there yet on some.

    A rank that two nodes claim, as where each counts from 0, is left out: nobody can tell them apart.
    """
    whole: Windows = {}
    claimed: set[int] = set()
    owned: set[int] = set()
    counts: dict[int, int] = {}
    nodes = 0
    for part in parts:
        nodes += bool(part)
        own = {rank for window in part.values() for rank in window}
        claimed |= own & owned
        owned |= own
        for number, window in part.items():
            counts[number] = counts.get(number, 0) + 1
            whole.setdefault(number, {}).update(window)
    return {
        number: {rank: seconds for rank, seconds in window.items() if rank not in claimed}
        for number, window in sorted(whole.items())
        if counts[number] * 2 > nodes
    }
