"""The lists of nodes and pods of Alibaba's GPU-sharing cluster of 2023 (openb), and arrivals drawn from them.

Source: hkust-adsl/kubernetes-scheduler-simulator, `data/csv` (Apache-2.0), published with Weng et al., "Beware of
Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient Descent" (USENIX ATC'23).
"""

import csv
import gzip
import random
from collections.abc import Sequence

from godwit.scheduler.asks import WHOLE, Ask, NodeKind
from godwit.scheduler.cluster import Cluster

from benchmarks.traces import path

LISTS = (
    "default",
    "cpu100",
    "cpu250",
    "gpushare40",
    "gpushare100",
    "multigpu20",
    "multigpu50",
    "gpuspec10",
    "gpuspec33",
)
"""The lists of pods that ship with the benchmarks: the first is the trace, the others vary one trait of it."""

ARRIVED = 1.3
"""GPUs requested by all arrivals together, by the GPUs that there are (ATC'23, 6.2)."""


def cluster() -> Cluster:
    """The 1,213 nodes with GPUs, empty: 6,212 GPUs of seven models."""
    made = Cluster()
    for row in _rows("openb_node_list_gpu_node"):
        size = (int(row["gpu"]), 0.0, int(row["cpu_milli"]), int(row["memory_mib"]))
        made.add(row["sn"], NodeKind(row["model"], *size, "openb", "openb"))
    return made


def pods(name: str) -> list[Ask]:
    """What each pod of a list asks for, in the order of the list."""
    return [_ask(row) for row in _rows(f"openb_pod_list_{name}")]


def arrivals(listed: Sequence[Ask], capacity_milli: int, seed: int, arrived: float = ARRIVED) -> list[Ask]:
    """The list shuffled, then pods drawn from it with replacement until `arrived` of the capacity is requested.

    A list that asks for more than that by itself loses pods at random instead. This is how the public simulator makes
    its arrivals (there: workload tuning); the draws themselves differ, as its random numbers are those of Go.
    """
    rng = random.Random(seed)
    drawn, most = list(listed), round(capacity_milli * arrived)
    rng.shuffle(drawn)
    requested = sum(ask.total_milli for ask in drawn)
    if requested > most:
        while requested > most:
            requested -= drawn.pop(rng.randrange(len(drawn))).total_milli
        return drawn
    while True:
        ask = rng.choice(listed)
        requested += ask.total_milli
        if requested > most:
            return drawn
        drawn.append(ask)


def _ask(row: dict[str, str]) -> Ask:
    gpus = int(row["num_gpu"])
    models = tuple(sorted(set(filter(None, (row.get("gpu_spec") or "").split("|")))))
    milli = int(row["gpu_milli"]) if gpus else WHOLE
    return Ask(gpus, milli, int(row["cpu_milli"]), int(row["memory_mib"]), models)


def _rows(name: str) -> list[dict[str, str]]:
    with gzip.open(path("openb", f"{name}.csv.gz"), "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
