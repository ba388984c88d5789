"""A discrete-time replay of a workload: every minute the jobs run on, and a policy says anew which GPUs each one has.

Choices, each after section 5.3 of the paper and the reading of its public simulator:

- 16 nodes of 4 GPUs; the policy is asked at each full minute about the jobs submitted by then. A job that ends within a
  minute ends at that second, and its GPUs wait for the next full minute.
- Whatever changes in a job's GPUs, a first start and a move to other nodes included, stops it for 30 s, which it pays
  on its new GPUs. A move of nothing costs nothing.
- A job with an adaptive batch size chooses it by itself, as the agent of AdaptDL does: from its own reports, for the
  GPUs that it has, again at each epoch and each minute. ncf always runs 32,768 samples on one GPU, as in the paper.
- Jobs that share a node do not slow one another down (the simulator's default).
- Completion time is from submission to the end, in hours; time on a job's own clock is not rounded.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from godwit.scheduler.elasticity import goodput, throughput
from godwit.scheduler.elasticity.goodput import Batch, Batching
from godwit.scheduler.elasticity.throughput import Observation, StepTimes

from benchmarks.pollux.tables import Application, Submission

NODES, GPUS_PER_NODE = 16, 4
TICK_S, RESTART_S = 60.0, 30.0
SINGLE_GPU = ("ncf",)
DAYS_MAX = 20

Nodes = tuple[tuple[int, int], ...]
"""Pairs of a node's number and the GPUs on it, by node."""


@dataclass
class Job:
    """One job on its way; what it could report of itself is in `reported`, `noise` and `done`."""

    submission: Submission
    application: Application
    batching: Batching
    nodes: Nodes = ()
    done: float = 0.0
    epoch: int = 0
    stopped_s: float = 0.0
    attained_gpu_s: float = 0.0
    restarts: int = -1
    changed_at_s: float = 0.0
    ended_at_s: float | None = None
    batch: Batch | None = None
    noise: float | None = None
    reported: dict[tuple[int, int, int], Observation] = field(default_factory=dict)
    model: StepTimes | None = None

    @property
    def gpus(self) -> int:
        """How many GPUs it has now."""
        return sum(count for _, count in self.nodes)

    @property
    def total(self) -> float:
        """Progress at its end; a job declares it as epochs x samples of an epoch / initial batch size."""
        return float(self.application.convergence.progress[-1])

    def give(self, nodes: Nodes, now_s: float) -> None:
        """Let it run on these GPUs from now on."""
        if nodes == self.nodes:
            return
        self.nodes, self.changed_at_s, self.stopped_s = nodes, now_s, RESTART_S if nodes else 0.0
        self.restarts += bool(nodes)
        self._tune()

    def run(self, from_s: float, seconds: float) -> None:
        """Live through `seconds`; sets `ended_at_s` when it ends in them."""
        if not self.nodes or self.ended_at_s is not None:
            return
        stopped = min(self.stopped_s, seconds)
        self.stopped_s -= stopped
        self.attained_gpu_s += seconds * self.gpus
        left_s, epochs = seconds - stopped, self.application.convergence.progress
        while left_s > 0 and self.ended_at_s is None:
            speed = self._observe()
            needs_s = (epochs[self.epoch] - self.done) / speed
            if needs_s > left_s:
                self.done += speed * left_s
                left_s = 0.0
            else:
                self.done, left_s = float(epochs[self.epoch]), left_s - needs_s
                self.epoch += 1
                if self.epoch == self.application.convergence.epochs:
                    self.ended_at_s = from_s + seconds - left_s
                    return
            self._tune()

    def _observe(self) -> float:
        """Its true goodput now; what it measures on the way is noted as its reports."""
        if self.batch is None:
            raise RuntimeError(f"{self.submission.name} runs without a batch size")
        placement = tuple(count for _, count in self.nodes)
        step_s, sync_s = self.application.step_time_s(placement, self.batch.local)
        sqr, var = self.application.convergence.gradients(self.batch.total(self.gpus), self.epoch)
        self.noise = var / sqr
        key = len(placement), self.gpus, self.batch.local
        if key not in self.reported:
            self.reported[key] = Observation(*key, step_s, sync_s)
            self.model = throughput.fit(tuple(self.reported.values()))
        gain = goodput.gain(self.noise, self.batch.total(self.gpus) / self.batching.init)
        return float(gain) / (step_s + (self.batch.passes - 1) * (step_s - sync_s))

    def _tune(self) -> None:
        if not self.nodes:
            self.batch = None
            return
        batching = self.batching
        if self.model is None or self.noise is None:
            # Nothing is known yet: the smallest batch that every GPU gets a share of, as AdaptDL starts.
            least = max(batching.init, batching.min_local * self.gpus)
            batching = replace(batching, fixed=batching.fixed or least)
        model, noise = self.model or UNKNOWN, self.noise or 0.0
        self.batch = goodput.best(model, noise, batching, len(self.nodes), self.gpus)


