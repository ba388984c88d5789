"""Mean job completion times of the elastic workloads under each policy, beside the published ones."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.figures import Figure, at_most
from benchmarks.pollux import fairness, policies, replay, tables
from benchmarks.pollux.replay import Job, Outcome, Policy
from benchmarks.pollux.tables import Application, Submission

WORKLOADS = (1, 2, 3, 6)

PUBLISHED_H = {"Pollux": (0.580, 0.923, 0.608, 0.679), "Tiresias, tuned jobs": (0.687, 1.429, 1.077, 0.964)}
"""Mean JCT of these workloads in the results that the authors published with their simulator (petuum/adaptdl, branch
osdi21-artifact, simulator/results-jobload), by the names of the workloads there."""

GOAL_H = 0.81
"""The mean that this row was given for Pollux (0.92, 1.00, 0.76, 0.58); by the names in that file it had 0.70."""

PLANNER_S_MAX = 1.0
"""A decision is due each simulated minute, and must leave the planner time for everything else."""

Jobs = Callable[[Sequence[Submission], Mapping[str, Application]], list[Job]]


@dataclass(frozen=True)
class Contender:
    """A policy, the jobs that it is for, and what one must know of it."""

    name: str
    policy: Callable[[], Policy]
    jobs: Jobs
    note: str = "baseline"


CONTENDERS = (
    Contender(
        "godwit, jobs declare no total", lambda: policies.godwit(totals=False), replay.elastic, "as Pollux knows it"
    ),
    Contender("Pollux's objective, greedy", lambda: fairness.fair_speedups, replay.elastic),
    Contender("equal shares", lambda: policies.equal_shares, replay.elastic),
    Contender("Tiresias, tuned jobs", policies.tiresias, replay.rigid),
    Contender(
        "shortest first, oracle, tuned jobs", lambda: policies.fixed(policies.remaining, backfill=True), replay.rigid
    ),
    Contender("FIFO, tuned jobs", lambda: policies.fixed(policies.arrival), replay.rigid),
)


def measure(workloads: Sequence[int] = WORKLOADS) -> Iterator[Figure]:
    """The mean over `workloads` of the mean JCT, godwit's first, then the published ones and the baselines of this run.

    About a minute for all four workloads on one core, a quarter of it for one of them.
    """
    ours = Contender("godwit", policies.godwit, replay.elastic)
    outcomes = _outcomes(ours, workloads)
    slowest_s = max(outcome.planner_s_max for outcome in outcomes)
    yield Figure("pollux: mean JCT, godwit", _mean_h(outcomes), "h", at_most(GOAL_H), _each(outcomes))
    yield Figure("pollux: slowest decision of a minute", slowest_s, "s", at_most(PLANNER_S_MAX))
    for name, hours in PUBLISHED_H.items():
        chosen = [hours[WORKLOADS.index(number)] for number in workloads]
        yield Figure(f"pollux: mean JCT, {name}, published", sum(chosen) / len(chosen), "h", note="not of this run")
    for contender in CONTENDERS:
        found, name = _outcomes(contender, workloads), contender.name
        yield Figure(f"pollux: mean JCT, {name}", _mean_h(found), "h", note=f"{contender.note}: {_each(found)}")


def _outcomes(contender: Contender, workloads: Sequence[int]) -> list[Outcome]:
    known = tables.applications()
    return [replay.run(contender.jobs(tables.workload(number), known), contender.policy()) for number in workloads]


def _mean_h(outcomes: Sequence[Outcome]) -> float:
    return sum(outcome.mean_h for outcome in outcomes) / len(outcomes)


def _each(outcomes: Sequence[Outcome]) -> str:
    hours = " ".join(f"{outcome.mean_h:.2f}" for outcome in outcomes)
    return f"each {hours}; {sum(outcome.restarts for outcome in outcomes)} restarts"
