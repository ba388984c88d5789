"""Which nodes a gang gets: all of it or none, as near to each other as can be, where it breaks the least.

The nearest level at which any domain holds the whole gang wins (NVLink, then rack, then fabric, then region); there the
domain with the fewest fitting nodes (best fit: large domains stay whole for large gangs); in it the nodes with the best
keys.
"""

import numpy as np
from godwit.scheduler.cluster import Cluster
from godwit.scheduler.fits import NEVER, Fits
from numpy.typing import NDArray


def find(
    cluster: Cluster, fits: Fits, nodes: int, within: int, key: NDArray[np.int64] | None = None
) -> list[int] | None:
    """Rows for a gang of `nodes`, best first, none farther apart than level `within`; None when nowhere.

    `fits` is fresh; `key` stands in for its own where a job has nodes kept for it.
    """
    if key is not None and key is not fits.key:
        return _find_kept(cluster, key, nodes, within)
    if fits.most[within] < nodes:
        return None
    if nodes == 1:
        row = fits.best()
        return None if row is None else [row]
    level = next(level for level, most in enumerate(fits.most) if most >= nodes)
    return _in_domain(cluster, fits.key, fits.count[level], level, nodes)


def _find_kept(cluster: Cluster, key: NDArray[np.int64], nodes: int, within: int) -> list[int] | None:
    rows = np.flatnonzero(key < NEVER)
    for level in range(within + 1):
        count = np.bincount(cluster.domain[level, rows], minlength=cluster.domains(level))
        if count.max(initial=0) >= nodes:
            return _in_domain(cluster, key, count, level, nodes)
    return None


def _in_domain(cluster: Cluster, key: NDArray[np.int64], count: NDArray[np.int64], level: int, nodes: int) -> list[int]:
    """The best rows of the fullest domain that holds them. Ties between domains fall to the one with the best row."""
    domain = cluster.domain[level, : len(key)]
    fitting = np.where(count >= nodes, count, np.iinfo(np.int64).max)
    is_fullest = fitting == fitting.min()
    rows = np.flatnonzero(is_fullest[domain] & (key < NEVER))
    chosen = domain[rows[np.argmin(key[rows])]]
    rows = rows[domain[rows] == chosen]
    return [int(row) for row in rows[np.argsort(key[rows], kind="stable")[:nodes]]]
