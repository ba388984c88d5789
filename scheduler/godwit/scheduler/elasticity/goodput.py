"""Goodput: progress per second of a job that may choose its batch size, after Pollux (OSDI'21, section 3).

A larger batch keeps more GPUs busy, and each of its samples teaches less. How much less follows from the gradient's
noise, which the job reports: with `scale` times the samples of its initial batch one step is worth
`(noise + 1) / (noise / scale + 1)` initial steps; noise is variance / squared norm of the initial batch's gradient.
"""

import math
from dataclasses import dataclass

import numpy as np
from godwit.scheduler.elasticity.throughput import StepTimes
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

SAMPLES = 32
"""Batch sizes tried between smallest and largest, evenly in logarithm: neighbours differ by 19% over a range of 200."""


@dataclass(frozen=True)
class Batching:
    """Which batch sizes a job can run, in samples: `init` and `max` for the whole job, `*_local` for one GPU at once.

    `fixed` is for one that keeps its batch size (then `init` still says what one step of progress is).
    """

    init: int
    max: int
    min_local: int
    max_local: int
    fixed: int | None = None

    @property
    def gpus_max(self) -> int:
        """More GPUs than this cannot all have a sample of the largest batch."""
        return (self.fixed or self.max) // self.min_local


@dataclass(frozen=True)
class Batch:
    """What a job runs at one size: samples of one pass on one GPU, and passes before each synchronisation."""

    local: int
    passes: int
    goodput: float

    def total(self, gpus: int) -> int:
        """Samples of one step of the whole job."""
        return self.local * self.passes * gpus


def gain(noise: ArrayLike, scale: ArrayLike) -> Floats:
    """Progress of one step with `scale` times the initial batch, in steps of the initial batch."""
    of_init = np.asarray(noise, dtype=np.float64)
    worth: Floats = (of_init + 1) / (of_init / np.asarray(scale, dtype=np.float64) + 1)
    return worth


def speeds(times: StepTimes, noise: float, batching: Batching, nodes: ArrayLike, gpus: ArrayLike) -> Floats:
    """Goodput (initial steps per second) of each pair of nodes and GPUs, at the best batch size each."""
    best_of_each: Floats = _tried(times, noise, batching, np.atleast_1d(nodes), np.atleast_1d(gpus))[2].max(axis=0)
    return best_of_each


def best(times: StepTimes, noise: float, batching: Batching, nodes: int, gpus: int) -> Batch:
    """The batch size with the largest goodput at one size."""
    local, passes, goodput = _tried(times, noise, batching, np.array([nodes]), np.array([gpus]))
    at = int(goodput[:, 0].argmax())
    return Batch(int(local[at, 0]), int(passes[at, 0]), float(goodput[at, 0]))


def _tried(
    times: StepTimes, noise: float, batching: Batching, nodes: ArrayLike, gpus: ArrayLike
) -> tuple[Floats, Floats, Floats]:
    """Samples per pass, passes and goodput: arrays of batch sizes x sizes. A size that cannot be run has goodput 0."""
    count = np.asarray(gpus, dtype=np.float64)
    local, passes = splits(batching, count)
    total = count * local * passes
    compute = times.compute_s(local)
    step_s = times.step_s(np.asarray(nodes), count, local) + (passes - 1) * compute
    # Rounding up to whole samples may leave the measured range by a little; a job would round down there.
    runs = (local >= batching.min_local) & (local <= batching.max_local)
    worth = gain(noise, np.maximum(total / batching.init, 1.0))
    return local, passes, np.where(runs, worth / step_s, 0.0)


def splits(batching: Batching, gpus: Floats) -> tuple[Floats, Floats]:
    """Samples per pass and passes for each batch size that is tried: two arrays of batch sizes x sizes.

    One GPU that runs more than the initial batch makes at least two passes: one gradient alone tells no noise.
    """
    least = np.maximum(batching.init, batching.min_local * gpus)
    most = np.full_like(least, batching.max)
    if batching.fixed is not None:
        least = most = np.full_like(least, batching.fixed)
    totals = np.geomspace(np.minimum(least, most), most, 1 if batching.fixed else SAMPLES)
    per_gpu = totals / gpus
    passes = np.ceil(per_gpu / batching.max_local - 1e-8)
    noisy = (gpus == 1) & (per_gpu > batching.init * (1 + 1e-8))
    passes = np.where(noisy, np.maximum(passes, 2), np.maximum(passes, 1))
    local = np.ceil(per_gpu / passes - 1e-8)
    return np.minimum(local, np.floor(batching.max / (passes * gpus))), passes


def progress_per_epoch(samples: int, init_batch: int) -> int:
    """Steps of the initial batch in one pass over `samples`: what a job declares its total by."""
    return math.ceil(samples / init_batch)
