"""Nodes that are kept for the first of the queue while it waits, so that what goes past it never delays it.

Conservative backfill (Feitelson and Weil, IPPS'98; what Slurm's backfill does for its first jobs): each of the first
blocked demands gets the domain in which its gang can start soonest by what running jobs are expected to last. Nobody
else is placed on those nodes, except demands whose own estimate ends before the reserved start. Where nobody said how
long running jobs last, the start is unknown: then nodes are kept only once the demand has waited for `patience_s`, and
nothing goes past it on them.
"""

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

import numpy as np
from godwit.scheduler.asks import WHOLE, Ask
from godwit.scheduler.cluster import Share
from godwit.scheduler.demands import Demand
from godwit.scheduler.fits import NEVER
from numpy.typing import NDArray

if TYPE_CHECKING:
    from godwit.scheduler.engine import Engine


@dataclass(frozen=True)
class Patience:
    """How many of the queue's first demands get nodes kept, and how long one waits whose start nobody can tell.

    Both are choices: a few heads are enough against starvation, since the next of the queue becomes a head as the first
    starts; a quarter of an hour of idle nodes is what a large gang may cost when nothing is known.
    """

    heads: int = 4
    patience_s: float = 900.0


@dataclass(frozen=True, slots=True)
class Reservation:
    """Rows kept for a demand, and when it can start there at the latest; infinite when nobody knows."""

    job_id: str
    rows: tuple[int, ...]
    at: float


class Horizon:
    """When GPUs of each node become free, and how much of it ever will. `at[row, n - 1]` is the instant at which `n` of
    them are wholly free, by expectation. `gpus`, `cpu` and `memory` are by row what is there once all that runs ended:
    less than its offer says where GPUs are ill, or where the machine came smaller.

    Follows the engine's news, and looks again only at nodes on which something started or ended.
    """

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._read, self._seen = -1, 0
        self._on_row: dict[int, dict[str, tuple[float, Share]]] = {}
        self._rows_of: dict[str, list[int]] = {}
        self.at = np.zeros((0, 0))
        self.gpus, self.cpu, self.memory = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64)

    def refresh(self) -> "Horizon":
        """Look at what changed since the last time."""
        engine = self._engine
        self._widen()
        touched = set(range(self._seen, engine.cluster.size))
        if self._read < engine.dropped_news:
            self._on_row, self._rows_of, news = {}, {}, set(engine.running)
            touched.update(range(engine.cluster.size))
        else:
            news = set(engine.news[self._read - engine.dropped_news :])
        self._read, self._seen = engine.dropped_news + len(engine.news), engine.cluster.size
        for job_id in news:
            touched.update(self._follow(job_id))
        self._look(np.array(sorted(touched), np.int64))
        return self

    def _widen(self) -> None:
        free = self._engine.cluster.free
        more, wider = free.shape[0] - self.at.shape[0], free.shape[1] - self.at.shape[1]
        if more or wider:
            self.at = np.pad(self.at, ((0, more), (0, wider)), constant_values=np.inf)
            self.gpus, self.cpu, self.memory = (np.pad(one, (0, more)) for one in (self.gpus, self.cpu, self.memory))

    def _follow(self, job_id: str) -> list[int]:
        touched = self._rows_of.pop(job_id, [])
        for row in touched:
            self._on_row[row].pop(job_id, None)
        running = self._engine.running.get(job_id)
        if running is None:
            return touched
        row_of = self._engine.cluster.row_of
        now_on = [(row_of[share.node_id], share) for share in running.shares if share.node_id in row_of]
        for row, share in now_on:
            self._on_row.setdefault(row, {})[job_id] = (running.ends_at, share)
        rows = self._rows_of[job_id] = [row for row, _ in now_on]
        return [*touched, *rows]

    def _look(self, rows: NDArray[np.int64]) -> None:
        cluster = self._engine.cluster
        is_free = cluster.free[rows] == WHOLE
        self.at[rows] = np.sort(np.where(is_free, 0.0, np.inf), axis=1)
        self.gpus[rows], self.cpu[rows], self.memory[rows] = (
            is_free.sum(axis=1),
            cluster.cpu[rows],
            cluster.memory[rows],
        )
        for row in rows.tolist():
            if self._on_row.get(row):
                self._look_at_busy(row, list(self._on_row[row].values()))

    def _look_at_busy(self, row: int, there: list[tuple[float, Share]]) -> None:
        cluster = self._engine.cluster
        milli, ends_at = cluster.free[row].tolist(), [0.0] * cluster.free.shape[1]
        for at, share in there:
            for gpu in share.gpus:  # of several that share a device the last one frees it
                milli[gpu] += share.gpu_milli
                ends_at[gpu] = max(ends_at[gpu], at)
        ever = sorted(at for at, whole in zip(ends_at, milli, strict=True) if whole == WHOLE)
        self.at[row] = [*ever, *[inf] * (len(milli) - len(ever))]
        self.gpus[row] = len(ever)
        self.cpu[row] += sum(share.cpu_milli for _, share in there)
        self.memory[row] += sum(share.memory_mib for _, share in there)

    def may_hold(self, ask: Ask) -> NDArray[np.bool_]:
        """By row, whether a node would do if nothing ran on it."""
        return (self.gpus >= ask.gpus) & (self.cpu >= ask.cpu_milli) & (self.memory >= ask.memory_mib)


