"""A job on a trace: it looks, a policy chooses, and time passes until the next look.

Capacity that is there at a look is there until the next one. A changeover is paid at the price of the new machines. The
policy knows what was seen before, from the beginning of the trace, and nothing of what comes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from godwit.scheduler.spot.situation import Choice, Market, Place, Situation, Task, Where
from godwit.scheduler.spot.spells import Lifetimes, Watch

from benchmarks.spot.series import Series

Policy = Callable[[Situation], Choice]

DONE_H = 1e-9


@dataclass
class Seen:
    """What was seen of a series so far: each place, all together, and what else was there when one was lost."""

    places: list[Watch]
    any: Watch = field(default_factory=Watch)
    losses: int = 0
    elsewhere: int = 0

    @classmethod
    def nothing(cls, series: Series) -> "Seen":
        """Before the first look."""
        return cls([Watch() for _ in series.names])

    def look(self, there: list[bool], after_h: float) -> None:
        """One look more."""
        lost = sum(watch.is_there is True and not is_there for watch, is_there in zip(self.places, there, strict=True))
        self.losses += lost
        self.elsewhere += lost * any(there)
        for watch, is_there in zip(self.places, there, strict=True):
            watch.see(is_there, after_h)
        self.any.see(any(there), after_h)

    def copy(self) -> "Seen":
        """One that goes on from here by itself."""
        return replace(self, places=[watch.copy() for watch in self.places], any=self.any.copy())

    def market(self, usd_per_hour: float) -> Market:
        """All places together, as the policy is told."""
        lifetimes = self.any.lifetimes
        lasts = sum((watch.lifetimes(there=True) for watch in self.places), Lifetimes())
        # One of two, before anything was seen; nowhere else is there nothing else.
        share = (self.elsewhere + 1) / (self.losses + 2) if len(self.places) > 1 else 0.0
        return Market(usd_per_hour, self.any.age_h, lasts, lifetimes(there=True), lifetimes(there=False), share)

    def to_be_had(self, series: Series, usd_per_hour: float) -> tuple[Place, ...]:
        """The places that are there now."""
        return tuple(
            Place(name, usd_per_hour, watch.age_h, watch.lifetimes(there=True))
            for name, watch in zip(series.names, self.places, strict=True)
            if watch.is_there
        )


@dataclass(frozen=True)
class Run:
    """What came of a job: dollars, and whether it ended in time."""

    usd: float
    in_time: bool
    changeovers: int


def replay(policy: Policy, series: Series, start: int, task: Task, spot_usd_per_hour: float, past: Seen) -> Run:
    """One job that starts at look `start`, of which `past` is what was seen before."""
    look_h, seen, rows = series.look_s / 3600, past.copy(), series.there[start:].tolist()
    left_h, at_h, ended_h, starting_h, usd, changeovers = task.work_h, 0.0, 0.0, 0.0, 0.0, 0
    where, place = Where.NOWHERE, ""
    for row in rows:
        if left_h <= DONE_H:
            break
        seen.look(row, look_h)
        places = seen.to_be_had(series, spot_usd_per_hour)
        if where is Where.SPOT and all(one.name != place for one in places):
            where, starting_h = Where.NOWHERE, 0.0
        market = seen.market(spot_usd_per_hour)
        choice = policy(Situation(task, left_h, task.window_h - at_h, market, places, where, starting_h, look_h))
        there = choice.place.name if choice.place is not None else place
        if choice.where is not where or there != place:
            starting_h = 0.0 if choice.where is Where.NOWHERE else task.changeover_h
            changeovers += choice.where is not Where.NOWHERE
        where, place = choice.where, there
        if where is not Where.NOWHERE:
            used_h = min(look_h, starting_h + left_h)
            left_h -= max(0.0, used_h - starting_h)
            starting_h = max(0.0, starting_h - look_h)
            usd += used_h * (task.usd_per_hour if where is Where.ON_DEMAND else spot_usd_per_hour)
            ended_h = at_h + used_h
        at_h += look_h
    return Run(usd, left_h <= DONE_H and ended_h <= task.window_h + DONE_H, changeovers)


def pasts(series: Series, starts: Sequence[int]) -> dict[int, Seen]:
    """What was seen before each start."""
    found, seen, look = dict[int, Seen](), Seen.nothing(series), 0
    rows = series.there.tolist()
    for start in sorted(set(starts)):
        for row in rows[look:start]:
            seen.look(row, series.look_s / 3600)
        look, found[start] = start, seen.copy()
    return found
