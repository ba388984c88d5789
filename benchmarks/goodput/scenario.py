"""What happens when, drawn once per seed: the same for everybody who answers."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.goodput.faults import ALARMS, KINDS, MIX, Kind
from benchmarks.goodput.inputs import DAY_S, DAYS, FAILURES_PER_1000_NODE_DAYS, Trouble

TOTAL = sum(category.count for category in MIX)


@dataclass(frozen=True)
class Fleet:
    """Nodes of eight GPUs in fabric domains of `domain_nodes`; the job takes `nodes`, and `spares` stand by.

    `failures` in `days`; None: by the rate of the fleet.
    """

    name: str
    nodes: int
    domain_nodes: int
    spares: int
    failures: int | None = None
    days: float = DAYS

    @property
    def domains(self) -> tuple[str, ...]:
        """The names of its fabric domains."""
        return tuple(f"pod-{number}" for number in range(-(-self.nodes // self.domain_nodes)))

    @property
    def interruptions(self) -> float:
        """How many are expected in all its days."""
        rate = FAILURES_PER_1000_NODE_DAYS * self.nodes * self.days / 1_000
        return rate if self.failures is None else self.failures * self.days / DAYS


@dataclass(frozen=True)
class Happening:
    """Something strikes at `at`: the node at `rank`, a share of the fleet's ranks in [0, 1), or lemon number `lemon`.

    `draw` decides what is left to chance, so that it is the same whoever answers. `width`: so many nodes that stand
    side by side are struck at once. `repeats`: a program's fault comes back after so many restarts.
    """

    number: int
    at: float
    kind: Kind
    rank: float
    gpu: int
    draw: float
    lemon: int | None = None
    width: int = 1
    repeats: int = 0


def happenings(fleet: Fleet, trouble: Trouble, seed: int) -> list[Happening]:
    """All of one run, in order of time. Equal arguments give equal lists."""
    rng = random.Random(f"goodput {fleet.name} {fleet.nodes} {seed}")
    found = [
        *_failures(fleet, trouble, rng),
        *_beside(fleet, trouble, rng),
    ]
    found.sort(key=lambda one: one[0])
    return [
        Happening(number, at, kind, rng.random(), rng.randrange(8), rng.random(), lemon, width, repeats)
        for number, (at, kind, lemon, width, repeats) in enumerate(found)
    ]


def lemons(fleet: Fleet, trouble: Trouble) -> int:
    """How many nodes of the fleet are lemons."""
    return round(fleet.nodes * trouble.lemon_share)


_Draft = tuple[float, Kind, int | None, int, int]

RACK = 2
"""Nodes under one switch of a rack: 16 GPUs (arXiv 2407.21783, section 3.3.1)."""


def _failures(fleet: Fleet, trouble: Trouble, rng: random.Random) -> Iterator[_Draft]:
    end_s, sour = fleet.days * DAY_S, lemons(fleet, trouble)
    for name in _names(fleet, rng):
        at, kind = rng.random() * end_s, KINDS[name]
        is_lemons = sour > 0 and kind.nature == "hardware" and rng.random() < trouble.lemon_failures_share
        yield at, kind, rng.randrange(sour) if is_lemons else None, RACK if name == "switch" else 1, 0
        if rng.random() < trouble.twins_share:
            yield at + rng.uniform(5, 60), KINDS["gpu-lost"], None, 1, 0


def _names(fleet: Fleet, rng: random.Random) -> Iterator[str]:
    """As many of each category as its count says, where the whole mix is asked for; else drawn by it."""
    if fleet.failures == TOTAL and fleet.days == DAYS:
        categories = [category for category in MIX for _ in range(category.count)]
    else:
        categories = rng.choices(MIX, [category.count for category in MIX], k=_poisson(fleet.interruptions, rng))
    for category in categories:
        names, weights = zip(*category.kinds, strict=True)
        yield rng.choices(names, weights)[0]


def _beside(fleet: Fleet, trouble: Trouble, rng: random.Random) -> Iterator[_Draft]:
    end_s = fleet.days * DAY_S
    for _ in range(_poisson(fleet.nodes * trouble.straggler_share * fleet.days / DAYS, rng)):
        yield rng.random() * end_s, KINDS["straggler"], None, 1, 0
    for _ in range(_poisson(trouble.false_alarms_per_1000_node_days * fleet.nodes * fleet.days / 1_000, rng)):
        name = "row-marked" if rng.random() < trouble.benign_share else rng.choice(ALARMS)
        yield rng.random() * end_s, KINDS[name], None, 1, 0
    wide = max(RACK, round(fleet.domain_nodes * trouble.burst_share))
    for number in range(trouble.bursts):
        yield rng.random() * end_s, KINDS[("switch", "driver")[number % 2]], None, wide, 0
    for _ in range(trouble.stubborn_bugs):
        yield rng.random() * end_s, KINDS["stubborn-31"], None, 1, trouble.bug_repeats


def _poisson(mean: float, rng: random.Random) -> int:
    """Arrivals of a Poisson process within one unit of time."""
    count, at = 0, rng.expovariate(mean) if mean > 0 else 1.0
    while at < 1.0:
        count += 1
        at += rng.expovariate(mean)
    return count