class Desk:
    """The reservations of one pass. Rows are held in the cluster, so that nobody else fits on them."""

    def __init__(self, engine: "Engine", patience: Patience) -> None:
        self._engine, self._patience = engine, patience
        self._horizon: Horizon | None = None
        self.reservations: dict[str, Reservation] = {}
        self._nowhere: set[object] = set()

    @property
    def is_full(self) -> bool:
        """Whether enough demands have nodes kept."""
        return len(self.reservations) >= self._patience.heads

    def clear(self) -> None:
        """Nothing is reserved any more: a pass begins."""
        cluster = self._engine.cluster
        for reservation in self.reservations.values():
            kept = self._engine.kept_for(reservation.job_id)  # for what others gave way to: that outlasts the pass
            for row in reservation.rows:
                if cluster.held.get(row) == reservation.job_id and cluster.ids[row] not in kept:
                    cluster.hold(cluster.ids[row], None)
        self.reservations = {}
        self._nowhere.clear()

    def reserve(self, demand: Demand, now: float) -> Reservation | None:
        """Keep the nodes on which a blocked demand can start soonest."""
        runs_out_at = demand.since + self._patience.patience_s
        # Within a pass nothing becomes free: what one is refused, all that ask and wait alike are refused.
        alike = (demand.ask, demand.nodes_min, demand.within, runs_out_at > now)
        is_unlike_others = bool(self._engine.kept_for(demand.job_id))
        self._horizon = self._horizon or Horizon(self._engine)
        found = None
        if is_unlike_others or alike not in self._nowhere:
            found = find(self._engine, self._horizon.refresh(), demand, now, self._patience.patience_s)
        if found is None:
            if not is_unlike_others:
                self._nowhere.add(alike)
            if runs_out_at > now:
                self._engine.wake(runs_out_at)
            return None
        self.reservations[demand.job_id] = found
        for row in found.rows:
            if row not in self._engine.cluster.held:
                self._engine.cluster.hold(self._engine.cluster.ids[row], demand.job_id)
        return found

    def lent(self, demand: Demand, now: float) -> tuple[int, ...]:
        """Rows that others have reserved from when this demand will have ended, by its own estimate."""
        if not self.reservations or demand.estimate_s is None:
            return ()
        ends_at = now + demand.estimate_s
        theirs = (one for one in self.reservations.values() if one.job_id != demand.job_id and ends_at <= one.at < inf)
        return tuple(row for one in theirs for row in one.rows)


def find(engine: "Engine", horizon: Horizon, demand: Demand, now: float, patience_s: float) -> Reservation | None:
    """Where a blocked demand can start soonest; None when nowhere, or when that is unknown and it has not waited long.

    Rows that are kept for others are passed over, and those that could not hold it if they were empty. CPUs and memory
    are taken to become free together with the GPUs.
    """
    cluster, size = engine.cluster, engine.cluster.size
    suited = engine.fits(demand.ask).suited[cluster.kind[:size]]
    usable = cluster.open[:size] & suited & horizon.may_hold(demand.ask)[:size]
    usable[[row for row, holder in cluster.held.items() if holder != demand.job_id]] = False
    rows = np.flatnonzero(usable)
    if len(rows) < demand.nodes_min:
        return None
    at = _instants(engine, horizon, demand, rows, now)
    chosen = _soonest(cluster.domain[demand.within, rows], at, cluster.tie[rows], demand.nodes_min)
    if chosen is None:
        return None
    start = float(at[chosen].max())
    if np.isinf(start) and now - demand.since < patience_s:
        return None
    return Reservation(demand.job_id, tuple(rows[chosen].tolist()), start)


def _instants(
    engine: "Engine", horizon: Horizon, demand: Demand, rows: NDArray[np.int64], now: float
) -> NDArray[np.float64]:
    expected = horizon.at[rows, demand.ask.gpus - 1] if demand.ask.gpus else np.zeros(len(rows))
    apart = ~(np.ones(len(rows), np.bool_) & engine.cluster.may_be_of(rows, demand.ask.tenant))
    if apart.any():  # free of the others when the last of their devices is
        last = np.maximum(horizon.gpus[rows] - 1, 0)
        expected = np.where(apart, horizon.at[rows, last], expected)
    # Whoever runs on past its estimate, or holds the CPUs of free GPUs, ends nobody knows when.
    is_late = (expected < now) & (engine.fits(demand.ask).key[rows] >= NEVER)
    return np.where(is_late, np.inf, np.maximum(now, expected))


def _soonest(
    domain: NDArray[np.int32], at: NDArray[np.float64], tie: NDArray[np.int64], nodes: int
) -> NDArray[np.int64] | None:
    """Indices of the rows of the domain whose `nodes`-th row is free first; ties to the one with more free before."""
    order = np.lexsort((tie, at, domain))
    starts = np.flatnonzero(np.diff(domain[order], prepend=-1))
    sizes = np.diff(np.append(starts, len(order)))
    starts = starts[sizes >= nodes]
    if not len(starts):
        return None
    spans = starts[:, None] + np.arange(nodes)
    times = at[order[spans]]
    finite = np.where(np.isinf(times), 0.0, times).sum(axis=1) / nodes
    unknown = np.isinf(times).sum(axis=1)
    best = np.lexsort((tie[order[starts]], finite, times[:, -1], unknown))[0]
    found: NDArray[np.int64] = order[spans[best]]
    return found
