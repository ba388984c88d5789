"""Who gets how many units of a pool: marginal goodput per dollar, against the cost of stopping to change size.

Every job has a value by size: its speed in units of perfect use, times the square root of `1 / unit-seconds left`,
times its weight, less what a change costs. Units go one step after another to the job whose next step brings most value
per dollar, along the concave hull of its values; that is optimal but for the last step that fits (Fox 1966).

The square root lies between counting speed only, and the shortest job first: for jobs that gain less and less from more
units the least mean completion time gives short jobs more, and long ones not nothing (Berg et al., heSRPT, 2020).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from godwit.scheduler.elasticity import packing
from godwit.scheduler.elasticity.curve import Curve
from godwit.scheduler.elasticity.packing import Nodes, Want
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SCALE = 2**40
"""Values are compared as integers in parts of this, so that equal ones are equal on every machine."""


@dataclass(frozen=True)
class ElasticJob:
    """What the allocator may know of one job; nothing here is about sizes never tried except through `curve`.

    `left` is progress until its end in the unit of the curve's speeds, when the job declared a total; else None.
    `attained_unit_s` are the units it held times how long; `changed_at` is when it last got or lost units, or was
    submitted. `usd_per_unit_hour` is what one unit of the nodes it can run on costs.
    """

    name: str
    curve: Curve
    nodes: Nodes = ()
    left: float | None = None
    attained_unit_s: float = 0.0
    changed_at: float = 0.0
    restart_s: float = 30.0
    weight: float = 1.0
    usd_per_unit_hour: float = 1.0

    def __post_init__(self) -> None:
        amounts = self.attained_unit_s, self.restart_s, self.weight, self.left or 0.0
        if not all(0 <= amount < math.inf for amount in amounts) or not 0 < self.usd_per_unit_hour < math.inf:
            raise ValueError(f"{self.name}: amounts are finite and not negative, and a unit costs more than 0: {self}")

    @property
    def units(self) -> int:
        """How many units it has now."""
        return sum(units for _, units in self.nodes)

    def waited_s(self, now: float) -> float:
        """How long it has been without units."""
        return 0.0 if self.nodes else max(now - self.changed_at, 0.0)

    @property
    def left_unit_s(self) -> float:
        """Unit-seconds until its end at perfect use.

        Without a total: as much again as it has had, which is what to expect of lifetimes as heavy-tailed as those of
        processes and jobs (Harchol-Balter and Downey, 1997); being little more than a guess, it counts only halfway
        (in logarithm) from TYPICAL_UNIT_S. Never under one restart: shorter ones are not told apart.
        """
        if self.left is not None and self.curve.measured:
            left = self.left / self.curve.efficiency
        else:
            left = math.sqrt(max(self.attained_unit_s, self.restart_s) * TYPICAL_UNIT_S)
        return max(left, self.restart_s, 1.0)


TYPICAL_UNIT_S = 3600.0
"""What a job of which nothing is known is taken to need: one unit for an hour. Until its first report a job is taken to
have had one restart's worth, so that it soon runs and reports."""


@dataclass(frozen=True)
class Pool:
    """Units that may be given: free ones and those that elastic jobs have, by node, of interchangeable nodes."""

    units: tuple[int, ...]
    units_per_node: int


@dataclass(frozen=True)
class Terms:
    """How careful changes are."""

    horizon_s: float = 1800.0
    """A size is expected to last this long, or until the job's end: some arrival or end will change it again."""

    caution: float = 3.0
    """A change must earn its stop this many times: estimates of sizes never tried err, the best-looking ones most."""

    settle_s: float = 120.0
    """A running job keeps its size at least this long, or stops for others: the rate limit."""

    worth_min: float = 0.05
    """A unit must bring this share of what one brings at the job's best size; else it is for others, or given back."""

    ageing_s: float = 3600.0
    """A job without units counts once more for each such time it waits, and after the first one it gets its node in one
    piece even if others must stop for it: nobody starves."""


TERMS = Terms()


@dataclass(frozen=True)
class Change:
    """One job's new units, with the arithmetic: speeds at both sizes, and the seconds until the stop is earned back.

    `pays_back_s` is None where there is nothing to earn back: a start, or units taken for others.
    """

    name: str
    nodes: Nodes
    units_before: int
    units: int
    speed_before: float
    speed: float
    pays_back_s: float | None

    @property
    def reason(self) -> str:
        """The change in words, for people."""
        if not self.units:
            return f"stops: others gain more by its {_units(self.units_before)}"
        if not self.units_before:
            return f"starts on {_units(self.units)}"
        if self.units == self.units_before:
            return "moves to other nodes, so that another job fits"
        change, faster = (
            f"from {self.units_before} to {_units(self.units)}",
            self.speed / (self.speed_before or 1.0) - 1,
        )
        if self.pays_back_s is None:
            return f"{change}: {faster:+.0%} speed; what it gives up brings more elsewhere, or next to nothing here"
        return f"{change}: {faster:+.0%} speed; the stop is earned back {self.pays_back_s:.0f} s after it"


