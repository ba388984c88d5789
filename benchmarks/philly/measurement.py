"""The Philly replay: completion times of the planner's time sharing, beside policies that know how long jobs run.

The trace (Jeon et al., ATC'19) starts on 2017-09-04; the 28 days from 2017-10-02 are the jobs submitted in
[28 d, 56 d): 46,070. The fleet is 80 (or 72: then it is overloaded, by a factor of 1.04 in submitted GPU time) nodes of
8 GPUs, empty at first. A job of up to 8 GPUs runs on one node, a larger one on whole nodes, as many as it needs.
Completion time is from submission to end, over all jobs; the simulation goes on until the last has ended.

What a stop costs: each start but the first takes 60 s of the whole gang, and what was done since the last checkpoint is
done again; checkpoints are committed every 10 minutes after a start, the 60 s included. Time sharing knows nothing of
durations. The oracles know them to the second. `las-costless` is time sharing where stops cost nothing at all.

`before` are the four weeks before, with other users on half the fleet: what was chosen had to be good there too.
"""

import gzip
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from godwit.scheduler.simulator import fleets, traces
from godwit.scheduler.simulator.outcomes import Summary, summary
from godwit.scheduler.simulator.policies import POLICIES
from godwit.scheduler.simulator.traces import TraceJob
from godwit.scheduler.simulator.world import Stops, World

from benchmarks import traces as shipped
from benchmarks.figures import Figure, Goal, at_most

DAY_S = 86_400.0
FIFO_P99_S = 201_092.0
"""FIFO's p99 on 80 nodes that the row was published with; ours is measured beside it."""

SELF = "time-sharing"
BASELINES = ("fifo", "easy-oracle", "sjf-oracle", "las-costless")


def measure(days: float = 28.0) -> Iterator[Figure]:
    """All rows; `days` less than 28 for a quick look."""
    yield from _on(80, 28.0, days, "80 x 8", at_most(12_000), at_most(FIFO_P99_S), BASELINES)
    yield from _on(72, 28.0, days, "72 x 8", at_most(13_000), None, BASELINES)
    yield from _on(40, 0.0, days, "before, 40 x 8", None, None, ("fifo", "sjf-oracle"))


def _on(
    nodes: int,
    from_day: float,
    days: float,
    where: str,
    mean_goal: Goal | None,
    p99_goal: Goal | None,
    baselines: Sequence[str],
) -> Iterator[Figure]:
    jobs = submitted(from_day, days)
    found = {name: replay(jobs, nodes, name) for name in (SELF, *baselines)}
    told = _beside({name: one.jct_mean_s for name, (one, _) in found.items() if name != SELF})
    ours, wall_s = found[SELF]
    note = f"{ours.jobs:,} jobs; {told}"
    yield Figure(f"philly {where}: mean JCT, time sharing", ours.jct_mean_s, "s", mean_goal, note)
    p99 = {name: one.jct_p99_s for name, (one, _) in found.items() if name != SELF}
    yield Figure(f"philly {where}: p99 JCT, time sharing", ours.jct_p99_s, "s", p99_goal, _beside(p99))
    note = f"of busy GPU time, by {ours.stops:,} stops: restarts and work done again"
    yield Figure(f"philly {where}: lost by stops", 100 * ours.lost_share, "%", None, note)
    note = f"{ours.decisions:,} decisions, {ours.planner_s / ours.decisions * 1e6:,.0f} us each"
    yield Figure(f"philly {where}: the simulation itself", wall_s, "s", at_most(60), note)


def replay(jobs: Sequence[TraceJob], nodes: int, name: str) -> tuple[Summary, float]:
    """One policy on `nodes` of 8 GPUs: its figures, and the seconds that this took."""
    stops = Stops(0.0, 0.0) if name == "las-costless" else Stops(60.0, 600.0)
    began = time.perf_counter()
    policy = POLICIES[name].make(fleets.cluster(fleets.parse([f"{nodes} x P100:8"])), stops.restart_s)
    outcome = World(jobs, policy, stops, timer=time.perf_counter).run(name)
    return summary(outcome), time.perf_counter() - began


def submitted(from_day: float, days: float) -> list[TraceJob]:
    """The jobs of a window of the trace."""
    return traces.window(_all(), from_day * DAY_S, (from_day + days) * DAY_S)


@cache
def _all() -> tuple[TraceJob, ...]:
    with gzip.open(shipped.path("philly", "philly_jobs_2017-09-04_to_2017-10-31.csv.gz"), "rt", newline="") as lines:
        return tuple(traces.read(lines))


def _beside(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:,.0f}" for name, value in values.items())
