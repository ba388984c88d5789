"""What is free on each node, on paper: a copy of a cluster's books that moves are tried on."""

import numpy as np
from godwit.scheduler.cluster import Cluster
from godwit.scheduler.demands import Demand, Running
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Room:
    """Free capacity by row. What is booked here the cluster does not hear of."""

    def __init__(self, cluster: Cluster, of: "Room | None" = None) -> None:
        """`of`: another room to begin with, instead of what is free now."""
        self._cluster, size = cluster, cluster.size
        source: Cluster | Room = cluster if of is None else of
        self.free: NDArray[np.int32] = source.free[:size].copy()
        self.cpu: Integers = source.cpu[:size].copy()
        self.memory: Integers = source.memory[:size].copy()

    def give(self, running: Running) -> None:
        """What it holds is free."""
        for share in running.shares:
            row = self._cluster.row_of[share.node_id]
            self.free[row, list(share.gpus)] += share.gpu_milli
            self.cpu[row] += share.cpu_milli
            self.memory[row] += share.memory_mib

    def place(self, demand: Demand, count: int, may: Mask, dear: Integers) -> list[int] | None:
        """Book `count` nodes of a gang on rows that `may`, those first that are least `dear`, then the fullest.

        All within the level that it may not leave; None when they are nowhere together.
        """
        rows = np.flatnonzero(may & self._fits(demand))
        domains = self._cluster.domain[demand.within, rows]
        order = np.lexsort((self._cluster.tie[rows], self.free[rows].sum(axis=1), dear[rows], domains))
        rows, domains = rows[order], domains[order]
        firsts = np.flatnonzero(np.diff(domains, prepend=-1))
        firsts = firsts[np.diff(firsts, append=len(rows)) >= count]
        if not len(firsts):
            return None
        together = [rows[first : first + count] for first in firsts.tolist()]
        chosen: list[int] = min(together, key=lambda some: (int(dear[some].sum()), some.tolist())).tolist()
        for row in chosen:
            self._take(row, demand)
        return chosen

    def _fits(self, demand: Demand) -> Mask:
        ask, cluster = demand.ask, self._cluster
        fits: Mask = cluster.suited(ask)[cluster.kind[: cluster.size]]
        fits = fits & (self.cpu >= ask.cpu_milli) & (self.memory >= ask.memory_mib)
        if ask.gpus:
            fits = fits & ((self.free >= ask.gpu_milli).sum(axis=1) >= ask.gpus)
        # Jobs go to where others stay, and these are of the tenant that is there now.
        return fits & cluster.may_be_of(np.arange(cluster.size), ask.tenant)

    def _take(self, row: int, demand: Demand) -> None:
        ask = demand.ask
        fitting = np.flatnonzero(self.free[row] >= ask.gpu_milli)
        fullest = fitting[np.argsort(self.free[row][fitting], kind="stable")][: ask.gpus]
        self.free[row, fullest] -= ask.gpu_milli
        self.cpu[row] -= ask.cpu_milli
        self.memory[row] -= ask.memory_mib
