"""From what a job says of its progress to its throughput by size: steps that came true, over the time they took."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

REPORTS_MAX = 1000
"""Reports that are looked at, the newest: what a job did long ago says little, and the answer must stay cheap."""

LEAST_S = 20.0
"""A size counts once it was watched for this long; under it a single slow step would be taken for the rule."""


@dataclass(frozen=True, order=True)
class Report:
    """A job was at `step` at the time `at` (s), while attempt `epoch` ran it on `units`."""

    at: float
    epoch: int
    units: int
    step: int

    def __post_init__(self) -> None:
        if not 0 <= self.at < math.inf or self.units < 1 or self.step < 0:
            raise ValueError(f"a report has a finite time, at least one unit, and a step from 0: {self}")


def throughputs(reports: Iterable[Report]) -> Mapping[int, float]:
    """Steps per second by units, of the sizes that were watched long enough. The order of `reports` does not matter.

    Only time between two reports of one attempt counts: the stop before it, and reading its checkpoint, are not the
    size's fault. A step that went back (a restored checkpoint, a confused program) is not counted either.
    """
    steps, seconds = defaultdict[int, int](int), defaultdict[int, float](float)
    newest = sorted(reports)[-REPORTS_MAX:]
    for before, after in pairwise(sorted(newest, key=lambda report: (report.epoch, report.at, report.step))):
        if (before.epoch, before.units) == (after.epoch, after.units) and after.step >= before.step:
            steps[after.units] += after.step - before.step
            seconds[after.units] += after.at - before.at
    return {
        units: steps[units] / seconds[units] for units in sorted(steps) if steps[units] and seconds[units] >= LEAST_S
    }
