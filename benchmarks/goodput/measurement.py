"""Runs the scenarios under everybody who answers, and makes figures of what came out."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from statistics import fmean, median

from benchmarks.figures import Figure, Goal, at_least, at_most
from benchmarks.goodput.baselines import Hourly, Oracle, RebootOnXid, Requeue
from benchmarks.goodput.godwit import Godwit
from benchmarks.goodput.inputs import NODE_USD_PER_HOUR
from benchmarks.goodput.responder import Responder
from benchmarks.goodput.scenario import TOTAL, Fleet
from benchmarks.goodput.tally import PHASES, Tally
from benchmarks.goodput.world import World

SEEDS = 20


@dataclass(frozen=True)
class Scenario:
    """A fleet and what is asked of it: the least mean ETTR, and how far from the oracle's it may be."""

    fleet: Fleet
    least: float
    of_oracle: float | None = None


SCENARIOS: tuple[Scenario, ...] = (
    Scenario(Fleet("Llama 3 mix, 2,048 nodes", 2_048, 384, 8, TOTAL), 0.97, 0.012),
    Scenario(Fleet("512 nodes", 512, 128, 4), 0.98),
    Scenario(Fleet("128 nodes", 128, 128, 2), 0.985),
)
"""Fabric domains of 3,072 GPUs as in Llama 3's cluster (arXiv 2407.21783, section 3.3.1), and of 1,024."""

WRONG_SHARE = 0.05

BASELINES: tuple[Callable[[], Responder], ...] = (Hourly, Requeue, RebootOnXid, Oracle)


def measure(scenarios: Sequence[Scenario] = SCENARIOS, seeds: int = SEEDS) -> Iterator[Figure]:
    """Every scenario, `seeds` times, under godwit and under each baseline in the same worlds."""
    for scenario in scenarios:
        yield from _of(scenario, seeds)


def _of(scenario: Scenario, seeds: int) -> Iterator[Figure]:
    fleet = scenario.fleet
    ours, *theirs = (_runs(fleet, made, seeds) for made in (Godwit, *BASELINES))
    others = {made().name: runs for made, runs in zip(BASELINES, theirs, strict=True)}
    yield from _ratios(scenario, ours, others)
    yield from _times(fleet, ours)
    yield from _mistakes(fleet, ours)
    yield from _costs(fleet, ours)


def _runs(fleet: Fleet, made: Callable[[], Responder], seeds: int) -> list[Tally]:
    """One run for each seed; several at a time where there are cores for it, since runs share nothing."""
    if seeds == 1:
        return [_run(fleet, made, 0)]
    with ProcessPoolExecutor(min(seeds, os.cpu_count() or 1)) as pool:
        return list(pool.map(partial(_run, fleet, made), range(seeds)))


def _run(fleet: Fleet, made: Callable[[], Responder], seed: int) -> Tally:
    return World(fleet, seed, made()).live()


def _ratios(scenario: Scenario, ours: Sequence[Tally], others: dict[str, list[Tally]]) -> Iterator[Figure]:
    name = f"goodput {scenario.fleet.name}"
    mean = fmean(run.ettr for run in ours)
    worst = sorted(run.ettr for run in ours)[int(0.05 * len(ours))]
    runs = f"{len(ours)} seeds of {scenario.fleet.days:.0f} days"
    yield Figure(f"{name}: ETTR, mean", mean, "", at_least(scenario.least), f"{mean:.4f}; {runs}")
    yield Figure(f"{name}: ETTR, 5th percentile", worst, "", note=f"{worst:.4f}")
    for other, found in others.items():
        value = fmean(run.ettr for run in found)
        yield Figure(f"{name}: ETTR, {other}", value, "", note=f"{value:.4f}; baseline")
    below = fmean(run.ettr for run in others[Oracle.name]) - mean
    goal: Goal | None = None if scenario.of_oracle is None else at_most(scenario.of_oracle)
    yield Figure(f"{name}: below the oracle", below, "", goal, "mean ETTR")


def _times(fleet: Fleet, ours: Sequence[Tally]) -> Iterator[Figure]:
    phases = [found for run in ours for outage in run.outages if (found := outage.phases_s) is not None]
    for phase, seconds in zip(PHASES, zip(*phases, strict=True), strict=True):
        note = f"mean {fmean(seconds):.0f} s, of {len(seconds)} outages"
        yield Figure(f"goodput {fleet.name}: time to {phase}, median", median(seconds), "s", note=note)


def _mistakes(fleet: Fleet, ours: Sequence[Tally]) -> Iterator[Figure]:
    name, days = f"goodput {fleet.name}", sum(run.node_days for run in ours)
    evictions = sum(run.evictions for run in ours)
    wrong = Counter(kind for run in ours for kind in run.wrong)
    why = ", ".join(f"{kind} {count}" for kind, count in wrong.most_common(4))
    yield Figure(f"{name}: wrong evictions", 1_000 * wrong.total() / days, "/1,000 node-days", note=why)
    share = wrong.total() / max(1, evictions)
    yield Figure(f"{name}: wrong evictions, share", share, "", at_most(WRONG_SHARE), f"of {evictions} evictions")
    for_program = sum(run.wrong_for_program for run in ours)
    yield Figure(f"{name}: evictions for a program's own fault", for_program, "", at_most(0))
    missed, felt = sum(len(run.missed) for run in ours), sum(run.hardware_felt for run in ours)
    yield Figure(f"{name}: missed faults", missed, "", note=f"of {felt} felt: the job was started on them again")
    by_hand = sum(run.by_hand for run in ours) / len(ours)
    yield Figure(f"{name}: nodes found by hand", by_hand, "a run", note="silent corruption that no check found")
    known = Counter(kind for run in ours for kind in run.onto_known)
    why = ", ".join(f"{kind} {count}" for kind, count in known.most_common(4))
    yield Figure(f"{name}: restarts onto a known-bad node", known.total(), "", at_most(0), why)
    yield Figure(f"{name}: breaker's cap passed", sum(run.cap_exceeded for run in ours), "times", at_most(0))
    yield Figure(f"{name}: breaker trips", sum(run.trips for run in ours) / len(ours), "a run")


def _costs(fleet: Fleet, ours: Sequence[Tally]) -> Iterator[Figure]:
    name = f"goodput {fleet.name}"
    idle = fmean(run.idle_node_s for run in ours)
    usd = idle / 3_600 * NODE_USD_PER_HOUR
    share = idle / (fleet.nodes * fleet.days * 86_400)
    yield Figure(f"{name}: nodes beside the job", usd, "$", note=f"a run; {share:.2%} of the job's own node-hours")
    plans, took_s = sum(run.plans for run in ours), sum(run.policy_s for run in ours)
    yield Figure(f"{name}: a plan", 1_000 * took_s / max(1, plans), "ms CPU", note=f"{plans / len(ours):.0f} a run")
