"""On which nodes sizes come to lie: jobs whose size stays keep their nodes, the others fill what is left."""

from collections.abc import Mapping, Sequence

Nodes = tuple[tuple[int, int], ...]
"""Pairs of a node's number and the units on it, in order of nodes."""


def pack(
    current: Mapping[str, Nodes], wanted: Mapping[str, int], units: Sequence[int], units_per_node: int
) -> dict[str, Nodes]:
    """Nodes for each size in `wanted`; `units` are what each node has for all of them together.

    Largest first, since whole nodes are what runs out. A job of at most one node is never cut over two: where no node
    has enough it gets the most that one has, and asks again next time. One that finds nothing is missing in the answer.
    """
    free = list(units)
    placed: dict[str, Nodes] = {}
    for name, nodes in sorted(current.items()):
        if wanted.get(name) == sum(count for _, count in nodes) and _holds(free, nodes):
            placed[name] = _take(free, nodes)
    for name in sorted(wanted.keys() - placed.keys(), key=lambda name: (-wanted[name], name)):
        nodes = _choose(free, wanted[name], units_per_node, {node for node, _ in current.get(name, ())})
        if nodes:
            placed[name] = _take(free, nodes)
    return placed


def _holds(free: Sequence[int], nodes: Nodes) -> bool:
    # A node that left the pool meanwhile has no number here, or no units.
    return all(node < len(free) and free[node] >= count for node, count in nodes)


def _take(free: list[int], nodes: Nodes) -> Nodes:
    for node, count in nodes:
        free[node] -= count
    return nodes


def _choose(free: Sequence[int], wanted: int, units_per_node: int, own: set[int]) -> Nodes:
    if wanted <= units_per_node:
        size = min(wanted, max(free, default=0))
        tight = [(count, node not in own, node) for node, count in enumerate(free) if count >= size]
        return ((min(tight)[2], size),) if size else ()
    # The fullest shares on the fewest nodes: empty nodes first, and for the rest the node that it fits most tightly.
    chosen, left = dict[int, int](), wanted
    while left > 0:
        able = [(free[node], node not in own, node) for node in range(len(free)) if node not in chosen and free[node]]
        if not able:
            break
        enough = [one for one in able if one[0] >= min(left, units_per_node)]
        _, _, node = min(enough) if enough else min(able, key=lambda one: (-one[0], one[1], one[2]))
        chosen[node] = min(left, free[node])
        left -= chosen[node]
    return tuple(sorted(chosen.items()))
