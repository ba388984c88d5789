"""The placements that are compared: ours with what it may know, and those that need to know nothing."""

from collections.abc import Sequence

import numpy as np
from godwit.scheduler.asks import Ask
from godwit.scheduler.cluster import Cluster
from godwit.scheduler.fits import Rows, Scorer, best_fit
from godwit.scheduler.fragmentation import Adapting, Workload
from numpy.typing import NDArray

from benchmarks.openb.replay import Judge


def told(listed: Sequence[Ask]) -> Judge:
    """Fragmentation-aware, knowing from the start how often each ask comes in the whole list, as published."""
    adapting = Adapting(Workload(listed))
    return lambda cluster, _: adapting.scorer(cluster)


def learning() -> Judge:
    """Fragmentation-aware, knowing only what arrived so far, as in production."""
    adapting = Adapting(Workload())

    def judge(cluster: Cluster, ask: Ask) -> Scorer | None:
        adapting.workload.asked(ask)
        return adapting.scorer(cluster)

    return judge


def always(scorer: Scorer) -> Judge:
    """The same scorer for every pod."""
    once = [scorer]
    return lambda _cluster, _ask: once.pop() if once else None


def first_fit(cluster: Cluster, rows: Rows, ask: Ask) -> NDArray[np.int64]:  # noqa: ARG001 - a Scorer
    """The first node that fits."""
    return rows.astype(np.int64)


def at_random(cluster: Cluster, rows: Rows, ask: Ask) -> NDArray[np.int64]:
    """Any node that fits: a hash of the node, what is free on it, and the ask."""
    seed = np.uint64((ask.gpus * 31 + ask.gpu_milli) * 1_000_003 + ask.cpu_milli + ask.memory_mib)
    state = cluster.tie[rows].astype(np.uint64) * np.uint64(2_654_435_761) + cluster.cpu[rows].astype(np.uint64)
    mixed = (state ^ seed) * np.uint64(0x9E3779B97F4A7C15)
    return (mixed >> np.uint64(36)).astype(np.int64)


BASELINES: dict[str, Scorer] = {"best-fit": best_fit, "first-fit": first_fit, "random": at_random}
"""By the name that is printed."""
