"""Who waits: demands in classes of those that ask alike and stand alike, classes by the shape of their gangs.

What the first of a class is refused the others of it are refused as well, and a shape that fits nowhere is refused to
all its classes at once: a pass costs a look at each shape, not at each demand.
"""

import heapq
from bisect import bisect_left, insort
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import islice
from operator import itemgetter

from godwit.scheduler.asks import Ask
from godwit.scheduler.demands import Demand
from godwit.scheduler.policies import Order, Rank

Key = tuple[Rank, bool, float, str]
"""The order of the waiting demands of a class: rank, then what was interrupted, then the older."""

Shape = tuple[Ask, int, int]
"""What decides whether a gang fits anywhere: the ask, the fewest nodes, and the level it may not leave."""

Name = tuple[int, str, bool, Rank, str, float | None]
"""What the demands of a class have in common besides their shape; the last is how long they say that they run."""


@dataclass(slots=True)
class Group:
    """Classes of one shape and one project: a gate refuses all of them or none. `why` is true at the gate's `stamp`."""

    stamp: int = -1
    why: str | None = None


@dataclass(slots=True)
class Class:
    """Waiting demands that ask alike and stand alike, in order; never empty while it is kept."""

    group: Group
    waiting: list[tuple[Key, Demand]] = field(default_factory=list)

    @property
    def first(self) -> Demand:
        """Who is looked at for all of them."""
        return self.waiting[0][1]

    @property
    def key(self) -> Key:
        """The key of the first."""
        return self.waiting[0][0]


class Waiting:
    """All that waits. Keys are unique, since they end in the job's id."""

    def __init__(self) -> None:
        self._classes: dict[Shape, dict[Name, Class]] = {}
        self._groups: dict[Shape, dict[str, Group]] = {}
        self._place_of: dict[str, tuple[Shape, Name, Key]] = {}

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._place_of

    def __len__(self) -> int:
        return len(self._place_of)

    def add(self, demand: Demand, rank: Rank, *, is_unlike_others: bool = False) -> None:
        """A demand begins to wait; one that is unlike others is a class of its own."""
        key: Key = (rank, not demand.is_recovering, demand.since, demand.job_id)
        shape = (demand.ask, demand.nodes_min, demand.within)
        own = demand.job_id if is_unlike_others else ""
        name: Name = (demand.nodes_max, demand.project, demand.may_yield, rank, own, demand.estimate_s)
        alike = self._classes.setdefault(shape, {})
        if name not in alike:
            alike[name] = Class(self._groups.setdefault(shape, {}).setdefault(demand.project, Group()))
        insort(alike[name].waiting, (key, demand))
        self._place_of[demand.job_id] = (shape, name, key)

    def remove(self, job_id: str) -> None:
        """It waits no more. Raises `KeyError` when it did not."""
        shape, name, key = self._place_of.pop(job_id)
        alike = self._classes[shape]
        waiting = alike[name].waiting
        del waiting[bisect_left(waiting, key, key=itemgetter(0))]
        if not waiting:
            del alike[name]
        if not alike:
            del self._classes[shape], self._groups[shape]

    def get(self, job_id: str) -> Demand | None:
        """The demand of a job; None when it does not wait."""
        if job_id not in self._place_of:
            return None
        shape, name, key = self._place_of[job_id]
        waiting = self._classes[shape][name].waiting
        return waiting[bisect_left(waiting, key, key=itemgetter(0))][1]

    def shapes(self) -> Iterator[tuple[Shape, list[Class]]]:
        """Every shape that anybody waits for, and its classes."""
        for shape, alike in self._classes.items():
            yield shape, list(alike.values())

    def classes(self) -> Iterator[Class]:
        """Every class."""
        for alike in self._classes.values():
            yield from alike.values()

    def in_turn(self, order: Order, now: float, unlike_others: Collection[str]) -> Iterator[Demand]:
        """Every demand in the order of its turn, asked again as starts are booked.

        Asked of the first of each line only: a start that moves a project back moves its lines, not all of its demands.
        """
        lines = [iter(line) for line in self._lines(unlike_others)]
        heads = [(order.turn(one, now), key, i, one) for i, line in enumerate(lines) for key, one in islice(line, 1)]
        heapq.heapify(heads)
        while heads:
            turn, key, number, demand = heapq.heappop(heads)
            now_turn = order.turn(demand, now)
            if now_turn > turn:
                heapq.heappush(heads, (now_turn, key, number, demand))
                continue
            yield demand
            for key, one in islice(lines[number], 1):
                heapq.heappush(heads, (order.turn(one, now), key, number, one))

    def _lines(self, unlike_others: Collection[str]) -> Iterator[list[tuple[Key, Demand]]]:
        """Demands of equal standing in order, however long they last; those that are unlike others each alone."""
        for alike in self._classes.values():
            lines: dict[object, list[tuple[Key, Demand]]] = {}
            for name, one in alike.items():
                for key, demand in one.waiting:
                    of = demand.job_id if demand.job_id in unlike_others else name[:-1]
                    lines.setdefault(of, []).append((key, demand))
            yield from (sorted(line, key=itemgetter(0)) for line in lines.values())

    def in_order(self) -> list[Demand]:
        """Every demand, by key."""
        entries = (entry for one in self.classes() for entry in one.waiting)
        return [demand for _, demand in sorted(entries, key=itemgetter(0))]