UNKNOWN = throughput.fit([Observation(1, 1, 1, 1.0, 0.0)])
"""Any model does to choose among a single batch size."""

Policy = Callable[[Sequence[Job], float], Mapping[str, Nodes]]
"""Which GPUs each job has from now on; a job that is not named keeps none."""


@dataclass(frozen=True)
class Outcome:
    """Of one replay: hours from submission to end by job, and what the policy cost."""

    hours: Mapping[str, float]
    restarts: int
    planner_s_max: float
    planner_s_mean: float
    used: float

    @property
    def mean_h(self) -> float:
        """Mean job completion time."""
        return sum(self.hours.values()) / len(self.hours)


def run(jobs: Sequence[Job], policy: Policy) -> Outcome:
    """Replay until every job has ended. Raises RuntimeError when the policy gives what is not there, or nothing."""
    now_s, took, used = 0.0, list[float](), 0.0
    while any(job.ended_at_s is None for job in jobs):
        for job in jobs:
            job.run(now_s, TICK_S)
        used += TICK_S * sum(job.gpus for job in jobs if job.ended_at_s is None)
        now_s += TICK_S
        if now_s > DAYS_MAX * 86_400:
            raise RuntimeError(f"jobs still run after {DAYS_MAX} days: this policy starves them")
        active = [job for job in jobs if job.submission.at_s <= now_s and job.ended_at_s is None]
        if active:
            began = time.perf_counter()
            given = policy(active, now_s)
            took.append(time.perf_counter() - began)
            _check(given)
            for job in active:
                job.give(given.get(job.submission.name, ()), now_s)
    hours = {job.submission.name: ((job.ended_at_s or 0.0) - job.submission.at_s) / 3600 for job in jobs}
    share = used / (now_s * NODES * GPUS_PER_NODE)
    return Outcome(hours, sum(job.restarts for job in jobs), max(took), sum(took) / len(took), share)


def _check(given: Mapping[str, Nodes]) -> None:
    busy = [0] * NODES
    for name, nodes in given.items():
        if list(nodes) != sorted(set(nodes)) or any(count < 1 for _, count in nodes):
            raise RuntimeError(f"{name} is given {nodes}: nodes in order, with at least one GPU each")
        for node, count in nodes:
            busy[node] += count
    if max(busy, default=0) > GPUS_PER_NODE:
        raise RuntimeError(f"more than {GPUS_PER_NODE} GPUs of a node are given: {busy}")


def elastic(submissions: Sequence[Submission], known: Mapping[str, Application]) -> list[Job]:
    """The jobs of a workload with batch sizes that adapt; what their users asked for is not used."""
    return [
        _job(one, known[one.application], one.batch_size if one.application in SINGLE_GPU else None)
        for one in submissions
    ]


def rigid(submissions: Sequence[Submission], known: Mapping[str, Application]) -> list[Job]:
    """The jobs of a workload with the tuned batch sizes that their users asked for."""
    return [_job(one, known[one.application], one.batch_size) for one in submissions]


def _job(submission: Submission, application: Application, fixed: int | None) -> Job:
    limits = application.init_batch, application.max_batch, application.min_local, application.max_local
    return Job(submission, application, Batching(*limits, fixed))
