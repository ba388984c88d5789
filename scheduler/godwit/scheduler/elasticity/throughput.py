"""How long a step takes at a size and batch size that may never have been tried, learned from the steps that were.

The shape is that of Pollux (Qiao et al., OSDI'21, section 3.2): a GPU computes for `fixed + per_sample x local batch`
seconds, the GPUs then synchronise for a time that grows with their number, and the two overlap more or less:
`step = (compute^overlap + sync^overlap)^(1/overlap)`. Ours is fitted in closed form, since a planner refits it often.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

OVERLAPS = (1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Candidates from none to nearly all of the shorter part hidden; Pollux bounds the exponent by the same ends."""

SYNC_PRIOR = 0.1
"""Before two GPUs of a node were seen together: a tenth of the smallest step, Amdahl's law with a serial tenth."""

SPREAD_PRIOR = 2.0
"""Before two nodes were seen together: twice what the most GPUs of one node cost, however many there are. Hopeful on
purpose: one try corrects it, while a size that looks bad is never tried."""


@dataclass(frozen=True, order=True)
class Observation:
    """Mean times that a job reported of its steps at one size: the whole step, and of it what synchronising added."""

    nodes: int
    gpus: int
    local_batch: int
    step_s: float
    sync_s: float

    @property
    def compute_s(self) -> float:
        """Seconds of forward and backward pass."""
        return self.step_s - self.sync_s


@dataclass(frozen=True)
class Link:
    """Seconds that GPUs need to synchronise: `base` for two of them, and `each` more for every further one."""

    base: float
    each: float

    def sync_s(self, gpus: Floats) -> Floats:
        """For numbers of GPUs of at least 2."""
        return self.base + self.each * np.maximum(gpus - 2, 0)


@dataclass(frozen=True)
class StepTimes:
    """The fitted model. All seconds."""

    fixed: float
    per_sample: float
    local: Link
    spread: Link
    overlap: float

    def compute_s(self, local_batch: ArrayLike) -> Floats:
        """One forward and backward pass of `local_batch` samples on one GPU."""
        return np.asarray(self.fixed + self.per_sample * np.asarray(local_batch, dtype=np.float64))

    def step_s(self, nodes: ArrayLike, gpus: ArrayLike, local_batch: ArrayLike) -> Floats:
        """One step with its synchronisation; the arguments broadcast."""
        count = np.asarray(gpus, dtype=np.float64)
        sync = np.where(np.asarray(nodes) > 1, self.spread.sync_s(count), self.local.sync_s(count))
        sync = np.where(count > 1, sync, 0.0)
        return np.asarray((self.compute_s(local_batch) ** self.overlap + sync**self.overlap) ** (1 / self.overlap))


def fit(observed: Sequence[Observation]) -> StepTimes:
    """The model that explains the reports of one job best, by relative error; `observed` must not be empty."""
    seen = sorted(observed)
    fixed, per_sample = _compute(seen)
    smallest = fixed + per_sample * min(observation.local_batch for observation in seen)
    fits = [_linked(seen, fixed, per_sample, smallest, overlap) for overlap in OVERLAPS]
    return min(fits, key=lambda model: (_error(model, seen), model.overlap))


def _compute(seen: Sequence[Observation]) -> tuple[float, float]:
    batch = np.array([observation.local_batch for observation in seen], dtype=np.float64)
    took_s = np.array([max(observation.compute_s, 1e-9) for observation in seen])
    if len(set(batch)) == 1:
        # One point allows any line; half and half is where Pollux starts too, and errs little on either side.
        return float(took_s.mean() / 2), float(took_s.mean() / 2 / batch[0])
    return line(batch, took_s)


def _linked(
    seen: Sequence[Observation], fixed: float, per_sample: float, smallest_s: float, overlap: float
) -> StepTimes:
    local = _link([one for one in seen if one.nodes == 1 and one.gpus > 1], overlap)
    spread = _link([one for one in seen if one.nodes > 1], overlap)
    local = local or Link(spread.base / SPREAD_PRIOR if spread else SYNC_PRIOR * smallest_s, 0.0)
    on_one = max([one.gpus for one in seen if one.nodes == 1], default=2)
    hoped = Link(SPREAD_PRIOR * float(local.sync_s(np.array(on_one))), 0.0)
    return StepTimes(fixed, per_sample, local, spread or hoped, overlap)


def _link(seen: Sequence[Observation], overlap: float) -> Link | None:
    if not seen:
        return None
    further = np.array([max(one.gpus - 2, 0) for one in seen], dtype=np.float64)
    hidden = np.array([max(one.step_s**overlap - one.compute_s**overlap, 1e-12) ** (1 / overlap) for one in seen])
    if len(set(further)) == 1:
        return Link(float(hidden.mean()), 0.0)
    return Link(*line(further, hidden))


def line(x: Floats, y: Floats) -> tuple[float, float]:
    """Offset and slope, neither negative, of the line with the least squares of relative errors."""
    weight = 1 / y**2
    mean_x, mean_y = np.average(x, weights=weight), np.average(y, weights=weight)
    spread = np.average((x - mean_x) ** 2, weights=weight)
    slope = max(float(np.average((x - mean_x) * (y - mean_y), weights=weight) / spread), 0.0)
    if mean_y - slope * mean_x >= 0:
        return float(mean_y - slope * mean_x), slope
    return 0.0, float(np.average(x * y, weights=weight) / np.average(x * x, weights=weight))


def _error(model: StepTimes, seen: Sequence[Observation]) -> float:
    nodes, gpus, batch, step_s = (
        np.array([getattr(one, name) for one in seen], dtype=np.float64)
        for name in ("nodes", "gpus", "local_batch", "step_s")
    )
    # Rounded, so that models which explain equally well are told apart by their order and not by the last bit.
    return round(float(np.mean((np.log(model.step_s(nodes, gpus, batch)) - np.log(step_s)) ** 2)), 9)
