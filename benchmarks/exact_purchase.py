"""The least that jobs which wait together can be bought for, exactly: an integer program, solved by HiGHS.

A *pattern* is what one machine of an offer may hold at once: so many jobs of each ask, a member of each gang at most.
Only patterns that nothing can be added to are listed; holding less is always possible. The planner does not put two
gangs on one machine, and the program may: it is a bound from below.

    x[o, p]   machines of offer o that hold pattern p       z[g, d]   whether gang g is in place d
    least     sum of price[o] x[o, p]
    with      sum over p of x[o, p] <= capacity[o]                                       for each offer o
              sum over o, p of count[p, a] x[o, p] >= jobs that ask a                    for each ask a of single nodes
              sum over o in d, p with g of x[o, p] >= nodes[g] z[g, d]                   for each gang g and place d
              sum over d of z[g, d] = 1                                                  for each gang g
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from godwit.domain.jobs import Job
from godwit.domain.offers import Offer
from godwit.scheduler.asks import WHOLE, Ask, NodeKind
from godwit.scheduler.market.shelf import Place, place
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import lil_matrix

TIME_LIMIT_S = 60.0

Pattern = tuple[int, ...]


@dataclass(frozen=True)
class _Item:
    """What may stand on a machine: an ask of single jobs, `count` of them in all, or a gang, once on each machine."""

    ask: Ask
    count: int
    gang: Job | None = None

    @property
    def most(self) -> int:
        """How many of it may stand on one machine."""
        return self.count if self.gang is None else 1


def least_usd_per_hour(jobs: Sequence[Job], offers: Sequence[Offer]) -> float:
    """Dollars an hour; a bound from below when the time is over before that is proven. No fleet, no bounds of one."""
    singles = Counter(Ask.of(job.spec.resources) for job in jobs if job.spec.resources.nodes_min == 1)
    gangs = [job for job in jobs if job.spec.resources.nodes_min > 1]
    items = [_Item(ask, count) for ask, count in singles.items()]
    items += [_Item(Ask.of(job.spec.resources), job.spec.resources.nodes_min, job) for job in gangs]
    columns = [(offer, pattern) for offer in offers for pattern in _patterns(NodeKind.of(offer), items)]
    program = _Program(offers, items, columns)
    found = milp(
        program.cost,
        integrality=np.ones(len(program.cost)),
        bounds=Bounds(0, program.most),
        constraints=LinearConstraint(program.rows.tocsr(), program.least, np.inf),
        options={"time_limit": TIME_LIMIT_S, "mip_rel_gap": 0.0},
    )
    if found.mip_dual_bound is None:
        raise RuntimeError(f"the market cannot serve these jobs together: {found.message}")
    return float(found.mip_dual_bound)


def _patterns(kind: NodeKind, items: Sequence[_Item]) -> Iterator[Pattern]:
    """Every pattern that a machine of this kind can hold and that nothing can be added to."""
    suited = [item.ask.suits(kind) for item in items]

    def fill(number: int, gpus: int, cpus: int, memory: int, so_far: Pattern) -> Iterator[Pattern]:
        if number == len(items):
            left = (gpus, cpus, memory)
            may_add = (suited[i] and so_far[i] < one.most and _fits(one.ask, left) for i, one in enumerate(items))
            if any(so_far) and not any(may_add):
                yield so_far
            return
        ask, most = items[number].ask, items[number].most if suited[number] else 0
        for count in range(most + 1):
            rest = (gpus - count * ask.total_milli, cpus - count * ask.cpu_milli, memory - count * ask.memory_mib)
            if min(rest) < 0:
                return
            yield from fill(number + 1, *rest, (*so_far, count))

    yield from fill(0, kind.gpus * WHOLE, kind.cpu_milli, kind.memory_mib, ())


def _fits(ask: Ask, left: tuple[int, int, int]) -> bool:
    return left[0] >= ask.total_milli and left[1] >= ask.cpu_milli and left[2] >= ask.memory_mib


class _Program:
    """The columns and rows of the program; every row is a sum that must be at least `least`."""

    def __init__(
        self, offers: Sequence[Offer], items: Sequence[_Item], columns: Sequence[tuple[Offer, Pattern]]
    ) -> None:
        self._columns = columns
        self._where: list[tuple[int, Place]] = [
            (number, where)
            for number, item in enumerate(items)
            if item.gang is not None
            for where in sorted({place(item.gang.spec.resources, offer) for offer in offers})
        ]
        most_nodes = sum(item.count for item in items)
        self.cost: NDArray[np.float64] = np.array(
            [offer.price_usd_per_hour for offer, _ in columns] + [0.0] * len(self._where)
        )
        self.most: NDArray[np.float64] = np.array([float(most_nodes)] * len(columns) + [1.0] * len(self._where))
        self._entries: list[dict[int, float]] = []
        self._least: list[float] = []
        self._capacities(offers)
        self._demands(items)
        self.least: NDArray[np.float64] = np.array(self._least)
        self.rows = lil_matrix((len(self._entries), len(self.cost)))
        for row, entries in enumerate(self._entries):
            for column, value in entries.items():
                self.rows[row, column] = value

    def _row(self, entries: dict[int, float], least: float) -> None:
        self._entries.append(entries)
        self._least.append(least)

    def _capacities(self, offers: Sequence[Offer]) -> None:
        for offer in offers:
            if offer.capacity is not None:
                mine = {column: -1.0 for column, (of, _) in enumerate(self._columns) if of == offer}
                self._row(mine, -float(offer.capacity))

    def _demands(self, items: Sequence[_Item]) -> None:
        first = len(self._columns)
        for number, item in enumerate(items):
            holds = {
                column: float(pattern[number]) for column, (_, pattern) in enumerate(self._columns) if pattern[number]
            }
            if item.gang is None:
                self._row(holds, float(item.count))
                continue
            resources = item.gang.spec.resources
            chosen = {first + i: 1.0 for i, (of, _) in enumerate(self._where) if of == number}
            self._row(chosen, 1.0)
            for index, (of, where) in enumerate(self._where):
                if of == number:
                    there = {c: n for c, n in holds.items() if place(resources, self._columns[c][0]) == where}
                    self._row(there | {first + index: -float(item.count)}, 0.0)
