"""One replay: pods arrive one by one at the real engine; one that does not fit is dropped, and none ever leaves."""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from godwit.scheduler.asks import WHOLE, Ask
from godwit.scheduler.cluster import Cluster
from godwit.scheduler.demands import Demand
from godwit.scheduler.engine import Engine
from godwit.scheduler.fits import Scorer

Judge = Callable[[Cluster, Ask], Scorer | None]
"""Told of every pod that arrives; a scorer from this pod on, or None for the one that was."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Allocated against arrived GPUs, both in percent of all; and the CPU seconds that the replay took."""

    allocated: dict[int, float]
    pods: int
    placed: int
    cpu_s: float

    def at(self, arrived: int) -> float:
        """The mean of what was allocated while `arrived` percent, rounded, had been requested.

        Where no arrival was at that percent (large pods jump over it) its two neighbours answer, as in the published
        analysis.
        """
        near = [self.allocated[x] for x in (arrived, arrived - 1, arrived + 1) if x in self.allocated]
        if not near:
            raise ValueError(f"nothing arrived at {arrived}% or next to it; the replay ended at {max(self.allocated)}%")
        return near[0] if arrived in self.allocated else sum(near) / len(near)


def replay(cluster: Cluster, arrivals: Sequence[Ask], judge: Judge) -> Curve:
    """Offer every arrival to an engine with an empty queue, on `cluster`, which is filled."""
    capacity = capacity_gpus(cluster)
    sums, times = defaultdict[int, float](float), defaultdict[int, int](int)
    engine, arrived, allocated, placed = Engine(cluster), 0, 0, 0
    began = time.process_time()
    for number, ask in enumerate(arrivals):
        scorer = judge(cluster, ask)
        if scorer is not None:
            engine.score_by(scorer)
        is_placed = _offer(engine, Demand(f"pod-{number}", ask, float(number)))
        arrived += ask.total_milli
        allocated += ask.total_milli * is_placed
        placed += is_placed
        x = round(100 * arrived / WHOLE / capacity)
        sums[x] += 100 * allocated / WHOLE / capacity
        times[x] += 1
    took = time.process_time() - began
    return Curve({x: sums[x] / times[x] for x in sums}, len(arrivals), placed, took)


def _offer(engine: Engine, demand: Demand) -> bool:
    engine.submit(demand)
    if engine.decide(demand.since).starts:
        return True
    engine.withdraw(demand.job_id)
    return False


def capacity_gpus(cluster: Cluster) -> int:
    """The GPUs of all nodes together."""
    return sum(cluster.kinds[number].gpus for number in cluster.kind[: cluster.size])
