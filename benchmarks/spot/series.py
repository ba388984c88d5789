"""Spot availability as it was: public traces, from when on, and when a job starts."""

import csv
import gzip
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks import traces

FOLDER = "spot"


@dataclass(frozen=True)
class Series:
    """Whether capacity for the whole job was `there`: looks x places, one look every `look_s` seconds."""

    names: tuple[str, ...]
    there: NDArray[np.bool_]
    look_s: int

    def one(self, place: int) -> "Series":
        """The same in one place only."""
        return Series(self.names[place : place + 1], self.there[:, place : place + 1], self.look_s)

    def starts(self, count: int, window_h: float) -> list[int]:
        """`count` looks at which windows of `window_h` start, evenly over the series."""
        last = len(self.there) - int(window_h * 3600 // self.look_s) - 1
        return [round(last * index / (count - 1)) for index in range(count)]


def read(name: str, machines: int = 1, every: int = 1) -> Series:
    """A trace, of which one look in `every` is kept. Raises FileNotFoundError where it is not."""
    with gzip.open(traces.path(FOLDER, name), "rt", newline="") as lines:
        header, *rows = csv.reader(lines)
    counts = np.array([[int(cell or 0) for cell in row[2:]] for row in rows[::every]])
    return Series(tuple(header[2:]), counts >= machines, (int(rows[1][1]) - int(rows[0][1])) * every)


def windows(name: str) -> Sequence[int]:
    """The looks at which jobs start, from a file of them."""
    with gzip.open(traces.path(FOLDER, name), "rt", newline="") as lines:
        return [int(row["start_tick"]) for row in csv.DictReader(lines)]
