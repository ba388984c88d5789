"""What a job with a deadline must be told to choose its machines: what is left, how long, where it is, what there is.

    slack = time until the deadline - work that is left - what is left of a changeover

A changeover (a new machine, and starting from the last checkpoint) takes slack, and so does waiting; work does not.
Two rules on slack keep the deadline whatever spot capacity does, as long as on-demand capacity can be bought (Wu et
al., "Can't Be Late: Optimizing Spot Instance Savings under Deadlines", NSDI'24, section 3):

    wait only while   slack - time until the next look >= one changeover, to on demand
    try spot only if  slack >= two changeovers + the time in which a loss goes unseen: one may come to nothing

A third rule is a hedge. Learned rates say how long capacity stays away as a rule, not that a bad day may be followed by
a good one, for which slack is worth keeping. Uniform Progress keeps as much as a steady pace would have left; here it
is a share of that (`RESERVE`):

    wait only while   slack >= RESERVE x slack at the start x work that is left / work at the start
"""

from dataclasses import dataclass
from enum import StrEnum

from godwit.scheduler.spot.spells import NOTHING_SEEN, Lifetimes

EPSILON_H = 1e-9
"""Times are sums of floats: what differs by less is equal."""

RESERVE = 0.75
"""The share of a steady pace's slack that is not waited away: 1 as in Uniform Progress, 0 as in greedy. A choice, made
on 50 of the 300 windows that `benchmarks.spot` starts with, of 0, 0.5, 0.7, 0.85, 1 and 1.1; what it does on its other
traces was not looked at before."""


class Where(StrEnum):
    """On what a job runs."""

    NOWHERE = "nowhere"
    SPOT = "spot"
    ON_DEMAND = "on demand"


@dataclass(frozen=True, slots=True)
class Task:
    """A job with a deadline: `work_h` hours of work in the `window_h` hours from its start to its deadline.

    `changeover_h` is what starting on other machines takes, paid at their price. `usd_per_hour` is the price on demand,
    for all its machines. `unseen_h`: how long the loss of a spot machine may go unseen.
    """

    work_h: float
    window_h: float
    changeover_h: float
    usd_per_hour: float
    unseen_h: float = 0.0

    @property
    def reserve(self) -> float:
        """Hours of slack that are kept for each hour of work that is left."""
        return RESERVE * max(0.0, self.window_h - self.work_h) / max(EPSILON_H, self.work_h)


@dataclass(frozen=True, slots=True)
class Place:
    """Spot capacity that can be had now for the whole job, at one provider in one place, at `usd_per_hour` in all.

    It has been there for `age_h`, and `lasts` so long as a rule.
    """

    name: str
    usd_per_hour: float
    age_h: float = 0.0
    lasts: Lifetimes = NOTHING_SEEN


@dataclass(frozen=True, slots=True)
class Market:
    """Spot capacity in all places together: there or away for `age_h`, and how long either lasts.

    `usd_per_hour` is what it costs when it is there, and `lasts` how long one place keeps it. `elsewhere`: in which
    share of losses another place was there at once; 0 where there is only one.
    """

    usd_per_hour: float
    age_h: float = 0.0
    lasts: Lifetimes = NOTHING_SEEN
    there: Lifetimes = NOTHING_SEEN
    away: Lifetimes = NOTHING_SEEN
    elsewhere: float = 0.0


@dataclass(frozen=True, slots=True)
class Situation:
    """A task at one instant: `left_h` of work in `until_h`, of which `starting_h` of a changeover is still to come.

    The next look is `look_h` from now. `places` are those where spot capacity can be had now.
    """

    task: Task
    left_h: float
    until_h: float
    market: Market
    places: tuple[Place, ...] = ()
    where: Where = Where.NOWHERE
    starting_h: float = 0.0
    look_h: float = 0.0

    @property
    def slack_h(self) -> float:
        """Hours that may be lost before the deadline is."""
        return self.until_h - self.left_h - self.starting_h

    @property
    def may_wait(self) -> bool:
        """Whether on-demand capacity is soon enough at the next look, and the reserve is there."""
        is_soon_enough = self.slack_h - self.look_h >= self.task.changeover_h - EPSILON_H
        return is_soon_enough and self.slack_h >= self.task.reserve * self.left_h - EPSILON_H

    @property
    def may_try_spot(self) -> bool:
        """Whether a spot machine may be started that is lost at once, and on-demand capacity is soon enough then."""
        return self.slack_h >= 2 * self.task.changeover_h + self.task.unseen_h - EPSILON_H


@dataclass(frozen=True, slots=True)
class Choice:
    """On what it should run now, in which of the places, and why."""

    where: Where
    place: Place | None = None
    because: str = ""
