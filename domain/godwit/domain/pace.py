"""Stragglers: ranks of a gang that are steadily slower than the others."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LAG = 0.10
"""Slower than the others by so much. About 0.5 % of machines are some 10 % slow (MegaScale, NSDI'24), and what steps of
one rank vary by is averaged out over a window."""

WINDOWS = 3
"""In so many windows in a row: a burst on a shared file system or a garbage collection is over by then."""

WARM_UP = 1
"""Windows at the start that do not count: compilation, caches, the first epoch's files (NVRx leaves out five steps)."""

OTHERS_MIN = 2
"""Of two ranks alone, nobody can say which one is not as it should be."""


@dataclass(frozen=True)
class Straggler:
    """One rank: how much slower it was than the median of the others, at least, in each of so many windows."""

    rank: int
    lag: float
    windows: int


def stragglers(
    windows: Sequence[Mapping[int, float]], *, lag: float = LAG, least: int = WINDOWS, warm_up: int = WARM_UP
) -> list[Straggler]:
    """Who was slow in each of the last `least` windows, the slowest first. Pure.

    Each window maps ranks to what their steps took on average, in seconds, without the time in which they waited for
    others (with it all ranks of a gang take the same).
    """
    counted = windows[warm_up:]
    if len(counted) < least:
        return []
    lags = [_lags(window) for window in counted[-least:]]
    found = []
    for rank in set.intersection(*(set(one) for one in lags)):
        smallest = min(one[rank] for one in lags)
        if smallest >= lag:
            found.append(Straggler(rank, smallest, _in_a_row(rank, counted, lag)))
    return sorted(found, key=lambda one: (-one.lag, one.rank))


def _lags(window: Mapping[int, float]) -> dict[int, float]:
    """By how much each rank is slower than the median of the others; nothing where there are too few."""
    if len(window) <= OTHERS_MIN:
        return {}
    found = {}
    for rank, seconds in window.items():
        median = statistics.median(value for other, value in window.items() if other != rank)
        found[rank] = seconds / median - 1 if median > 0 else 0.0
    return found


def _in_a_row(rank: int, windows: Sequence[Mapping[int, float]], lag: float) -> int:
    count = 0
    for window in reversed(windows):
        if _lags(window).get(rank, 0.0) < lag:
            break
        count += 1
    return count
