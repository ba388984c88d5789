"""Which nodes a gang gets: all of it or none, as near to each other as can be, where it breaks the least.

The nearest level at which any domain holds the whole gang wins (NVLink, then rack, then fabric, then region); there the
domain with the fewest fitting nodes (best fit: large domains stay whole for large gangs); in it the nodes with the best
keys. Nodes next to the gang's data come before all others, and doubtful ones behind those that are farther apart.
"""

import numpy as np
from godwit.scheduler.cluster import Cluster
from godwit.scheduler.demands import Demand
from godwit.scheduler.fits import LAST, NEVER, Fits
from numpy.typing import NDArray


def find(cluster: Cluster, fits: Fits, demand: Demand, key: NDArray[np.int64] | None = None) -> list[int] | None:
    """Rows for a gang, best first, none farther apart than `demand.within`; None when nowhere.

    An elastic gang gets as many nodes as any domain has, up to what it takes. `fits` is fresh; `key` stands in for its
    own where a job has nodes kept for it. A gang that reads data is placed next to it where that can be.
    """
    near = fits.next_to_data
    if near is not None:
        there = _find_by(cluster, np.where(near, fits.key if key is None else key, NEVER), demand)
        if there is not None:
            return there
    if key is not None and key is not fits.key:
        is_doubtful = (fits.key >= LAST) & (fits.key < NEVER)
        sound = np.where(is_doubtful, NEVER, key)
        return _find_by(cluster, sound, demand) or _find_by(cluster, key, demand)
    nodes = min(demand.nodes_max, fits.most[demand.within])
    if nodes < demand.nodes_min:
        return None
    if nodes == 1:
        row = fits.best()
        return None if row is None else [row]
    sound = np.where(fits.key < LAST, fits.key, NEVER)
    if np.array_equal(sound, fits.key):
        level = next(level for level, most in enumerate(fits.most) if most >= nodes)
        return _in_domain(cluster, fits.key, fits.count[level], level, nodes)
    return _find_by(cluster, sound, demand) or _find_by(cluster, fits.key, demand)


def _find_by(cluster: Cluster, key: NDArray[np.int64], demand: Demand) -> list[int] | None:
    rows = np.flatnonzero(key < NEVER)
    counts = [
        np.bincount(cluster.domain[level, rows], minlength=cluster.domains(level)) for level in range(demand.within + 1)
    ]
    nodes = min(demand.nodes_max, int(counts[-1].max(initial=0)))
    if nodes < demand.nodes_min:
        return None
    level = next(level for level, count in enumerate(counts) if count.max() >= nodes)
    return _in_domain(cluster, key, counts[level], level, nodes)


def _in_domain(cluster: Cluster, key: NDArray[np.int64], count: NDArray[np.int64], level: int, nodes: int) -> list[int]:
    """The best rows of the fullest domain that holds them. Ties between domains fall to the one with the best row."""
    domain = cluster.domain[level, : len(key)]
    fitting = np.where(count >= nodes, count, np.iinfo(np.int64).max)
    is_fullest = fitting == fitting.min()
    rows = np.flatnonzero(is_fullest[domain] & (key < NEVER))
    chosen = domain[rows[np.argmin(key[rows])]]
    rows = rows[domain[rows] == chosen]
    return [int(row) for row in rows[np.argsort(key[rows], kind="stable")[:nodes]]]
