"""Plays workloads through the engine in virtual time; the time that the planner takes passes on that clock too."""

import heapq
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from godwit.scheduler.engine import Engine

from benchmarks.quotas.generator import Workload


@dataclass
class Played:
    """What came of it. `admitted_s` is from coming to the last start, by workload; times in seconds of virtual time."""

    ended_s: float = 0.0
    planner_s: float = 0.0
    passes: int = 0
    starts: int = 0
    evictions: int = 0
    unit_s: float = 0.0
    wasted_unit_s: float = 0.0
    slowest_pass_s: float = 0.0
    admitted_s: dict[str, float] = field(default_factory=dict)


class Replay:
    """One run. Whatever happens while the planner thinks, it hears of in its next pass.

    A decision takes effect when it is made, `planner_s` later than what it was made from. An evicted workload stops
    then, waits again from its first coming and starts from nothing.
    """

    def __init__(self, engine: Engine, workloads: Sequence[Workload]) -> None:
        self._engine = engine
        self._by_id = {workload.demand.job_id: workload for workload in workloads}
        self._coming = list(reversed(workloads))
        self._ending: list[tuple[float, str, float]] = []
        self._started: dict[str, float] = {}
        self._evicted: list[str] = []
        self._out = Played()

    def run(self) -> Played:
        """Until the last workload has ended. Raises RuntimeError when something waits and nothing will change that."""
        now = 0.0
        while self._coming or self._started or self._evicted:
            now = max(now, self._next_at(now))
            now = self._pass(now)
        if len(self._out.admitted_s) != len(self._by_id):
            raise RuntimeError(f"{len(self._by_id) - len(self._out.admitted_s)} workloads never started")
        self._out.ended_s = now
        return self._out

    def _next_at(self, now: float) -> float:
        if self._evicted:
            return now
        self._drop_stale()
        times = [self._coming[-1].at_s] if self._coming else []
        times += [self._ending[0][0]] if self._ending else []
        if not times:
            raise RuntimeError("workloads wait, none runs and none comes")
        return min(times)

    def _pass(self, now: float) -> float:
        ended, come, evicted = self._ended_by(now), self._come_by(now), self._evicted
        self._evicted = []
        began = time.perf_counter()
        for job_id in ended:
            self._engine.ended(job_id)
        for job_id in evicted:
            self._engine.submit(self._engine.ended(job_id).demand)
        for workload in come:
            self._engine.submit(workload.demand)
        decision = self._engine.decide(now)
        took_s = time.perf_counter() - began
        self._out.passes += 1
        self._out.planner_s += took_s
        self._out.slowest_pass_s = max(self._out.slowest_pass_s, took_s)
        now += took_s
        for start in decision.starts:
            self._start(start.demand.job_id, now)
        for one in decision.yields:
            self._evict(one.job_id, now)
        return now

    def _start(self, job_id: str, now: float) -> None:
        workload = self._by_id[job_id]
        self._out.starts += 1
        self._out.admitted_s[job_id] = now - workload.at_s
        self._started[job_id] = now
        heapq.heappush(self._ending, (now + workload.sort.runs_ms / 1000, job_id, now))

    def _evict(self, job_id: str, now: float) -> None:
        self._out.evictions += 1
        self._out.wasted_unit_s += (now - self._started.pop(job_id)) * self._by_id[job_id].sort.units
        self._evicted.append(job_id)

    def _drop_stale(self) -> None:
        while self._ending and self._started.get(self._ending[0][1]) != self._ending[0][2]:
            heapq.heappop(self._ending)

    def _ended_by(self, now: float) -> list[str]:
        ended = []
        self._drop_stale()
        while self._ending and self._ending[0][0] <= now:
            job_id = heapq.heappop(self._ending)[1]
            workload = self._by_id[job_id]
            self._out.unit_s += workload.sort.units * workload.sort.runs_ms / 1000
            del self._started[job_id]
            ended.append(job_id)
            self._drop_stale()
        return ended

    def _come_by(self, now: float) -> list[Workload]:
        come = []
        while self._coming and self._coming[-1].at_s <= now:
            come.append(self._coming.pop())
        return come
