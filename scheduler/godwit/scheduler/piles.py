"""Running jobs that one demand may stop, by project, cheapest first: what a claim takes from, one after the other.

Heaps whose order is looked at again when something comes to the top: while a claim takes, less and less is missing and
projects hold less and less, so what a job's stop costs only grows, and the top is the cheapest when it still costs what
it cost.
"""

import heapq
from collections.abc import Collection
from math import inf

from godwit.scheduler import quotas
from godwit.scheduler.accounts import Shortfall
from godwit.scheduler.demands import Demand, Running
from godwit.scheduler.engine import Engine
from godwit.scheduler.quotas import Quotas

_Cost = tuple[bool, float, int, int]
"""Would its project hold less than its own; work lost per unit of what is missing; priority; how little it frees."""


class Takeable:
    """Of each project the running jobs that may be stopped at all: not those that started less than `min_run_s` ago."""

    def __init__(self, gate: Quotas, min_run_s: float) -> None:
        self._gate, self._min_run_s = gate, min_run_s
        self._known: dict[str, tuple[float, int, list[Running], float]] = {}

    def of(self, project: str, engine: Engine, now: float) -> tuple[list[Running], float]:
        """These jobs, and when the first of those that have just started may be taken."""
        stamp = self._gate.stamp(project)
        known = self._known.get(project)
        if known is not None and known[:2] == (now, stamp):
            return known[2], known[3]
        there = [engine.running[job_id] for job_id in self._gate.holders.get(project, ())]
        there = [running for running in there if running.demand.may_yield and running.yields_to is None]
        old = [running for running in there if now - running.started_at >= self._min_run_s]
        young_at = (running.started_at for running in there if now - running.started_at < self._min_run_s)
        lapses_at = min(young_at, default=inf) + self._min_run_s
        self._known[project] = (now, stamp, old, lapses_at)
        return old, lapses_at


class Piles:
    """For one demand at one moment. `barred` are left alone.

    `lapses_at` is when the first of those that are left alone for having just started may be taken.
    """

    def __init__(
        self, gate: Quotas, takeable: Takeable, engine: Engine, demand: Demand, now: float, barred: Collection[str]
    ) -> None:
        self._gate, self._takeable, self._engine = gate, takeable, engine
        self._demand, self._now = demand, now
        self._gone = set(barred)
        self._heaps: dict[tuple[str, str], list[tuple[_Cost, str]]] = {}
        self.lapses_at = inf

    def take(self, running: Running) -> None:
        """It is taken whatever it costs."""
        self._gone.add(running.demand.job_id)

    def cheapest(self, project: str, missing: Shortfall) -> Running | None:
        """Take the cheapest of a project; None when nobody there frees anything of what is missing."""
        heap = self._heaps.get((project, missing.resource))
        if heap is None:
            heap = self._heaps[project, missing.resource] = self._pile(project, missing)
        while heap:
            cost, job_id = heap[0]
            running = self._engine.running[job_id]
            now_cost = self._cost(running, missing)
            if job_id in self._gone:
                heapq.heappop(heap)
            elif now_cost > cost:
                heapq.heapreplace(heap, (now_cost, job_id))
            else:
                heapq.heappop(heap)
                self._gone.add(job_id)
                return running
        return None

    def _pile(self, project: str, missing: Shortfall) -> list[tuple[_Cost, str]]:
        there, lapses_at = self._takeable.of(project, self._engine, self._now)
        self.lapses_at = min(self.lapses_at, lapses_at)
        if project == self._demand.project:
            there = [running for running in there if running.demand.priority < self._demand.priority]
        heap = [
            (self._cost(running, missing), running.demand.job_id)
            for running in there
            if running.yields_to is None and quotas.amount(running.demand.ask, missing.resource)
        ]
        heapq.heapify(heap)
        return heap

    def _cost(self, running: Running, missing: Shortfall) -> _Cost:
        demand, nodes = running.demand, len(running.shares)
        freed = quotas.amount(demand.ask, missing.resource) * nodes
        lost = running.lost_gpu_s(self._now) / min(freed, missing.short_by)
        return (self._gate.falls_short(demand, nodes), lost, demand.priority, -freed)
