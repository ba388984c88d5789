"""How often a job should save: Young's and Daly's optimum, between bounds.

A save stops the job for `stall_s`; a failure comes every M seconds (`mtbf_s`) and costs the work since the last
checkpoint. To save more often costs more stalls, to save less often more lost work; the sum is least at

    sqrt(2 stall M) [1 + 1/3 sqrt(stall / 2M) + 1/9 (stall / 2M)] - stall        for stall < 2M, else M

seconds of work between two saves: J. T. Daly, "A higher order estimate of the optimum checkpoint interval for restart
dumps", FGCS 22(3), 2006, eq. 37; the root alone is J. W. Young's, CACM 17(9), 1974. Near the optimum the sum is flat:
half or double the interval costs a quarter more of what stalls and lost work take, so a guess of either will do.
"""

import math
from dataclasses import dataclass

SHORTEST_S = 30.0
"""A choice: below it a store is written without pause, and what is lost is less than what a restart takes."""

LONGEST_S = 3600.0
"""A choice: jobs stop for more than failures (they give way, move, are cancelled by mistake), and an hour is what
people save by where nobody chooses for them. A job of few nodes loses at most `stall_s` an hour by it."""

UNMEASURED_STALL_S = 10.0
"""What a save is taken to cost before the first was seen: a few GB to a local disk. The first save replaces it."""

LEAST_STALL_S = 0.05
"""Nobody saves for nothing: even a copy to memory takes a moment, and the reading of a clock is no better."""

_MOST_EXPONENT = 50.0


@dataclass(frozen=True)
class SaveCost:
    """What a save takes: `stall_s` while the program stands still, `commit_s` until it lies in the store.

    With saves that go on in the background `stall_s` is the copy to memory or disk alone. What lies in the store later
    does not stop the program, but the next save should not come before it.
    """

    stall_s: float = UNMEASURED_STALL_S
    commit_s: float = 0.0


@dataclass(frozen=True)
class Cadence:
    """What the node of a job needs to choose its interval: seconds between failures, and the bounds in seconds."""

    mtbf_s: float
    shortest_s: float = SHORTEST_S
    longest_s: float = LONGEST_S

    def interval_s(self, cost: SaveCost) -> float:
        """Seconds from the end of one save to the start of the next, for a job whose saves cost this.

        Never less than a commit takes: a newer checkpoint would only overtake the one that is on its way.
        """
        wanted = optimum_s(cost.stall_s, self.mtbf_s)
        return min(self.longest_s, max(self.shortest_s, wanted, min(cost.commit_s, self.longest_s)))


def optimum_s(stall_s: float, mtbf_s: float) -> float:
    """Daly's optimum: seconds of work between two saves; see the module."""
    stall_s = max(LEAST_STALL_S, stall_s)
    ratio = stall_s / (2 * mtbf_s)
    if ratio >= 1:
        return mtbf_s
    return math.sqrt(2 * stall_s * mtbf_s) * (1 + math.sqrt(ratio) / 3 + ratio / 9) - stall_s


def slowdown(interval_s: float, stall_s: float, mtbf_s: float, restart_s: float = 0.0) -> float:
    """Wall time over work, 1 at least, of a job that saves so often and needs `restart_s` after each failure.

    Daly's exact model of exponential failures (eq. 20): M e^(R/M) (e^((interval + stall)/M) - 1) / interval.
    """
    restarting = math.exp(min(_MOST_EXPONENT, restart_s / mtbf_s))
    working = math.expm1(min(_MOST_EXPONENT, (interval_s + stall_s) / mtbf_s)) * mtbf_s / interval_s
    return restarting * working
