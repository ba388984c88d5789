"""A curve: how fast one job progresses at each size it may have, from its own reports or from a prior before them.

A size is a number of units. A unit is one GPU where jobs share nodes, or one whole node (`units_per_node` = 1).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from godwit.scheduler.elasticity import goodput, throughput
from godwit.scheduler.elasticity.goodput import Batching
from godwit.scheduler.elasticity.throughput import StepTimes

SERIAL_PRIOR = 0.1
"""Share of a job's work that does not get faster with more units, before any report (Amdahl 1967): eight units are then
worth 4.7. It only has to rank first sizes; the first reports replace it."""

REACH = 4
"""A job may grow to this many times the largest size it was seen at. Pollux (OSDI'21, section 4.1) doubles; a restart
for each doubling costs short jobs more than the rare overshoot does."""


@dataclass(frozen=True)
class Curve:
    """Sizes in growing order, and the job's speed at each (progress per second, or relative to one unit)."""

    sizes: tuple[int, ...]
    speeds: tuple[float, ...]
    measured: bool = True
    """False for a prior: then speeds say nothing about time, and remaining progress cannot be turned into seconds."""

    def __post_init__(self) -> None:
        if not self.sizes or len(self.sizes) != len(self.speeds):
            raise ValueError(f"a curve needs as many speeds as sizes, at least one: {self.sizes}, {self.speeds}")
        if self.sizes[0] < 1 or any(low >= high for low, high in pairwise(self.sizes)):
            raise ValueError(f"the sizes of a curve are at least 1 and grow: {self.sizes}")
        if not all(0 <= speed < float("inf") for speed in self.speeds) or max(self.speeds) <= 0:
            raise ValueError(f"the speeds of a curve are finite, not negative, and not all zero: {self.speeds}")

    def at(self, size: int) -> float:
        """Speed at `size`: of the nearest smaller one when it is none of the curve's; 0 below the smallest."""
        below = [speed for known, speed in zip(self.sizes, self.speeds, strict=True) if known <= size]
        return below[-1] if below else 0.0

    @property
    def efficiency(self) -> float:
        """Progress per second of one unit, at the size where units are used best."""
        return max(speed / size for size, speed in zip(self.sizes, self.speeds, strict=True))


def sizes(units_min: int, units_max: int, units_per_node: int, tried: int = 0) -> tuple[int, ...]:
    """The sizes worth a look: any on one node, then whole nodes only, and both bounds; up to REACH x the largest tried.

    Sizes between whole nodes pay for the slower links between nodes without filling one; leaving them out also keeps
    nodes from being cut into pieces. A job that never ran starts on one node at most, or at its minimum.
    """
    reach = max(units_min, min(units_max, tried * REACH if tried else units_per_node))
    on_one = range(units_min, min(reach, units_per_node) + 1)
    on_many = range(-(-max(units_min, units_per_node) // units_per_node) * units_per_node, reach + 1, units_per_node)
    bounds = {units_min} | ({units_max} if reach == units_max else set())
    return tuple(sorted({*on_one, *on_many, *bounds}))


def adaptive(times: StepTimes, noise: float, batching: Batching, wanted: Sequence[int], units_per_node: int) -> Curve:
    """The curve of a job that adapts its batch size; its sizes are GPUs, packed on as few nodes as hold them."""
    runnable = [size for size in wanted if size <= batching.gpus_max] or [wanted[0]]
    gpus = np.array(runnable)
    speeds = goodput.speeds(times, noise, batching, np.ceil(gpus / units_per_node), gpus)
    return Curve(tuple(runnable), tuple(map(float, speeds)))


def amdahl(throughputs: Mapping[int, float], wanted: Sequence[int]) -> Curve:
    """The curve of a job that reports only its throughput, by size.

    Time per unit of progress is taken as `serial + parallel / size`: fitted when two sizes were seen, with SERIAL_PRIOR
    when one was, and a prior without scale when none was. At a size that was seen, what was seen counts.
    """
    seen = {size: speed for size, speed in sorted(throughputs.items()) if speed > 0}
    serial, parallel = SERIAL_PRIOR, 1 - SERIAL_PRIOR
    if len(seen) == 1:
        ((size, speed),) = seen.items()
        scale = speed * (serial + parallel / size)
        serial, parallel = serial / scale, parallel / scale
    elif seen:
        serial, parallel = throughput.line(1 / np.array(list(seen)), 1 / np.array(list(seen.values())))
    speeds = tuple(seen.get(size, 1 / (serial + parallel / size)) for size in wanted)
    return Curve(tuple(wanted), speeds, measured=bool(seen))
