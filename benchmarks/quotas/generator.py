"""Kueue's generator of workloads for its scheduler's performance test, and what Kueue itself needs for them.

Set-up: kubernetes-sigs/kueue, `test/performance/scheduler/configs/baseline/generator.yaml` (2026-06): 5 cohorts of 6
queues; each queue has 20 units of its own, may borrow 100, reclaims within its cohort from any, and passes what is of
lower priority of its own. A set of workloads creates one after each interval, the first one interval after the start.

Kueue's own figures (`configs/baseline/rangespec.yaml` there, averages of five runs): 351.1 s in all, queues used to
58.7% of their quota, and a mean time to admission of 6.7 s (large), 76.8 s (medium) and 215.5 s (small). Its runner
counts the last admission of a workload that was evicted, and an evicted workload starts from nothing; so does ours.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from godwit.scheduler.accounts import Limit, Quota
from godwit.scheduler.asks import Ask
from godwit.scheduler.cluster import ANYWHERE
from godwit.scheduler.demands import Demand
from godwit.scheduler.quotas import GPUS

COHORTS, QUEUES, NOMINAL_UNITS, BORROW_UNITS = 5, 6, 20, 100


@dataclass(frozen=True)
class Sort:
    """A sort of workloads: `nodes` nodes with `gpus` GPUs each, a unit being one GPU."""

    name: str
    count: int
    every_ms: int
    runs_ms: int
    priority: int
    nodes: int
    gpus: int
    kueue_s: float

    @property
    def units(self) -> int:
        """Units that one takes of its quota."""
        return self.nodes * self.gpus


SORTS = (
    Sort("small", 350, 100, 200, 50, 1, 1, 215.468),
    Sort("medium", 100, 500, 500, 100, 1, 5, 76.768),
    Sort("large", 50, 1200, 1000, 200, 5, 4, 6.666),
)
"""A large one is a gang of five nodes; `kueue_s` is Kueue's mean time to admission."""

KUEUE_S, KUEUE_USED = 351.116, 0.587


@dataclass(frozen=True)
class Workload:
    """One workload that comes at `at_s`."""

    sort: Sort
    demand: Demand
    at_s: float


def queues(cohorts: int = COHORTS) -> Iterator[Quota]:
    """The quota of each queue."""
    limit = Limit(NOMINAL_UNITS * 1000, borrow_max=BORROW_UNITS * 1000)
    for cohort in range(cohorts):
        for queue in range(QUEUES):
            yield Quota(f"cohort-{cohort}-queue-{queue}", {GPUS: limit}, f"cohort-{cohort}")


def workloads(cohorts: int = COHORTS, per_mille: int = 1000) -> list[Workload]:
    """All of them in the order of their coming; `per_mille` of each sort for a quick look."""
    found = []
    for quota in queues(cohorts):
        for sort in SORTS:
            for number in range(sort.count * per_mille // 1000):
                at_s = (number + 1) * sort.every_ms / 1000
                name = f"{quota.project}-{sort.name}-{number:03}"
                demand = Demand(
                    name, Ask(sort.gpus), at_s, sort.nodes, sort.nodes, ANYWHERE, quota.project, sort.priority
                )
                found.append(Workload(sort, demand, at_s))
    return sorted(found, key=lambda workload: (workload.at_s, workload.demand.job_id))
