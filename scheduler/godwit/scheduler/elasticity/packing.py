"""On which nodes sizes come to lie: jobs whose size stays keep their nodes, the others fill what is left."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

Nodes = tuple[tuple[int, int], ...]
"""Pairs of a node's number and the units on it, in order of nodes."""


@dataclass(frozen=True)
class Want:
    """What one job is to get: its nodes until now, units, the least that it can run on, and if it waited too long."""

    nodes: Nodes
    units: int
    least: int
    overdue: bool = False

    @property
    def stays(self) -> bool:
        """Whether it only has to keep what it has."""
        return _count(self.nodes) == self.units


def pack(wanted: Mapping[str, Want], units: Sequence[int], units_per_node: int) -> dict[str, Nodes]:
    """Nodes for each job in `wanted`; `units` are what each node has for all of them together.

    Whose size stays keeps its nodes. The others come after them, the largest first, since whole nodes are what runs
    out. A job of at most one node is never cut over two: where no node has enough it gets the most that one has, and
    asks again next time. One that finds less than it can run on is missing in the answer. Before that happens for want
    of a node in one piece, jobs smaller than it are moved out of its way; and one that is overdue comes first of all,
    whoever is left without.
    """
    placed = _packed(wanted, units, units_per_node, lambda want: want.stays)
    missing = _missing(wanted, placed)
    if not missing or units_per_node == 1:
        return placed
    largest = max(want.units for want in missing)
    moved = _packed(wanted, units, units_per_node, lambda want: want.stays and want.units >= largest)
    best = moved if len(moved) > len(placed) else placed
    if any(want.overdue for want in _missing(wanted, best)):
        return _packed(wanted, units, units_per_node, lambda want: want.overdue)
    return best


def _missing(wanted: Mapping[str, Want], placed: Mapping[str, Nodes]) -> list[Want]:
    return [want for name, want in wanted.items() if name not in placed]


def _packed(
    wanted: Mapping[str, Want], units: Sequence[int], units_per_node: int, first: Callable[[Want], bool]
) -> dict[str, Nodes]:
    """One pass: those that come `first`, then the others, the largest first of both."""
    free, placed = _Free(units), dict[str, Nodes]()
    for name, want in sorted(wanted.items(), key=lambda item: (not first(item[1]), -item[1].units, item[0])):
        if want.stays and free.holds(want.nodes):
            placed[name] = tuple(free.take(node, count) for node, count in want.nodes)
            continue
        nodes = tuple(sorted(_choose(free, want.units, units_per_node, [node for node, _ in want.nodes])))
        if _count(nodes) >= want.least:
            placed[name] = nodes
        else:
            free.give_back(nodes)
    return placed


def _count(nodes: Nodes) -> int:
    return sum(count for _, count in nodes)


class _Free:
    """Free units of each node, and the nodes by how many they have."""

    def __init__(self, units: Sequence[int]) -> None:
        self._units = list(units)
        # By free units: node numbers, the smallest first. A number stays behind when its node changes, and is dropped
        # when it comes up.
        self._levels: list[list[int]] = [[] for _ in range(max(units, default=0) + 1)]
        for node, count in enumerate(units):
            self._levels[count].append(node)
        for level in self._levels:
            heapify(level)

    @property
    def most(self) -> int:
        """The most units that one node has."""
        return next((count for count in range(len(self._levels) - 1, 0, -1) if self._first(count) is not None), 0)

    def holds(self, nodes: Nodes) -> bool:
        """Whether these units are free. A node that left the pool has no number here, or no units."""
        return all(node < len(self._units) and self._units[node] >= count for node, count in nodes)

    def take(self, node: int, count: int) -> tuple[int, int]:
        """Take units of one node; returns both numbers."""
        self._units[node] -= count
        heappush(self._levels[self._units[node]], node)
        return node, count

    def give_back(self, nodes: Nodes) -> None:
        """Undo taking these."""
        for node, count in nodes:
            self.take(node, -count)

    def tightest(self, least: int, own: Iterable[int]) -> tuple[int, int] | None:
        """The node with the fewest free units, but `least`, and how many: of several one of `own`, else the first."""
        for count in range(least, len(self._levels)):
            node = self._first(count)
            if node is not None:
                mine = [one for one in own if one < len(self._units) and self._units[one] == count]
                return min(mine, default=node), count
        return None

    def _first(self, count: int) -> int | None:
        level = self._levels[count]
        while level and self._units[level[0]] != count:
            heappop(level)
        return level[0] if level else None


def _choose(free: _Free, wanted: int, units_per_node: int, own: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Take `wanted` units, or as many as there are: on the fewest nodes, and of those on the ones that fit best."""
    left = min(wanted, free.most) if wanted <= units_per_node else wanted
    while left > 0:
        # Below a full share of a node the largest piece that is left comes next.
        found = free.tightest(min(left, units_per_node), own) or free.tightest(max(free.most, 1), own)
        if found is None:
            return
        node, count = found
        yield free.take(node, min(left, count))
        left -= min(left, count)
