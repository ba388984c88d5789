"""A figure: what was measured, in which unit, and the goal that it is held to."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Bound(StrEnum):
    """On which side of its goal a figure should lie."""

    AT_MOST = "<="
    AT_LEAST = ">="


@dataclass(frozen=True)
class Goal:
    """A value to keep to."""

    bound: Bound
    value: float

    def met_by(self, value: float) -> bool:
        """Whether `value` keeps to it."""
        return value <= self.value if self.bound is Bound.AT_MOST else value >= self.value


@dataclass(frozen=True)
class Figure:
    """One measured value. Without a `goal` it is a baseline or stands for itself. `note` says what one must know."""

    name: str
    value: float
    unit: str
    goal: Goal | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """Whether the goal is met, as a word; empty without a goal."""
        if self.goal is None:
            return ""
        return "yes" if self.goal.met_by(self.value) else "NO"


def at_most(value: float) -> Goal:
    """A goal from above."""
    return Goal(Bound.AT_MOST, value)


def at_least(value: float) -> Goal:
    """A goal from below."""
    return Goal(Bound.AT_LEAST, value)


def table(figures: Sequence[Figure]) -> str:
    """The figures as lines of text, in columns."""
    rows = [("FIGURE", "VALUE", "UNIT", "GOAL", "MET", "NOTE"), *map(_cells, figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return "\n".join(_line(row, widths) for row in rows)


def _cells(figure: Figure) -> tuple[str, ...]:
    goal = "" if figure.goal is None else f"{figure.goal.bound} {_short(figure.goal.value)}"
    return (figure.name, _short(figure.value), figure.unit, goal, figure.verdict, figure.note)


def _line(row: tuple[str, ...], widths: Sequence[int]) -> str:
    name, value, unit, goal, met, note = row
    padded = (name.ljust(widths[0]), value.rjust(widths[1]), unit.ljust(widths[2]), goal.ljust(widths[3]))
    return "  ".join((*padded, met.ljust(widths[4]), note)).rstrip()


def _short(value: float) -> str:
    # Three figures are what a shared machine can be believed.
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
