"""Moves of running jobs that free a whole node, or all of a fabric domain, when the arithmetic pays.

For a set of nodes that would be free once all jobs on them ran elsewhere, on nodes that are in use anyway:

    saved = sum over the nodes of price x (time until the last job on it ends - time to save - time until it goes back)
            - sum over the nodes that jobs go to of price x how much longer these are in use for that
    cost  = sum over the jobs of (work since the last checkpoint + saving + starting again) x price of its GPUs + egress
    pays  when saved >= `margin` x cost

A domain is looked at as one since gangs may fill it in such a way that no node alone can be freed. Jobs go to nodes of
the same GPU model that others of their own tenant stay on, and that are kept for nobody. Nothing is done here:
proposals are values, and the engine is left as it was.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from godwit.scheduler.cluster import FABRIC
from godwit.scheduler.consolidation.arithmetic import Arithmetic, Limits
from godwit.scheduler.consolidation.room import Mask, Room
from godwit.scheduler.demands import Running
from godwit.scheduler.engine import Engine
from numpy.typing import NDArray

CANDIDATES = 64
"""Sets of nodes that are looked at in one call, those first that might save most: a bound on its work."""


@dataclass(frozen=True)
class Move:
    """One job goes from nodes to others: it stops once, which costs `usd` of work and waiting, and egress."""

    job_id: str
    from_nodes: tuple[str, ...]
    to_nodes: tuple[str, ...]
    usd: float


@dataclass(frozen=True)
class Proposal:
    """Moves that free `nodes` together; what they save and cost, and why, in words."""

    nodes: tuple[str, ...]
    moves: tuple[Move, ...]
    saved_usd: float
    cost_usd: float
    reason: str


def proposals(
    engine: Engine,
    now: float,
    limits: Limits | None = None,
    *,
    moved_lately: int = 0,
) -> list[Proposal]:
    """Sets of moves that pay, the best first, which can all be done together; never more than `limits` allow.

    `moved_lately` is how many jobs were told to move within the last hour.
    """
    limits = limits or Limits()
    left = limits.moves_per_hour - moved_lately
    if left <= 0:
        return []
    table = _Table(engine, now, limits)
    weighed = [(one, rows) for rows in table.candidates() if (one := table.propose(rows, left)) is not None]
    found: list[Proposal] = []
    for _, rows in sorted(weighed, key=lambda pair: _best_first(pair[0])):
        again = table.propose(rows, left, is_final=True)  # what was decided before it may have changed the answer
        if again is not None:
            found.append(again)
            left -= len(again.moves)
    return sorted(found, key=_best_first)


def _best_first(one: Proposal) -> tuple[float, tuple[str, ...]]:
    return (one.cost_usd - one.saved_usd, one.nodes)


class _Table:
    """One look at a fleet: who is where, and what is free after the moves proposed so far."""

    def __init__(self, engine: Engine, now: float, limits: Limits) -> None:
        self._cluster, self._now, self._limits = engine.cluster, now, limits
        self._sums = Arithmetic(engine, now, limits)
        self._room = Room(engine.cluster)
        self._on: dict[int, list[Running]] = {}
        for job_id in sorted(engine.running):
            running = engine.running[job_id]
            for row in sorted({self._cluster.row_of.get(share.node_id, -1) for share in running.shares} - {-1}):
                self._on.setdefault(row, []).append(running)
        # What is kept for the first of the queue is not for those who run already.
        self._kept = {row for one in engine.reservations().values() for row in one.rows} | set(engine.cluster.held)
        self._settled: set[int] = set()
        self._moved: set[str] = set()
        self._in_use_s = np.full(engine.cluster.size, -1.0)
        for row in self._on:
            self._in_use_s[row] = self._stays_s(row, {})

    def candidates(self) -> Iterator[list[int]]:
        """Sets of rows that might be freed, single ones and whole domains; what might save most first."""
        domain = self._cluster.domain[FABRIC]
        may = {row for row in self._on if self._may_free(row)}
        together: dict[int, list[int]] = {}
        for row in self._on:
            together.setdefault(int(domain[row]), []).append(row)
        sets = [[row] for row in may] + [rows for rows in together.values() if len(rows) > 1 and may.issuperset(rows)]
        by_worth = sorted((-self._freed_usd(rows), sorted(self._names(rows)), rows) for rows in sets)
        yield from (rows for usd, _, rows in by_worth[:CANDIDATES] if usd < 0)

    def propose(self, rows: list[int], moves_most: int, *, is_final: bool = False) -> Proposal | None:
        """Moves that free these rows, if they pay and there is room; booked on paper if that is final."""
        leaving = {one.demand.job_id: one for row in rows for one in self._on[row]}
        if self._settled & set(rows) or self._moved & set(leaving) or len(leaving) > moves_most:
            return None
        stays_s = self._without(rows, leaving)
        trial = Room(self._cluster, of=self._room)
        for running in leaving.values():
            trial.give(running)
        placed: list[tuple[Running, list[int]]] = []
        for running in sorted(leaving.values(), key=lambda one: (-one.demand.gpu_milli, one.demand.job_id)):
            longer = np.round(1e6 * np.minimum(1e9, self._sums.longer_usd(running, stays_s))).astype(np.int64)
            may = (stays_s >= 0) & self._is_alike(running)
            to = trial.place(running.demand, len(running.shares), may, longer)
            if to is None:
                return None
            placed.append((running, to))
        one = self._if_it_pays(rows, placed, stays_s)
        if one is not None and is_final:
            self._room = trial
            self._settled |= {*rows, *(row for _, to in placed for row in to)}
            self._moved |= set(leaving)
            for row in {*self._settled, *(self._cluster.row_of[s.node_id] for r, _ in placed for s in r.shares)}:
                self._in_use_s[row] = self._stays_s(row, {})
        return one

    def _if_it_pays(
        self, rows: list[int], placed: list[tuple[Running, list[int]]], stays_s: NDArray[np.float64]
    ) -> Proposal | None:
        longer: dict[int, float] = {}
        for running, to in placed:
            usd = self._sums.longer_usd(running, stays_s)
            longer |= {row: max(longer.get(row, 0.0), float(usd[row])) for row in to}
        moves = [
            Move(one.demand.job_id, tuple(share.node_id for share in one.shares), tuple(self._names(to)),
                 self._sums.move_usd(one, to))
            for one, to in placed
        ]  # fmt: skip
        saved, cost = self._freed_usd(rows) - sum(longer.values()), sum(move.usd for move in moves)
        if saved <= 0 or saved < self._limits.margin * cost:
            return None
        nodes = tuple(self._names(rows))
        return Proposal(nodes, tuple(moves), saved, cost, self._because(rows, moves, longer, saved))

    def _because(self, rows: list[int], moves: list[Move], longer: Mapping[int, float], saved: float) -> str:
        names, sums = self._cluster.ids, self._sums
        freed = [f"{names[row]} ${sums.price(row):.2f}/h x {sums.freed_h(self._on[row]):.2f} h" for row in rows]
        less = [f"{names[row]} in use for longer ${usd:.2f}" for row, usd in longer.items() if usd >= 0.005]
        going = [f"job {move.job_id} to {', '.join(move.to_nodes)} ${move.usd:.2f}" for move in moves]
        return (
            f"saves ${saved:.2f} ({', '.join(freed)}{', less ' if less else ''}{', '.join(less)}) for "
            f"${sum(move.usd for move in moves):.2f} of work done again, restarts and egress ({', '.join(going)})"
        )

    def _may_free(self, row: int) -> bool:
        """Whether a node is open, for nobody in particular, and all on it may be moved."""
        is_free = bool(self._cluster.open[row]) and row not in self._kept
        return is_free and all(self._may_move(running) for running in self._on[row])

    def _may_move(self, running: Running) -> bool:
        if not running.demand.may_yield or running.yields_to is not None:
            return False
        is_whole = all(share.node_id in self._cluster.row_of for share in running.shares)
        return is_whole and self._now - running.started_at >= self._limits.min_run_s

    def _without(self, rows: list[int], leaving: Mapping[str, Running]) -> NDArray[np.float64]:
        """By row, how long it is in use by those who stay when these leave; below 0 where no job may go."""
        stays_s = self._in_use_s.copy()
        for row in {self._cluster.row_of[share.node_id] for one in leaving.values() for share in one.shares}:
            stays_s[row] = self._stays_s(row, leaving)
        stays_s[rows] = -1.0
        return stays_s

    def _stays_s(self, row: int, leaving: Mapping[str, Running]) -> float:
        if not self._cluster.open[row] or row in self._kept or row in self._settled:
            return -1.0
        gone = (leaving, self._moved)
        staying = (one for one in self._on[row] if not any(one.demand.job_id in some for some in gone))
        return max((self._sums.left_s(one) for one in staying if one.yields_to is None), default=-1.0)

    def _is_alike(self, running: Running) -> Mask:
        """Rows of the GPU model that a job runs on: on another it would be faster or slower, and nobody knows by how
        much.
        """
        cluster = self._cluster
        model = cluster.kinds[cluster.kind[cluster.row_of[running.shares[0].node_id]]].model
        is_same = np.array([kind.model == model or not running.demand.ask.gpus for kind in cluster.kinds])
        alike: Mask = is_same[cluster.kind[: cluster.size]]
        return alike

    def _freed_usd(self, rows: Sequence[int]) -> float:
        return sum(self._sums.price(row) * self._sums.freed_h(self._on[row]) for row in rows)

    def _names(self, rows: Sequence[int]) -> list[str]:
        return [self._cluster.ids[row] for row in rows]
