"""What the planner is compared with: one line in which nobody passes, and EASY backfill. They know how long jobs run.

EASY (Lifka, JSSPP'95): the first in line that does not fit is promised the earliest instant and nodes at which it will,
given when the running jobs end; others may pass it if they end before that, or keep off its nodes.
"""

import heapq
from bisect import insort
from collections.abc import Iterator

import numpy as np
from godwit.scheduler.demands import Decision, Demand
from godwit.scheduler.engine import Engine
from godwit.scheduler.waiting import Shape

Place = tuple[float, float, str]
"""A demand's place in the line: what the line is ordered by, submission, id."""


class InLine:
    """Only the first in line is ever looked at. `shortest_first`: the line is by work left, else by submission."""

    def __init__(self, engine: Engine, *, shortest_first: bool = False) -> None:
        self.engine, self._shortest_first = engine, shortest_first
        self._line: list[tuple[Place, Demand]] = []
        self._is_blocked_at: tuple[str, int] | None = None

    def submit(self, demand: Demand, work_s: float) -> None:
        """It gets in line."""
        first = work_s if self._shortest_first else demand.since
        heapq.heappush(self._line, ((first, demand.since, demand.job_id), demand))

    def decide(self, now: float) -> Decision:
        """Start the first, and the next, until one does not fit."""
        decision = Decision()
        while self._line and try_to_start(self.engine, self._line[0][1], now, decision):
            heapq.heappop(self._line)
        return decision


class Easy:
    """First come, first served, with EASY backfill."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._line: dict[Shape, list[tuple[Place, Demand, float]]] = {}
        self._works: dict[str, float] = {}
        self._ends: list[tuple[float, str]] = []

    def submit(self, demand: Demand, work_s: float) -> None:
        """It gets in line, with the others of its shape."""
        place = (demand.since, demand.since, demand.job_id)
        insort(self._line.setdefault(_shape(demand), []), (place, demand, work_s), key=lambda entry: entry[0])

    def decide(self, now: float) -> Decision:
        """Start in order; then let pass who cannot delay the first that did not fit."""
        self._ends = [(end_s, job_id) for end_s, job_id in self._ends if job_id in self.engine.running]
        decision = Decision()
        first = self._first()
        while first is not None and try_to_start(self.engine, first[1], now, decision):
            self._started(first, now)
            first = self._first()
        if first is not None:
            self._backfill(first[1], now, decision)
        return decision

    def _first(self) -> tuple[Place, Demand, float] | None:
        return min((line[0] for line in self._line.values()), key=lambda entry: entry[0], default=None)

    def _started(self, entry: tuple[Place, Demand, float], now: float) -> None:
        line = self._line[_shape(entry[1])]
        line.remove(entry)
        if not line:
            del self._line[_shape(entry[1])]
        insort(self._ends, (now + entry[2], entry[1].job_id))

    def _backfill(self, head: Demand, now: float, decision: Decision) -> None:
        if not any(self._has_room(shape) for shape in self._line):
            return
        promised_s, nodes = self._promise(head)
        while True:
            entry = next(self._may_pass(head, now, promised_s, nodes), None)
            if entry is None:
                return
            is_long = now + entry[2] > promised_s
            self._keep(nodes if is_long else [], head)
            try_to_start(self.engine, entry[1], now, decision)
            self._keep([], head)
            self._started(entry, now)

    def _may_pass(
        self, head: Demand, now: float, promised_s: float, nodes: list[str]
    ) -> Iterator[tuple[Place, Demand, float]]:
        """The oldest that fits and either ends in time or fits beside the promised nodes."""
        inside = [shape for shape in self._line if self._has_room(shape)]
        self._keep(nodes, head)
        outside = {shape for shape in inside if self._has_room(shape)}
        self._keep([], head)
        found = (
            next(
                (e for e in self._line[shape] if e[1] is not head and (shape in outside or now + e[2] <= promised_s)),
                None,
            )
            for shape in inside
        )
        yield from sorted((entry for entry in found if entry is not None), key=lambda entry: entry[0])

    def _promise(self, head: Demand) -> tuple[float, list[str]]:
        """When and on which nodes the head will fit, if nobody else starts."""
        cluster, nodes, need = self.engine.cluster, head.nodes_min, head.ask.total_milli
        free = cluster.free[: cluster.size].sum(axis=1).tolist()
        domain = cluster.domain[head.within].tolist()
        is_good = (
            cluster.open[: cluster.size] & self.engine.fits(head.ask).suited[cluster.kind[: cluster.size]]
        ).tolist()
        good: dict[int, list[int]] = {}
        for row in np.flatnonzero(is_good).tolist():
            if free[row] >= need:
                good.setdefault(domain[row], []).append(row)
        for end_s, job_id in self._ends:
            for share in self.engine.running[job_id].shares:
                row = cluster.row_of[share.node_id]
                before, free[row] = free[row], free[row] + len(share.gpus) * share.gpu_milli
                if before < need <= free[row] and is_good[row]:
                    rows = good.setdefault(domain[row], [])
                    rows.append(row)
                    if len(rows) >= nodes:
                        return end_s, [cluster.ids[row] for row in rows[:nodes]]
        return float("inf"), []

    def _has_room(self, shape: Shape) -> bool:
        ask, nodes, within = shape
        return self.engine.fits(ask).most[within] >= nodes

    def _keep(self, nodes: list[str], head: Demand) -> None:
        cluster = self.engine.cluster
        for row in list(cluster.held):
            cluster.hold(cluster.ids[row], None)
        for node_id in nodes:
            cluster.hold(node_id, head.job_id)


def try_to_start(engine: Engine, demand: Demand, now: float, decision: Decision) -> bool:
    """Start it if it fits; the engine's line is empty before and after."""
    if engine.fits(demand.ask).most[demand.within] < demand.nodes_min:
        return False
    engine.submit(demand)
    found = engine.decide(now).starts
    if not found:
        engine.withdraw(demand.job_id)
    decision.starts += found
    return bool(found)


def _shape(demand: Demand) -> Shape:
    return demand.ask, demand.nodes_min, demand.within
