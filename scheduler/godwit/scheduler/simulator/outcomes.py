"""What came out of a simulation: every stint of every job, and the figures that are made of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from godwit.scheduler.simulator.traces import TraceJob


@dataclass(frozen=True, slots=True)
class Stint:
    """One attempt: a job on these rows of the fleet, from start to end. `kept_s` of it were worth their while."""

    job_id: str
    rows: tuple[int, ...]
    start_s: float
    end_s: float
    kept_s: float


@dataclass(slots=True)
class Course:
    """What became of one job. `done_s` is the work that need not be done again."""

    job: TraceJob
    stints: list[Stint] = field(default_factory=list)
    done_s: float = 0.0
    end_s: float | None = None

    @property
    def jct_s(self) -> float:
        """Completion time: from submission to the end. Only of a job that ended."""
        if self.end_s is None:
            raise ValueError(f"{self.job.job_id} has not ended")
        return self.end_s - self.job.submit_s

    @property
    def ran_s(self) -> float:
        """Seconds that it held its gang, over all attempts."""
        return sum(stint.end_s - stint.start_s for stint in self.stints)

    @property
    def waited_s(self) -> float:
        """Completion time less what it ran."""
        return self.jct_s - self.ran_s

    @property
    def stops(self) -> int:
        """How often it gave way."""
        return max(0, len(self.stints) - 1)


@dataclass(slots=True)
class Meter:
    """Integrals over time, in GPU-seconds: what was there, what was busy, and what was free while somebody waited.

    Those up to the last submission are kept too: after it, an emptying fleet says more of the trace than of the policy.
    """

    there: float = 0.0
    busy: float = 0.0
    idle_while_waiting: float = 0.0
    there_then: float = 0.0
    busy_then: float = 0.0

    def pass_by(self, seconds: float, there: int, busy: int, *, waits: bool, comes_more: bool) -> None:
        """So many seconds go by with so many GPUs there and busy."""
        self.there += seconds * there
        self.busy += seconds * busy
        if waits:
            self.idle_while_waiting += seconds * (there - busy)
        if comes_more:
            self.there_then += seconds * there
            self.busy_then += seconds * busy


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one policy on one trace. Courses in order of submission; `left_out` are jobs that the fleet cannot hold."""

    policy: str
    courses: Sequence[Course]
    left_out: Sequence[TraceJob]
    node_ids: Sequence[str]
    node_gpus: Sequence[int]
    usd_per_hour: float
    meter: Meter
    decisions: int
    planner_s: float

    @property
    def start_s(self) -> float:
        """The first submission."""
        return self.courses[0].job.submit_s

    @property
    def end_s(self) -> float:
        """When the last job ended."""
        return max(course.end_s or 0.0 for course in self.courses)


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of one outcome. Seconds, dollars, shares of one.

    `utilization` is up to the last submission. `fragmentation` is the share of all GPU time in which GPUs were free
    though somebody waited. `lost_share` is the share of busy GPU time that went to restarts and to work done again.
    `usd` is the whole fleet's price from the first submission to the last end, `usd_per_useful_gpu_hour` what an hour
    of kept work came to.
    """

    policy: str
    jobs: int
    left_out: int
    jct_mean_s: float
    jct_p50_s: float
    jct_p99_s: float
    wait_mean_s: float
    wait_p99_s: float
    makespan_s: float
    utilization: float
    fragmentation: float
    lost_share: float
    stops: int
    usd: float
    usd_per_useful_gpu_hour: float
    decisions: int
    planner_s: float


def summary(outcome: Outcome) -> Summary:
    """The figures of an outcome."""
    courses, meter = outcome.courses, outcome.meter
    jct = sorted(course.jct_s for course in courses)
    waits = sorted(course.waited_s for course in courses)
    makespan_s = outcome.end_s - outcome.start_s
    useful = sum(course.job.duration_s * course.job.gpus for course in courses)
    usd = outcome.usd_per_hour * makespan_s / 3600
    return Summary(
        outcome.policy,
        len(courses),
        len(outcome.left_out),
        mean(jct),
        quantile(jct, 0.5),
        quantile(jct, 0.99),
        mean(waits),
        quantile(waits, 0.99),
        makespan_s,
        meter.busy_then / meter.there_then if meter.there_then else 0.0,
        meter.idle_while_waiting / meter.there if meter.there else 0.0,
        1 - useful / meter.busy if meter.busy else 0.0,
        sum(course.stops for course in courses),
        usd,
        usd / (useful / 3600) if useful else 0.0,
        outcome.decisions,
        outcome.planner_s,
    )


def mean(values: Iterable[float]) -> float:
    """The mean; 0 of nothing."""
    there = list(values)
    return sum(there) / len(there) if there else 0.0


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value that `share` of the ordered values do not exceed (the nearest below)."""
    return ordered[int(share * (len(ordered) - 1))] if ordered else 0.0
