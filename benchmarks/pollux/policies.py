"""The policies that are compared: godwit's elastic sizes, and what else one might do."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from godwit.scheduler.elasticity import curve, goodput, packing, sizes
from godwit.scheduler.elasticity.curve import Curve
from godwit.scheduler.elasticity.packing import Want
from godwit.scheduler.elasticity.sizes import ElasticJob, Pool, Terms

from benchmarks.pollux.replay import GPUS_PER_NODE, NODES, RESTART_S, SINGLE_GPU, Job, Nodes, Policy

POOL = Pool((GPUS_PER_NODE,) * NODES, GPUS_PER_NODE)


def godwit(*, totals: bool = True, terms: Terms = sizes.TERMS) -> Policy:
    """Godwit's sizes. With `totals` jobs declare how many epochs they run, as a script does; without, nothing of it.

    What is read of a job: step and synchronisation times at sizes it had, its gradient noise at the last step, its
    progress, and the limits of its batch size. Nothing of sizes, epochs or noise to come.
    """

    def decide(jobs: Sequence[Job], now_s: float) -> Mapping[str, Nodes]:
        return sizes.decide([_elastic(job, totals=totals) for job in jobs], POOL, now_s, terms).nodes

    return decide


def _elastic(job: Job, *, totals: bool) -> ElasticJob:
    tried = max((one.gpus for one in job.reported.values()), default=0)
    known = known_curve(job, curve.sizes(1, gpus_max(job), GPUS_PER_NODE, tried))
    changed_at = job.changed_at_s or job.submission.at_s
    left = job.total - job.done if totals else None
    return ElasticJob(job.submission.name, known, job.nodes, left, job.attained_gpu_s, changed_at, RESTART_S)


def gpus_max(job: Job) -> int:
    """More GPUs than this a job cannot use."""
    return 1 if job.application.name in SINGLE_GPU else min(NODES * GPUS_PER_NODE, job.batching.gpus_max)


def known_curve(job: Job, wanted: Sequence[int]) -> Curve:
    """What the job's reports say of its speed at the sizes `wanted`."""
    if job.model is None or job.noise is None:
        return curve.amdahl({}, wanted)
    return curve.adaptive(job.model, job.noise, job.batching, wanted, GPUS_PER_NODE)


def fixed(order: Callable[[Job], tuple[float, ...]], *, backfill: bool = False) -> Policy:
    """Each job at the size its user asked for until it ends, by `order`; the first that does not fit stops the queue.

    With `backfill` those behind it that fit run meanwhile, without regard to it.
    """

    def decide(jobs: Sequence[Job], _now_s: float) -> Mapping[str, Nodes]:
        free = NODES * GPUS_PER_NODE - sum(job.gpus for job in jobs)
        wanted = {job.submission.name: job.gpus for job in jobs if job.gpus}
        for job in sorted((job for job in jobs if not job.gpus), key=order):
            if job.submission.gpus <= free:
                free -= job.submission.gpus
                wanted[job.submission.name] = job.submission.gpus
            elif not backfill:
                break
        return _packed(jobs, wanted)

    return decide


def _packed(jobs: Sequence[Job], wanted: Mapping[str, int]) -> dict[str, Nodes]:
    current = {job.submission.name: job.nodes for job in jobs}
    wants = {name: Want(current[name], units, units) for name, units in wanted.items()}
    return packing.pack(wants, POOL.units, POOL.units_per_node)


def equal_shares(jobs: Sequence[Job], _now_s: float) -> Mapping[str, Nodes]:
    """The GPUs divided evenly, at powers of two so that sizes last; the jobs that came first share what is over."""
    free, wanted = NODES * GPUS_PER_NODE, dict[str, int]()
    share = 2 ** int(math.log2(max(free / len(jobs), 1)))
    for job in sorted(jobs, key=lambda job: job.submission.at_s):
        given = min(share, gpus_max(job), free)
        if given:
            wanted[job.submission.name] = given
            free -= given
    return _packed(jobs, wanted)


def arrival(job: Job) -> tuple[float, ...]:
    """First come, first served."""
    return (job.submission.at_s,)


def remaining(job: Job) -> tuple[float, ...]:
    """Shortest first by true GPU-seconds left at the size its user asked for, on whole nodes: what nobody knows."""
    nodes, rest = divmod(job.submission.gpus, GPUS_PER_NODE)
    placement = (GPUS_PER_NODE,) * nodes + ((rest,) if rest else ())
    application, batching = job.application, job.batching
    gpus = job.submission.gpus
    local, passes = (int(part[0, 0]) for part in goodput.splits(batching, np.array([float(gpus)])))
    step_s, sync_s = application.step_time_s(placement, local)
    took_s = step_s + (passes - 1) * (step_s - sync_s)
    left_s, done = 0.0, 0.0
    for epoch, progress in enumerate(application.convergence.progress):
        sqr, var = application.convergence.gradients(local * passes * gpus, epoch)
        gain = float(goodput.gain(var / sqr, local * passes * gpus / batching.init))
        left_s += max(progress - max(done, job.done), 0.0) / gain * took_s
        done = progress
    return (left_s * gpus,)


QUEUE_GPU_S = 16 * 3600.0
"""The one threshold of Tiresias (Gu et al., NSDI'19) as its re-implementation for the Pollux paper has it."""


def tiresias() -> Policy:
    """Jobs that had less than 16 GPU-hours first, by arrival, then the others; each at the size its user asked for."""

    def decide(jobs: Sequence[Job], _now_s: float) -> Mapping[str, Nodes]:
        free, wanted = NODES * GPUS_PER_NODE, dict[str, int]()
        for job in sorted(jobs, key=lambda job: (job.attained_gpu_s >= QUEUE_GPU_S, *arrival(job))):
            if job.submission.gpus <= free:
                free -= job.submission.gpus
                wanted[job.submission.name] = job.submission.gpus
        return _packed(jobs, wanted)

    return decide
