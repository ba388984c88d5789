"""How often a job saves, from what its saves cost, how often its nodes fail, and what its owner wishes.

The arithmetic is `godwit.domain.cadence`, since the node of the job repeats it whenever a save was measured. Here is
what only the planner's side knows: the failures of all its nodes together, as they are believed today.

    rate = cadence.failures_per_s(nodes=512)                      # the prior; or the sum of each node's own
    cadence.choose(SaveCost(stall_s=2.0, commit_s=40.0), rate).interval_s
"""

from dataclasses import dataclass

from godwit.domain import cadence
from godwit.domain.cadence import LONGEST_S, SHORTEST_S, Cadence, SaveCost

PRIOR_PER_1000_NODE_DAYS = 6.5
"""Failures of a node of eight GPUs, as measured on a research cluster of 16,000 A100s (Kokolis et al., "Revisiting
Reliability in Large-Scale Machine Learning Research Clusters", arXiv 2410.21680)."""

RAREST_MTBF_S = 3650 * 86_400.0
"""Ten years: beyond it nothing depends on the figure, and sums stay finite."""

SOONEST_MTBF_S = 60.0
"""A gang that fails more often than once a minute gets nowhere at any cadence."""

DAY_S = 86_400.0


@dataclass(frozen=True)
class Wish:
    """The owner's bounds, in seconds: both None for `interval: auto`, the same number twice for `interval: 10m`."""

    shortest_s: float | None = None
    longest_s: float | None = None


@dataclass(frozen=True)
class Choice:
    """How often to save, and why, for a person; `cadence` is what the node goes on with."""

    interval_s: float
    cadence: Cadence
    reason: str


def failures_per_s(nodes: int, per_1000_node_days: float = PRIOR_PER_1000_NODE_DAYS) -> float:
    """Failures that stop a gang of so many nodes alike, per second: each of them stops it."""
    return nodes * per_1000_node_days / 1000 / DAY_S


def of(rate_per_s: float, wish: Wish = Wish()) -> Cadence:
    """What a job's node needs to choose, from the failures per second of all its nodes together."""
    mtbf_s = min(RAREST_MTBF_S, max(SOONEST_MTBF_S, 1 / rate_per_s if rate_per_s > 0 else RAREST_MTBF_S))
    longest_s = wish.longest_s or max(LONGEST_S, wish.shortest_s or 0.0)
    shortest_s = min(longest_s, wish.shortest_s or SHORTEST_S)
    return Cadence(mtbf_s, shortest_s, longest_s)


def choose(cost: SaveCost, rate_per_s: float, wish: Wish = Wish()) -> Choice:
    """How often a job should save whose saves cost this and whose nodes fail so often, within its owner's wish."""
    bounds = of(rate_per_s, wish)
    interval_s = bounds.interval_s(cost)
    optimum_s = cadence.optimum_s(cost.stall_s, bounds.mtbf_s)
    return Choice(interval_s, bounds, _reason(cost, bounds, interval_s, optimum_s))


def _reason(cost: SaveCost, bounds: Cadence, interval_s: float, optimum_s: float) -> str:
    best = f"saves of {cost.stall_s:.3g} s and a failure every {bounds.mtbf_s / 3600:.3g} h make {optimum_s:.0f} s best"
    if bounds.shortest_s == bounds.longest_s:
        return f"its owner wants {interval_s:.0f} s ({best})"
    if interval_s == bounds.longest_s < optimum_s:
        return f"{best}; {interval_s:.0f} s is the longest allowed"
    if interval_s > optimum_s:
        why = "the shortest allowed" if interval_s == bounds.shortest_s else "what a commit takes"
        return f"{best}; {interval_s:.0f} s is {why}"
    return best
