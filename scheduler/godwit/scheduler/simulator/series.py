"""What the plots show, as numbers: load over time, waits by size, and what ran where."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from godwit.scheduler.simulator.outcomes import Course, Outcome, mean, quantile
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SIZES = ((1, "1 GPU"), (4, "2 to 4"), (8, "5 to 8"), (32, "9 to 32"), (10**9, "over 32"))
"""Classes of gangs by GPUs: the most that a class has, and its name."""


@dataclass(frozen=True, slots=True)
class Waits:
    """How long the jobs of one size waited, in seconds, over all attempts."""

    size: str
    jobs: int
    mean_s: float
    p50_s: float
    p90_s: float


@dataclass(frozen=True, slots=True)
class Bar:
    """A job on one row of the fleet, from start to end (s), with this many of its GPUs."""

    row: int
    start_s: float
    end_s: float
    job_id: str
    user: str
    gpus: int


def utilization(outcome: Outcome, points: int) -> tuple[Floats, Floats]:
    """The edges of `points` equal spans (s, one more than points) and the share of GPUs that was busy in each."""
    stints = [(stint, course.job.gpus) for course in outcome.courses for stint in course.stints]
    starts = _Integral([stint.start_s for stint, _ in stints], [gpus for _, gpus in stints])
    ends = _Integral([stint.end_s for stint, _ in stints], [gpus for _, gpus in stints])
    edges = np.linspace(outcome.start_s, max(outcome.end_s, outcome.start_s + 1), points + 1)
    busy = np.diff(starts(edges) - ends(edges)) / np.diff(edges)
    return edges, np.clip(busy / max(1, sum(outcome.node_gpus)), 0.0, 1.0)


def waits(courses: Sequence[Course]) -> list[Waits]:
    """For each size that occurs, how long its jobs waited."""
    by_size = defaultdict[str, list[float]](list)
    for course in courses:
        by_size[size_of(course.job.gpus)].append(course.waited_s)
    found = []
    for _, size in SIZES:
        there = sorted(by_size[size])
        if there:
            found.append(Waits(size, len(there), mean(there), quantile(there, 0.5), quantile(there, 0.9)))
    return found


def bars(outcome: Outcome, rows_max: int, bars_max: int) -> list[Bar]:
    """What ran on the first `rows_max` nodes; of too many bars the longest, in order of start."""
    found = [
        Bar(row, stint.start_s, stint.end_s, stint.job_id, course.job.user, course.job.gpus_per_node)
        for course in outcome.courses
        for stint in course.stints
        for row in stint.rows
        if row < rows_max
    ]
    found.sort(key=lambda bar: (bar.start_s - bar.end_s, bar.start_s, bar.row, bar.job_id))
    return sorted(found[:bars_max], key=lambda bar: (bar.start_s, bar.row, bar.job_id))


def size_of(gpus: int) -> str:
    """The name of the class that a gang of so many GPUs is in."""
    return next(name for most, name in SIZES if gpus <= most)


class _Integral:
    """The integral up to a time of steps of given heights at given times."""

    def __init__(self, times: Sequence[float], heights: Sequence[float]) -> None:
        order = np.argsort(times, kind="stable")
        at, height = np.asarray(times, np.float64)[order], np.asarray(heights, np.float64)[order]
        self._at = at
        self._heights = np.concatenate(([0.0], np.cumsum(height)))
        self._moments = np.concatenate(([0.0], np.cumsum(height * at)))

    def __call__(self, times: Floats) -> Floats:
        before = np.searchsorted(self._at, times)
        found: Floats = self._heights[before] * times - self._moments[before]
        return found
