"""How long spot capacity stays, and stays away, by how long it has done so already: what was seen, and a prior.

Capacity that came a minute ago is often gone the next; what has lasted a day mostly lasts another. One rate for both
would leave good machines and wait for bad ones, so that ends are counted by age, in bands, as life tables are.
"""

from bisect import bisect_right
from copy import copy
from dataclasses import dataclass
from itertools import pairwise

AGES_H = (0.0, 0.25, 0.75, 1.5, 3.0, 6.0, 12.0)
"""Where the bands of age begin, in hours; each about twice as long as the one before, as what differs is the scale."""

BANDS = len(AGES_H)

WIDTHS_H = tuple(until - since for since, until in pairwise(AGES_H))
"""How long each band is, in hours, but the last, which has no end."""

_MIDDLES_H = tuple(
    max(0.25, (since + until) / 2) for since, until in zip(AGES_H, (*AGES_H[1:], 2 * AGES_H[-1]), strict=True)
)

PRIOR_PER_HOUR = tuple(1 / middle_h for middle_h in _MIDDLES_H)
"""Ends an hour before anything was seen: one over the age. What has lasted for a time then lasts as long again with
even odds, which is all that can be said of a thing whose scale is unknown (Gott, "Implications of the Copernican
principle for our future prospects", Nature 363, 1993). It weighs as much as one end that was seen in each band."""


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """What is known of one kind of spells: `ends` that were seen and `hours` that passed, in each band of age.

    `times` multiplies the rates: a gang of four ends four times as often, and so does a market that is as lossy.
    """

    ends: tuple[float, ...] = (0.0,) * BANDS
    hours: tuple[float, ...] = (0.0,) * BANDS
    times: float = 1.0

    @property
    def per_hour(self) -> tuple[float, ...]:
        """Ends an hour in each band, the prior counted in."""
        seen = zip(self.ends, self.hours, PRIOR_PER_HOUR, strict=True)
        return tuple(self.times * (ends + 1) / (hours + 1 / prior) for ends, hours, prior in seen)

    def at(self, age_h: float) -> float:
        """Ends an hour of what has lasted for `age_h`."""
        band = band_of(age_h)
        return self.times * (self.ends[band] + 1) / (self.hours[band] + 1 / PRIOR_PER_HOUR[band])

    def __add__(self, other: "Lifetimes") -> "Lifetimes":
        """What was seen of both."""
        ends = tuple(map(sum, zip(self.ends, other.ends, strict=True)))
        return Lifetimes(ends, tuple(map(sum, zip(self.hours, other.hours, strict=True))), self.times)


NOTHING_SEEN = Lifetimes()
"""The prior alone."""


def band_of(age_h: float) -> int:
    """The band of an age."""
    return max(0, bisect_right(AGES_H, age_h) - 1)


class Watch:
    """Follows from look to look whether something can be had, and counts how long it lasts and stays away."""

    def __init__(self) -> None:
        self.is_there: bool | None = None
        self.age_h = 0.0
        self._ends: dict[bool, list[float]] = {True: [0.0] * BANDS, False: [0.0] * BANDS}
        self._hours: dict[bool, list[float]] = {True: [0.0] * BANDS, False: [0.0] * BANDS}

    def see(self, is_there: bool, after_h: float) -> None:
        """At this look, `after_h` after the last one, it was there or not. What was there before is counted."""
        if self.is_there is None:
            self.is_there = is_there
            return
        band = band_of(self.age_h)
        self._hours[self.is_there][band] += after_h
        if is_there == self.is_there:
            self.age_h += after_h
            return
        self._ends[self.is_there][band] += 1
        self.is_there, self.age_h = is_there, 0.0

    def lifetimes(self, *, there: bool) -> Lifetimes:
        """Of spells in which it was there, or away."""
        return Lifetimes(tuple(self._ends[there]), tuple(self._hours[there]))

    def copy(self) -> "Watch":
        """One that goes on from here by itself."""
        twin = copy(self)
        twin._ends = {there: list(counts) for there, counts in self._ends.items()}
        twin._hours = {there: list(counts) for there, counts in self._hours.items()}
        return twin
