"""Which running jobs must stop so that a gang fits, at the least cost: the search behind every way of giving way.

First all rows at once: on each, those who may be taken are added in order of cost per GPU until there are enough GPUs,
which says what the row costs at best. Then the cheapest rows near enough to each other are looked at device by device,
CPUs and memory too. Last, whoever turns out not to be needed is let go, the most expensive first.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from godwit.scheduler.asks import WHOLE, Ask
from godwit.scheduler.cluster import Cluster, Share
from godwit.scheduler.demands import Demand
from godwit.scheduler.engine import Engine
from godwit.scheduler.fits import NEVER
from godwit.scheduler.holdings import Holdings, Mask
from numpy.typing import NDArray

Integers = NDArray[np.int64]

_DEAR = np.int64(2**61)
"""More than any row costs: it cannot be cleared."""

_DOMAINS_MAX = 4
"""Domains that are looked at device by device, cheapest first: a bound on the work of one decision."""


@dataclass(frozen=True, slots=True)
class Clearing:
    """Who must stop, by name; where the gang then fits; and the thousandths of GPU x seconds that this costs."""

    job_ids: tuple[str, ...]
    node_ids: tuple[str, ...]
    cost: int


def find(engine: Engine, held: Holdings, demand: Demand, may: Mask, cost: Integers) -> Clearing | None:
    """The cheapest way found for `demand` to fit; None when there is none.

    `may` and `cost` are by slot of `held`: who may be taken, and what stopping it costs. `held` is fresh.
    """
    if not may.any():
        return None
    rows, row_cost = _rows(engine, held, demand, may, cost)
    if len(rows) < demand.nodes_min:
        return None
    for candidates in _domains(engine.cluster, demand, rows, row_cost):
        chosen = _Chosen(engine, held, demand.ask, may, cost)
        if sum(chosen.add(row) for row in _until(candidates, chosen, demand.nodes_min)) == demand.nodes_min:
            return chosen.pruned()
    return None


def _until(rows: list[int], chosen: "_Chosen", nodes: int) -> Iterator[int]:
    for row in rows:
        if len(chosen.rows) == nodes:
            return
        yield row


def _rows(engine: Engine, held: Holdings, demand: Demand, may: Mask, cost: Integers) -> tuple[Integers, Integers]:
    """Rows that could be cleared as far as GPUs go, and what each costs at best: nothing where the ask fits already."""
    cluster, ask, size = engine.cluster, demand.ask, engine.cluster.size
    fits = engine.fits(ask)
    takeable = np.flatnonzero(may[held.share_job])
    there = cluster.free[:size]
    usable = (there == WHOLE).sum(axis=1) * WHOLE if ask.gpu_milli == WHOLE else there.sum(axis=1)
    freed = np.bincount(held.share_row[takeable], held.share_milli[takeable], minlength=size)[:size]
    is_open = cluster.open[:size] & fits.suited[cluster.kind[:size]] & (usable + freed >= ask.total_milli)
    others = [row for row, job_id in cluster.held.items() if job_id != demand.job_id]
    is_open[others] = False
    # Of a row that is another tenant's everybody must go: room beside those who stay is of no use.
    all_may_go = np.bincount(held.share_row[takeable], minlength=size)[:size] == cluster.jobs[:size]
    is_open &= cluster.may_be_of(np.arange(size), ask.tenant) | all_may_go
    fitting = fits.key[:size] < NEVER
    if not (is_open & ~fitting).any():
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    rows_cost = _cheapest(held, takeable, cost, ask.total_milli - usable, is_open & ~fitting)
    rows_cost[fitting & is_open] = 0
    rows = np.flatnonzero(rows_cost < _DEAR)
    return rows, rows_cost[rows]


def _cheapest(held: Holdings, takeable: Integers, cost: Integers, short: NDArray[np.int64], wanted: Mask) -> Integers:
    """By row, the cost of enough of its takeable shares to free what it is short of, cheapest per GPU first."""
    takeable = takeable[wanted[held.share_row[takeable]] & (held.share_milli[takeable] > 0)]
    row, milli, of = held.share_row[takeable], held.share_milli[takeable], cost[held.share_job[takeable]]
    order = np.lexsort((milli, of / milli, row))
    row, milli, of = row[order], milli[order], of[order]
    firsts = np.flatnonzero(np.diff(row, prepend=-1))
    total, paid = np.cumsum(milli), np.cumsum(of)
    before = np.repeat(firsts, np.diff(firsts, append=len(row)))
    so_far, spent = total - (total - milli)[before], paid - (paid - of)[before]
    found = np.full(len(wanted), _DEAR)
    enough = np.flatnonzero(so_far >= short[row])
    np.minimum.at(found, row[enough], spent[enough])
    return found


def _domains(cluster: Cluster, demand: Demand, rows: Integers, row_cost: Integers) -> Iterator[list[int]]:
    """For each domain with enough rows its rows, cheapest first; the domain in which the gang is cheapest first."""
    domain = cluster.domain[demand.within, rows]
    order = np.lexsort((cluster.tie[rows], row_cost, domain))
    rows, row_cost, domain = rows[order], row_cost[order], domain[order]
    firsts = np.flatnonzero(np.diff(domain, prepend=-1))
    counts = np.diff(firsts, append=len(domain))
    paid = np.concatenate(([0], np.cumsum(row_cost)))
    is_large = counts >= demand.nodes_min
    firsts, counts = firsts[is_large], counts[is_large]
    price = paid[firsts + demand.nodes_min] - paid[firsts]
    for number in np.lexsort((cluster.tie[rows[firsts]], price))[:_DOMAINS_MAX]:
        first = firsts[number]
        yield rows[first : first + counts[number]].tolist()


class _Chosen:
    """Rows that hold the gang once some jobs have stopped. Costs nothing for a job that stops anyway."""

    def __init__(self, engine: Engine, held: Holdings, ask: Ask, may: Mask, cost: Integers) -> None:
        self.rows: list[int] = []
        self._engine, self._held, self._ask, self._may, self._cost = engine, held, ask, may, cost
        self._stops: dict[str, int] = {}
        self._on: dict[int, dict[str, Share]] = {}

    def add(self, row: int) -> bool:
        """Take one more row, with those who must stop on it; false when even all of them are not enough."""
        before = dict(self._stops)
        for _, job_id, slot in sorted(self._candidates(row)):
            if self._fits(row):
                break
            self._stops[job_id] = slot
        if not self._fits(row):
            self._stops = before
            return False
        self.rows.append(row)
        return True

    def pruned(self) -> Clearing:
        """Without those who are not needed: a later one may have freed more than was missing."""
        for job_id in sorted(self._stops, key=lambda job_id: (-self._cost_of(job_id), job_id)):
            slot = self._stops.pop(job_id)
            if not all(self._fits(row) for row in self.rows if job_id in self._on[row]):
                self._stops[job_id] = slot
        node_ids = tuple(self._engine.cluster.ids[row] for row in self.rows)
        return Clearing(tuple(sorted(self._stops)), node_ids, sum(self._cost_of(job_id) for job_id in self._stops))

    def _cost_of(self, job_id: str) -> int:
        return int(self._cost[self._stops[job_id]])

    def _candidates(self, row: int) -> Iterator[tuple[float, str, int]]:
        """Who may stop on a row, with what that costs per GPU freed there; remembers what each of them holds on it."""
        held, node_id = self._held, self._engine.cluster.ids[row]
        on = self._on[row] = {}
        for number in np.flatnonzero((held.share_row == row) & self._may[held.share_job]).tolist():
            slot = int(held.share_job[number])
            job_id = held.ids[slot]
            on[job_id] = next(s for s in self._engine.running[job_id].shares if s.node_id == node_id)
            if job_id not in self._stops:
                yield self._cost[slot] / max(1, int(held.share_milli[number])), job_id, slot

    def _fits(self, row: int) -> bool:
        """Whether the ask fits on a row without those who stop."""
        cluster, ask = self._engine.cluster, self._ask
        stays = int(cluster.jobs[row]) - sum(job_id in self._stops for job_id in self._on[row])
        if stays and not np.all(cluster.may_be_of(np.array([row]), ask.tenant)):
            return False
        free, cpu, memory = cluster.free[row].copy(), int(cluster.cpu[row]), int(cluster.memory[row])
        for job_id, share in self._on[row].items():
            if job_id in self._stops:
                free[list(share.gpus)] += share.gpu_milli
                cpu, memory = cpu + share.cpu_milli, memory + share.memory_mib
        least = WHOLE if ask.gpu_milli == WHOLE else ask.gpu_milli
        return cpu >= ask.cpu_milli and memory >= ask.memory_mib and int((free >= least).sum()) >= ask.gpus
