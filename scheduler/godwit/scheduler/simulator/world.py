"""The loop of the simulator: events in order of virtual time, and after each instant the planner decides.

```
 trace ──▶ submit ──┐                      ┌──▶ start: its end is known to the world, not to the planner
                    ├──▶ engine.decide ────┤
 ends, wake-ups ────┘         ▲            └──▶ yield: stops at once, keeps what it saved, waits again ──┐
                              └──────────────────────────────────────────────────────────────────────────┘
```

What stops cost: a job commits a checkpoint every `checkpoint_s` after each start. Work since the last is done again,
and each start but the first spends `restart_s` on getting back to where it was.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from godwit.domain.errors import InvalidRequest, InvariantBroken
from godwit.scheduler.asks import Ask
from godwit.scheduler.cluster import FABRIC
from godwit.scheduler.demands import Decision, Demand, Start, Yield
from godwit.scheduler.simulator.outcomes import Course, Meter, Outcome, Stint
from godwit.scheduler.simulator.policies import Policy
from godwit.scheduler.simulator.traces import TraceJob

ROUNDS_MAX = 1000
"""Decisions within one instant. A planner that still makes jobs yield after so many takes turns without end."""

STOPS_MAX_PER_JOB = 100
"""Stops between the end of one job and of the next, per job of the trace. More is a planner that gets nothing done."""


@dataclass(frozen=True, slots=True)
class Stops:
    """What it costs to give way, in seconds: see the module. `checkpoint_s` 0: everything is saved all the time."""

    restart_s: float = 60.0
    checkpoint_s: float = 600.0


class World:
    """One simulation. `timer` measures the planner's own time, where anybody wants to know; use once."""

    def __init__(
        self,
        jobs: Sequence[TraceJob],
        policy: Policy,
        stops: Stops | None = None,
        *,
        timer: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._policy, self._engine, self._stops, self._timer = policy, policy.engine, stops or Stops(), timer
        able = {job: _demand(job, self._stops) for job in jobs}
        fitting = {shape: self._can_hold(shape) for shape in {_shape(demand) for demand in able.values()}}
        self._left_out = [job for job, demand in able.items() if not fitting[_shape(demand)]]
        self._coming = [demand for demand in able.values() if fitting[_shape(demand)]]
        self._courses = {job.job_id: Course(job) for job, demand in able.items() if fitting[_shape(demand)]}
        if len(self._courses) + len(self._left_out) != len(jobs):
            raise InvariantBroken("two jobs have one id")
        if not self._courses:
            raise InvalidRequest("the fleet holds none of the jobs: add larger nodes, or fabrics of more nodes")
        self._ends: list[tuple[float, str, int]] = []
        self._next = 0
        self._now = self._coming[0].since
        self._wake_at: float | None = None
        self._waiting, self._busy, self._decisions, self._stops_since, self._planner_s = 0, 0, 0, 0, 0.0
        cluster = self._engine.cluster
        self._gpus = [cluster.kinds[cluster.kind[row]].gpus for row in range(cluster.size)]
        self._meter = Meter()

    def run(self, name: str, usd_per_hour: float = 0.0) -> Outcome:
        """Live until every job has ended."""
        there = sum(self._gpus)
        while self._next < len(self._coming) or self._ends:
            at = self._instant()
            comes_more = self._next < len(self._coming)
            self._meter.pass_by(at - self._now, there, self._busy, waits=self._waiting > 0, comes_more=comes_more)
            self._now = at
            if self._happen() or at == self._wake_at:
                self._decide()
        if self._waiting:
            raise InvariantBroken(f"policy {name} leaves {self._waiting} jobs waiting on an empty fleet")
        ids, courses = self._engine.cluster.ids, list(self._courses.values())
        meter, planner_s = self._meter, self._planner_s
        return Outcome(name, courses, self._left_out, ids, self._gpus, usd_per_hour, meter, self._decisions, planner_s)

    def _instant(self) -> float:
        instants = [self._coming[self._next].since] if self._next < len(self._coming) else []
        if self._ends:
            instants.append(self._ends[0][0])
        if self._wake_at is not None and self._wake_at > self._now:
            instants.append(self._wake_at)
        return min(instants)

    def _happen(self) -> bool:
        """Everything that is due; whether anything was."""
        happened = False
        while self._ends and self._ends[0][0] <= self._now:
            _, job_id, attempt = heapq.heappop(self._ends)
            course = self._courses[job_id]
            if len(course.stints) == attempt and course.end_s is None and job_id in self._engine.running:
                self._end(job_id)
                course.done_s, course.end_s, self._stops_since = course.job.duration_s, self._now, 0
                happened = True
        while self._next < len(self._coming) and self._coming[self._next].since <= self._now:
            demand = self._coming[self._next]
            self._policy.submit(demand, self._courses[demand.job_id].job.duration_s)
            self._waiting += 1
            self._next += 1
            happened = True
        return happened

    def _decide(self) -> None:
        for _ in range(ROUNDS_MAX):
            began = self._timer()
            decision: Decision = self._policy.decide(self._now)
            self._planner_s += self._timer() - began
            self._decisions += 1
            self._wake_at = decision.wake_at
            for start in decision.starts:
                self._start(start)
            for given in decision.yields:
                self._stop(given)
            if not decision.yields:
                return
        raise InvariantBroken(f"jobs still give way to one another after {ROUNDS_MAX} decisions at {self._now} s")

    def _start(self, start: Start) -> None:
        course = self._courses[start.demand.job_id]
        setup_s = self._stops.restart_s if course.stints else 0.0
        end_s = self._now + setup_s + course.job.duration_s - course.done_s
        heapq.heappush(self._ends, (end_s, course.job.job_id, len(course.stints)))
        self._waiting -= 1
        self._busy += course.job.gpus

    def _stop(self, given: Yield) -> None:
        """It gives way at once, and waits again with what it has saved."""
        demand = self._engine.running[given.job_id].demand
        course = self._courses[given.job_id]
        kept_s = self._end(given.job_id, is_over=False)
        course.done_s += kept_s
        served = demand.served_gpu_s + (self._now - course.stints[-1].start_s) * course.job.gpus
        self._stops_since += 1
        if self._stops_since > STOPS_MAX_PER_JOB * (len(self._courses) + 10):
            raise InvariantBroken(f"no job has ended during {self._stops_since:,} stops, until {self._now:.0f} s")
        again = _demand(course.job, self._stops, served_gpu_s=served, yielded_at=self._now)
        self._policy.submit(again, course.job.duration_s - course.done_s)
        self._waiting += 1

    def _end(self, job_id: str, *, is_over: bool = True) -> float:
        running = self._engine.ended(job_id)
        course, every_s = self._courses[job_id], self._stops.checkpoint_s
        setup_s = self._stops.restart_s if course.stints else 0.0
        ran_s = self._now - running.started_at
        saved_s = ran_s if is_over or not every_s else ran_s // every_s * every_s
        kept_s = max(0.0, saved_s - setup_s)
        rows = tuple(self._engine.cluster.row_of[share.node_id] for share in running.shares)
        course.stints.append(Stint(job_id, rows, running.started_at, self._now, kept_s))
        self._busy -= course.job.gpus
        return kept_s

    def _can_hold(self, shape: tuple[Ask, int, int]) -> bool:
        """Whether a gang of this shape fits the fleet while it is empty, as it is now."""
        ask, nodes, within = shape
        return self._engine.fits(ask).most[within] >= nodes


def _shape(demand: Demand) -> tuple[Ask, int, int]:
    return demand.ask, demand.nodes_min, demand.within


def _demand(job: TraceJob, stops: Stops, *, served_gpu_s: float = 0.0, yielded_at: float | None = None) -> Demand:
    return Demand(
        job.job_id,
        Ask(job.gpus_per_node),
        job.submit_s,
        job.nodes,
        job.nodes,
        within=FABRIC,
        project=job.user,
        priority=job.priority,
        served_gpu_s=served_gpu_s,
        yielded_at=yielded_at,
        saves_every_s=stops.checkpoint_s or 1e-9,
    )