def _units(count: int) -> str:
    return f"{count} unit" if count == 1 else f"{count} units"


@dataclass(frozen=True)
class Decision:
    """Where each job runs from now on (a job that is missing has no units), and what is new in it."""

    nodes: Mapping[str, Nodes] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()


def decide(jobs: Sequence[ElasticJob], pool: Pool, now: float, terms: Terms = TERMS) -> Decision:
    """Sizes and nodes for all jobs of one pool. Pure; the order of `jobs` does not matter."""
    ordered = sorted(jobs, key=lambda job: job.name)
    given = _sizes(ordered, sum(pool.units), now, terms)
    wanted = {
        job.name: Want(job.nodes, given[job.name], job.curve.sizes[0], job.waited_s(now) >= terms.ageing_s)
        for job in ordered
        if job.name in given
    }
    nodes = packing.pack(wanted, pool.units, pool.units_per_node)
    changes = (_change(job, nodes.get(job.name, ())) for job in ordered if nodes.get(job.name, ()) != job.nodes)
    return Decision(nodes, tuple(changes))


Point = tuple[int, float]
"""A size, and its value."""


@dataclass(frozen=True, order=True)
class _Step:
    """From one size of a job to a larger one; the least is the one to take first."""

    minus_worth: int
    before: int
    job: int
    after: int


def _sizes(jobs: Sequence[ElasticJob], total: int, now: float, terms: Terms) -> dict[str, int]:
    values = [_values(job, now, terms) for job in jobs]
    steps = sorted(step for number, job in enumerate(jobs) for step in _steps(number, job, values[number], terms))
    given, left, full = [0] * len(jobs), total, set[int]()
    for step in steps:
        # A step that follows one that did not fit has nothing to start from.
        if step.job in full or given[step.job] != step.before:
            continue
        size = step.after
        if size - step.before > left:
            full.add(step.job)
            fitting = [known for known, _ in values[step.job] if step.before < known <= step.before + left]
            size = max(fitting, default=step.before)
        left -= size - step.before
        given[step.job] = size
    return {job.name: size for job, size in zip(jobs, given, strict=True) if size}


def _steps(number: int, job: ElasticJob, values: Sequence[Point], terms: Terms) -> list[_Step]:
    """The steps along the concave hull of a job's values, each worth less than the one before."""
    best = max(value / size for size, value in values)
    hull = [(0, 0.0)]
    for point in values:
        # Points on a straight line stay, so that equal jobs grow in turns.
        while len(hull) > 1 and _slope(hull[-2], hull[-1]) < _slope(hull[-1], point):
            hull.pop()
        hull.append(point)
    rises = [(low, high, _slope(low, high)) for low, high in pairwise(hull)]
    return [
        _Step(-round(slope / job.usd_per_unit_hour * SCALE), low[0], number, high[0])
        for low, high, slope in rises
        if slope >= terms.worth_min * best
    ]


def _slope(low: Point, high: Point) -> float:
    return (high[1] - low[1]) / (high[0] - low[0])


def _values(job: ElasticJob, now: float, terms: Terms) -> list[Point]:
    """Sizes that the job may have now, and the value of each."""
    curve, current = job.curve, job.units
    if current in curve.sizes and now - job.changed_at < terms.settle_s:
        curve = Curve((current,), (curve.at(current),), curve.measured)
    perfect = np.array(curve.speeds) / job.curve.efficiency
    left_s = job.left_unit_s / np.maximum(perfect, 1e-9)
    lasts_s = np.minimum(left_s, terms.horizon_s)
    runs = lasts_s / (lasts_s + terms.caution * job.restart_s)
    # Without units every size starts alike, and costs the same stop.
    kept = np.array(curve.sizes) == current if current else np.full(len(curve.sizes), True)
    weight = job.weight * (1 + job.waited_s(now) / terms.ageing_s) / np.sqrt(job.left_unit_s)
    values = weight * perfect * np.where(kept, 1.0, runs)
    return list(zip(curve.sizes, map(float, values), strict=True))


def _change(job: ElasticJob, nodes: Nodes) -> Change:
    units = sum(count for _, count in nodes)
    before, after = job.curve.at(job.units), job.curve.at(units)
    pays_back_s = job.restart_s * before / (after - before) if job.nodes and after > before else None
    return Change(job.name, nodes, job.units, units, before, after, pays_back_s)
