"""Figures over time that stay small however long they are kept: when there are too many points, every second goes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

FIELDS_MAX = 24
"""Figures of one series: a program may tell of as many as it likes, and makes up names."""


@dataclass(frozen=True)
class Bounds:
    """At most `points_max` points (an even number), not closer than `gap_s`, and of the last `span_s` (None: all)."""

    points_max: int
    gap_s: float
    span_s: float | None = None


@dataclass(frozen=True)
class Series:
    """Points in columns, the oldest first: `at`, and by name one value for each, None where it was not told.

    Points are `gap_s` apart at the least; that doubles whenever every second point had to go.
    """

    gap_s: float = 0.0
    at: tuple[float, ...] = ()
    fields: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)

    def takes(self, at: float) -> bool:
        """Whether a point at this instant is far enough from the last one to be kept."""
        return not self.at or at - self.at[-1] >= self.gap_s


def appended(series: Series, at: float, values: Mapping[str, float], bounds: Bounds) -> Series:
    """The series with one more point, or the same where it comes too soon. Pure."""
    series = replace(series, gap_s=max(series.gap_s, bounds.gap_s))
    if not series.takes(at):
        return series
    since = 0 if bounds.span_s is None else sum(old < at - bounds.span_s for old in series.at)
    count = len(series.at) - since
    names = [*series.fields, *(name for name in values if name not in series.fields)][:FIELDS_MAX]
    nothing = (None,) * len(series.at)
    fields = {name: (*series.fields.get(name, nothing)[since:], values.get(name)) for name in names}
    grown = Series(series.gap_s, (*series.at[since:], at), fields)
    return _thinned(grown) if count + 1 > bounds.points_max else grown


def _thinned(series: Series) -> Series:
    """Every second point, the newest among them."""
    first = (len(series.at) - 1) % 2
    fields = {name: column[first::2] for name, column in series.fields.items()}
    return Series(series.gap_s * 2, series.at[first::2], fields)
