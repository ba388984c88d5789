"""Nodes that are doubtful are the last choice: they fit, but work that starts there may have to leave again."""

from collections.abc import Collection

import numpy as np
from godwit.scheduler.asks import Ask
from godwit.scheduler.cluster import Cluster
from godwit.scheduler.fits import Rows, Scorer
from numpy.typing import NDArray

WORSE = np.int64(2**29)
"""More than any score may be, and few enough bits that the key of a row stays below `fits.NEVER`."""


class Avoiding:
    """A scorer that puts some nodes behind all others, in the order in which another scorer has them."""

    def __init__(self, scorer: Scorer, cluster: Cluster, nodes: Collection[str]) -> None:
        self._scorer = scorer
        self._rows = np.array(sorted(cluster.row_of[name] for name in nodes if name in cluster.row_of), np.int64)

    def __call__(self, cluster: Cluster, rows: Rows, ask: Ask) -> NDArray[np.int64]:
        """See `fits.Scorer`; scores of what is avoided are beyond its bound, and below twice that."""
        scores = self._scorer(cluster, rows, ask)
        return np.where(np.isin(rows, self._rows), np.maximum(scores, 0) + WORSE, scores)
