"""Pollux's objective with godwit's curves: a documented stand-in for its genetic search, to tell objective from rest.

Section 4.2 of the paper maximises the power mean with p = -1 of each job's speedup over its fair share of the cluster,
where a job that would restart counts `(age - restarts x stop) / (age + stop)` of its speedup, and no job takes more
than twice the GPUs it was seen with. Here GPUs are given one step after another by what they add to that mean.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from godwit.scheduler.elasticity import curve, packing
from godwit.scheduler.elasticity.packing import Want

from benchmarks.pollux.policies import POOL, gpus_max, known_curve
from benchmarks.pollux.replay import RESTART_S, Job, Nodes

GROWTH = 2
NOTHING = 1e-3
"""A job without GPUs counts this speedup, so that its mean is not infinite; the value of the public implementation."""


def fair_speedups(jobs: Sequence[Job], now_s: float) -> Mapping[str, Nodes]:
    """The policy."""
    fair = -(-sum(POOL.units) // len(jobs))
    steps = sorted(step for number, job in enumerate(jobs) for step in _steps(number, job, fair, now_s))
    given, left = [0] * len(jobs), sum(POOL.units)
    for _, before, number, after in steps:
        if given[number] == before and after - before <= left:
            given[number] = after
            left -= after - before
    pairs = zip(jobs, given, strict=True)
    wants = {job.submission.name: Want(job.nodes, units, 1) for job, units in pairs if units}
    return packing.pack(wants, POOL.units, POOL.units_per_node)


def _steps(number: int, job: Job, fair: int, now_s: float) -> list[tuple[float, int, int, int]]:
    tried = max((one.gpus for one in job.reported.values()), default=0)
    most = min(gpus_max(job), max(GROWTH * tried, 1))
    speeds = known_curve(job, curve.sizes(1, max(most, fair), POOL.units_per_node, max(most, fair)))
    age_s = now_s - job.submission.at_s
    factor = max(age_s - max(job.restarts, 0) * RESTART_S, 0.0) / (age_s + RESTART_S)
    at_fair = speeds.at(min(fair, gpus_max(job)))
    hull = [(0, -1 / NOTHING)]
    for size in speeds.sizes:
        speedup = speeds.at(size) / at_fair * (1.0 if size == job.gpus else factor)
        point = size, -1 / (speedup + NOTHING)
        while len(hull) > 1 and _slope(hull[-2], hull[-1]) <= _slope(hull[-1], point):
            hull.pop()
        if size <= most:
            hull.append(point)
    return [(-_slope(low, high), low[0], number, high[0]) for low, high in pairwise(hull) if high[1] > low[1]]


def _slope(low: tuple[int, float], high: tuple[int, float]) -> float:
    return (high[1] - low[1]) / (high[0] - low[0])
