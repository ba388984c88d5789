"""The least that a job can cost on a trace, knowing all of it: a dynamic programme over looks and work that is left.

States are: nowhere; in each place and on demand, with each rest of a changeover. The value of a state is the least cost
of each amount of work until the deadline, going backwards. Work is counted in units that divide the time between looks
and the changeover, so that nothing is rounded.
"""

from math import gcd

import numpy as np
from godwit.scheduler.spot.situation import Task
from numpy.typing import NDArray

from benchmarks.spot.series import Series

Costs = NDArray[np.float64]


def least_usd(series: Series, start: int, task: Task, spot_usd_per_hour: float) -> float:
    """The least cost of a job that starts at look `start`."""
    changeover_s, look_s = round(task.changeover_h * 3600), series.look_s
    unit_s = gcd(changeover_s, look_s, round(task.work_h * 3600))
    look, work = look_s // unit_s, round(task.work_h * 3600) // unit_s
    rests = [*range(changeover_s // unit_s, 0, -look), 0]
    there = series.there[start : start + int(task.window_h * 3600 // look_s)]
    usd = unit_s / 3600 * np.array([spot_usd_per_hour] * there.shape[1] + [task.usd_per_hour])
    never = np.full(work + 1, np.inf)
    never[0] = 0.0
    idle, running = never, [[never] * len(rests) for _ in usd]
    for row in there[::-1]:
        had = [*row.tolist(), True]
        going = [
            [_go_on(costs[min(index + 1, len(rests) - 1)], rest, look, usd[place]) for index, rest in enumerate(rests)]
            if had[place]
            else []
            for place, costs in enumerate(running)
        ]
        for costs in going:
            if costs:
                idle = np.minimum(idle, costs[0])
        running = [[np.minimum(idle, one) for one in costs] if costs else [idle] * len(rests) for costs in going]
    return float(idle[work])


def _go_on(later: Costs, rest: int, look: int, usd: float) -> Costs:
    """The cost of running until the next look, by the work that is left: `later` is what it costs from there."""
    progress = max(0, look - rest)
    cost = np.empty_like(later)
    cost[progress:] = later[: len(later) - progress] + look * usd
    ends = min(progress, len(later) - 1)
    cost[: ends + 1] = (rest + np.arange(ends + 1)) * usd if progress else cost[: ends + 1]
    cost[0] = 0.0
    return cost
