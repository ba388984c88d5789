"""Mean costs of a 48 h job with 60 h until its deadline, as shares of what it costs on demand, by policy and trace.

A changeover takes 0.2 h, at the price of the new machine; on demand is $3.06 an hour and spot $0.9731. Greedy, Uniform
Progress as published (Wu et al., NSDI'24) and the optimum that knows the future are of the same run. What a policy may
know is what was seen from the beginning of the trace until then.

The traces (Wu et al., github.com/skypilot-org/spot-traces) carry no licence and are not in this repository.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from godwit.scheduler.spot import baselines, policy
from godwit.scheduler.spot.situation import Task

from benchmarks.figures import Figure, Goal, at_least, at_most
from benchmarks.spot import omniscient, replay, series
from benchmarks.spot.replay import Policy, Run
from benchmarks.spot.series import Series

TASK = Task(work_h=48.0, window_h=60.0, changeover_h=0.2, usd_per_hour=3.06)
SPOT_USD_PER_HOUR = 0.9731
SHARE = "of on demand"
ON_DEMAND_USD = TASK.work_h * TASK.usd_per_hour

POLICIES: Mapping[str, Policy] = {
    "godwit": policy.choose,
    "uniform progress": baselines.uniform_progress,
    "greedy": baselines.greedy,
}

PUBLISHED = {"greedy": 0.766, "uniform progress": 0.707, "omniscient": 0.633}
"""The paper's table over all its series, which are more than the four of the public file."""


MAIN, WINDOWS = "avail_1node_aws_2022-10-26_us-west-2a.csv.gz", "cant_be_late_windows.csv.gz"
ZONES, GANG = (
    "avail_1node_aws_2023-02-15_9zones_v100_early.csv.gz",
    "preempt_4node_aws_2023-08-03_3zones_v100_early.csv.gz",
)


@dataclass(frozen=True)
class Case:
    """Jobs that start at `starts` on each of some series, each by itself; and the goal for godwit's mean, if any."""

    name: str
    series: Sequence[Series]
    starts: Sequence[int]
    goal: Goal | None = None


def measure(share: float = 1.0) -> Iterator[Figure]:
    """All rows; a smaller `share` of the jobs for a quick look. Without the traces, none: says so instead."""
    try:
        cases = _cases(share)
    except FileNotFoundError as absent:
        print(f"spot: not measured, since its traces may not be shipped: {absent}", file=sys.stderr)
        return
    for name, published in PUBLISHED.items():
        yield Figure(f"spot, all series of the paper: {name}, published", published, SHARE, note="not of this run")
    for case in cases:
        yield from _rows(case)


def _cases(share: float) -> list[Case]:
    main, zones, gang = series.read(MAIN), series.read(ZONES, every=3), series.read(GANG, machines=4, every=2)
    windows = sorted(series.windows(WINDOWS))[:: round(1 / share)]
    evenly = zones.starts(max(2, round(40 * share)), TASK.window_h)
    of_gang = gang.starts(max(2, round(60 * share)), TASK.window_h)
    return [
        Case("4 series of us-west-2a", [main.one(place) for place in range(4)], windows),
        Case("9 zones, moves between", [zones], evenly, at_most(0.58)),
        Case("9 zones, each alone", [zones.one(place) for place in range(9)], evenly),
        Case("gang of 4 in 3 zones", [gang.one(place) for place in range(3)], of_gang, at_most(0.56)),
    ]


def _rows(case: Case) -> Iterator[Figure]:
    """godwit's mean first, then those that it is measured against, and how much of the gap between them it closes."""
    runs = {name: _runs(case, policy) for name, policy in POLICIES.items()}
    shares = {name: mean(run.usd for run in found) / ON_DEMAND_USD for name, found in runs.items()}
    best = mean(
        omniscient.least_usd(one, start, TASK, SPOT_USD_PER_HOUR) for one in case.series for start in case.starts
    )
    shares["omniscient"] = best / ON_DEMAND_USD
    uniform, late = shares["uniform progress"], sum(not run.in_time for run in runs["godwit"])
    for name, share in shares.items():
        goal = (case.goal or at_most(uniform)) if name == "godwit" else None
        yield Figure(f"spot, {case.name}: {name}", share, SHARE, goal, _note(runs.get(name)))
    third = at_least(1 / 3) if case.goal is None else None
    closed = (uniform - shares["godwit"]) / (uniform - shares["omniscient"])
    yield Figure(f"spot, {case.name}: gap closed", closed, "of uniform to omniscient", third)
    yield Figure(f"spot, {case.name}: deadlines missed", late, "jobs", at_most(0))


def _runs(case: Case, policy: Policy) -> list[Run]:
    found = list[Run]()
    for one in case.series:
        pasts = replay.pasts(one, case.starts)
        found += [
            replay.replay(policy, one, start, TASK, SPOT_USD_PER_HOUR, pasts[start]) for start in sorted(case.starts)
        ]
    return found


def _note(runs: Sequence[Run] | None) -> str:
    if runs is None:
        return "knows the future"
    changeovers = mean(run.changeovers for run in runs)
    return f"{len(runs)} jobs, {changeovers:.0f} changeovers each, {sum(not run.in_time for run in runs)} late"
