"""Where one ask fits, and how well, for every node at once; kept true by looking only at the rows that changed."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from godwit.scheduler import gravity
from godwit.scheduler.asks import WHOLE, Ask
from godwit.scheduler.cluster import LEVELS, Cluster
from numpy.typing import NDArray

Rows = NDArray[np.int64]

NEVER = np.int64(2**62)
"""The key of a row on which the ask does not fit."""

LAST = NEVER >> 1
"""Keys from here on are of rows that are the last choice: see `avoidance`, and what others lend."""

_TIE_BITS = 32


class Scorer(Protocol):
    """How good a node is for an ask, where it fits."""

    def __call__(self, cluster: Cluster, rows: Rows, ask: Ask) -> NDArray[np.int64]:
        """A score per row, less is better, of magnitude below 2**29. Must depend on these rows and the ask alone."""
        ...


def best_fit(cluster: Cluster, rows: Rows, ask: Ask) -> NDArray[np.int64]:
    """What is left of the node's GPUs, then its price, then what is left of its CPUs: full and cheap nodes come first.

    14 bits of thousandths of GPUs, 10 of tenths of dollars an hour, 5 of CPUs in tens.
    """
    left: NDArray[np.int64] = cluster.free[rows].sum(axis=1, dtype=np.int64) - ask.total_milli
    price = np.minimum(1023, cluster.price[cluster.kind[rows]])
    return (np.minimum(16_383, left) << 15) | (price << 5) | np.minimum(31, cluster.cpu[rows] // 10_000)


class Fits:
    """One ask against a cluster. Read `key` and the counts only after `refresh`.

    `key[row]` orders the rows on which the ask fits, best first: the score, and below it a hash of the node's id, so
    that the choice does not depend on the order in which nodes were added. `count[level][domain]` is how many rows of a
    domain fit, `most[level]` the largest of these.
    """

    def __init__(self, cluster: Cluster, ask: Ask, scorer: Scorer) -> None:
        self.ask = ask
        self._cluster, self._scorer = cluster, scorer
        self._read = -1
        self._suited = cluster.suited(ask)
        self.key = np.full(0, NEVER)
        self.count = [np.zeros(0, np.int64) for _ in LEVELS]
        self.most = [0] * len(LEVELS)

    def refresh(self) -> "Fits":
        """Look at what changed since the last time."""
        rows, self._read = self._cluster.changed_since(self._read)
        if len(rows):
            self._widen()
            self._look(rows)
        return self

    @property
    def suited(self) -> NDArray[np.bool_]:
        """For every kind of node, whether its empty nodes would do."""
        return self._suited

    @property
    def next_to_data(self) -> NDArray[np.bool_] | None:
        """For every row, whether it lies where the ask's data lies; None for an ask that reads nothing."""
        data, cluster = self.ask.data, self._cluster
        if not data:
            return None
        home = np.array([gravity.is_home(data, kind.provider, kind.region) for kind in cluster.kinds], np.bool_)
        near: NDArray[np.bool_] = home[cluster.kind[: len(self.key)]]
        return near

    def fitting(self) -> Rows:
        """The rows that fit."""
        return np.flatnonzero(self.key < NEVER)

    def best(self) -> int | None:
        """The best row, if any fits."""
        if not self.most[-1]:
            return None
        return int(np.argmin(self.key))

    def keys_for(self, job_id: str, lent: Sequence[int] = (), stood_on: Sequence[str] = ()) -> NDArray[np.int64]:
        """`key`, with the rows that are kept for this job besides, and those that others lend it.

        Where it stood before comes before what is merely free, unless that is the last choice for anybody.
        """
        cluster = self._cluster
        mine = np.array([row for row, holder in cluster.held.items() if holder == job_id], np.int64)
        theirs = np.array(lent, np.int64)
        mine, theirs = mine[self._has_room(mine)], theirs[self._has_room(theirs)]
        known = np.array([cluster.row_of[node_id] for node_id in stood_on if node_id in cluster.row_of], np.int64)
        before = known[self.key[known] < LAST]
        if not len(mine) and not len(theirs) and not len(before):
            return self.key
        key = self.key.copy()
        key[before] = cluster.tie[before] - (1 << _TIE_BITS)
        key[theirs] = cluster.tie[theirs] | LAST  # worse than anything that nobody waits for
        key[mine] = cluster.tie[mine] - (1 << _TIE_BITS)  # better than anything else
        return key

    def _look(self, rows: Rows) -> None:
        fit = self._has_room(rows)
        if self._cluster.held:
            held = self._cluster.held
            fit &= np.fromiter((int(row) not in held for row in rows), np.bool_, len(rows))
        was = self.key[rows] < NEVER
        self.key[rows] = NEVER
        good = rows[fit]
        if len(good):
            scores = self._scorer(self._cluster, good, self.ask)
            self.key[good] = (scores << _TIE_BITS) | self._cluster.tie[good]
        if (fit != was).any():
            self._count(rows[fit & ~was], 1)
            self._count(rows[was & ~fit], -1)
            self.most = [int(count.max(initial=0)) for count in self.count]

    def _has_room(self, rows: Rows) -> NDArray[np.bool_]:
        cluster, ask = self._cluster, self.ask
        if len(self._suited) != len(cluster.kinds):
            self._suited = cluster.suited(ask)
        fit = cluster.open[rows] & self._suited[cluster.kind[rows]]
        fit &= (cluster.cpu[rows] >= ask.cpu_milli) & (cluster.memory[rows] >= ask.memory_mib)
        if ask.gpus:
            enough = cluster.free[rows] >= (WHOLE if ask.gpu_milli == WHOLE else ask.gpu_milli)
            fit &= enough.sum(axis=1) >= ask.gpus
        fit &= cluster.may_be_of(rows, ask.tenant)
        return fit

    def _count(self, rows: Rows, sign: int) -> None:
        for level, count in enumerate(self.count):
            np.add.at(count, self._cluster.domain[level, rows], sign)

    def _widen(self) -> None:
        more = len(self._cluster.cpu) - len(self.key)
        if more:
            self.key = np.pad(self.key, (0, more), constant_values=NEVER)
        for level, count in enumerate(self.count):
            short = self._cluster.domains(level) - len(count)
            if short > 0:
                self.count[level] = np.pad(count, (0, short))
