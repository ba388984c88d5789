"""The figures: all workloads done, waits by sort, what is used and wasted, and how fast the planner decides.

A unit is a GPU. The fleet is 160 nodes of 8, and at most the 600 units of all quotas are in use: then at most 150 nodes
have less than 5 GPUs free and at most 120 less than 4, so that a medium one and a gang of five always find room and
only quotas bind, as in Kueue's test, which places nothing.

The two baselines stop nobody. That they are done as soon shows what this test weighs: how fast a planner is, and that
it loses no work. What they do not give is a project's own share back when others came first.
"""

from collections.abc import Callable, Iterator
from statistics import mean

from godwit.scheduler.asks import NodeKind
from godwit.scheduler.cluster import Cluster
from godwit.scheduler.engine import Engine
from godwit.scheduler.fair_share import FairShare, Usage
from godwit.scheduler.policies import ByPriority, Nobody, Rank
from godwit.scheduler.quotas import GPUS, Quotas
from godwit.scheduler.reclaim import Reclaim

from benchmarks.figures import Figure, at_most
from benchmarks.quotas import generator
from benchmarks.quotas.generator import COHORTS, KUEUE_S, KUEUE_USED, NOMINAL_UNITS, QUEUES, SORTS
from benchmarks.quotas.replay import Played, Replay

NODES, GPUS_PER_NODE = 160, 8
KIND = NodeKind("H100-SXM", GPUS_PER_NODE, 80.0, 128_000, 1_048_576, "cloud", "region")

PATIENCE_S = 1.0
"""As long as the longest workload runs: what ends by itself within a run's time need not be stopped."""

ENDED_S, LARGE_S = 80.0, 16.5


class _InTurn(ByPriority):
    """A baseline without priorities: first come, first served."""

    def rank(self, demand: object, served_gpu_s: float) -> Rank:  # noqa: ARG002
        return ()


def fair(cohorts: int, patience_s: float = PATIENCE_S) -> Engine:
    """Godwit's: fair shares, own before borrowed, reclaim after `patience_s`; all else as by default."""
    gate = Quotas(generator.queues(cohorts))
    usage = Usage({GPUS: cohorts * QUEUES * NOMINAL_UNITS * 1000}, gate)
    reclaim = Reclaim(gate, patience_s=patience_s)
    return Engine(_cluster(), order=FairShare(usage, gate), gate=usage, yielding=reclaim)


def measure() -> Iterator[Figure]:
    """Godwit's run with its goals, the same that stops others at once, and two that stop nobody."""
    work_s = sum(sort.count * sort.units * sort.runs_ms for sort in SORTS) / 1000 / NOMINAL_UNITS
    least = f"published; the least possible is {work_s:.0f} s of work at full quota"
    yield Figure("quotas: Kueue, all workloads done", KUEUE_S, "s", note=least)
    yield from _figures("fair, claims after 1 s", play(fair), with_goals=True)
    yield from _figures("fair, claims at once", play(lambda cohorts: fair(cohorts, 0.0)), with_goals=True)
    yield from _figures("priorities, nobody stopped", play(_plain(ByPriority())))
    yield from _figures("in turn, nobody stopped", play(_plain(_InTurn())))


def play(engine: Callable[[int], Engine], cohorts: int = COHORTS, per_mille: int = 1000) -> Played:
    """One run of the generator's workloads; `cohorts` and `per_mille` make it smaller."""
    return Replay(engine(cohorts), generator.workloads(cohorts, per_mille)).run()


def _plain(order: ByPriority) -> Callable[[int], Engine]:
    return lambda cohorts: Engine(_cluster(), order=order, gate=Quotas(generator.queues(cohorts)), yielding=Nobody())


def _cluster() -> Cluster:
    cluster = Cluster(GPUS_PER_NODE)
    for number in range(NODES):
        cluster.add(f"node-{number:03}", KIND)
    return cluster


def _figures(name: str, played: Played, *, with_goals: bool = False) -> Iterator[Figure]:
    units = COHORTS * QUEUES * NOMINAL_UNITS
    label = f"quotas: {name}"
    goal = at_most(ENDED_S) if with_goals else None
    note = f"15,000 workloads; {played.evictions} stopped, {played.wasted_unit_s / played.unit_s:.1%} of work lost"
    yield Figure(f"{label}, all done", played.ended_s, "s", goal, note)
    for sort in SORTS:
        goal = at_most(LARGE_S) if with_goals and sort.name == "large" else None
        note = f"to the last admission; Kueue {sort.kueue_s:.1f} s"
        yield Figure(f"{label}, mean wait of {sort.name}", waited_s(played, sort.name), "s", goal, note)
    used = played.unit_s / units / played.ended_s
    yield Figure(f"{label}, quota used", used, "", note=f"by work that counted; Kueue {KUEUE_USED}")
    share = played.planner_s / played.ended_s
    note = f"{played.planner_s:.1f} s of the time is the planner's ({share:.1%}), slowest pass "
    note += f"{played.slowest_pass_s * 1000:.0f} ms"
    yield Figure(f"{label}, starts", played.starts / played.planner_s, "/s", note=note)


def waited_s(played: Played, sort: str) -> float:
    """Mean time to the last admission of a sort of workloads."""
    return mean(waited for job_id, waited in played.admitted_s.items() if f"-{sort}-" in job_id)
