"""What was measured for the Pollux paper (Qiao et al., OSDI'21): step times, convergence, and the workloads.

Choices, each after section 5.3 of the paper and the reading of its public simulator:

- A placement that was measured is interpolated linearly between its local batch sizes. Rotations of a ring of nodes are
  one placement (`41` is `14`): the smallest rotation is looked up.
- Any other placement takes the mean over all measured ones with its number of nodes and GPUs, else it lies linearly
  between the two nearest numbers of GPUs on its nodes, else between the two nearest numbers of nodes with the same GPUs
  per node. (The paper's simulator interpolates in a triangulation of these points; the edges of ours are the axes.)
- Progress counts steps at the smallest measured batch size, and grows with each step by the gain of equation 4 of the
  paper, `(var + sqr) / (var / scale + sqr)`, from the gradient statistics of that epoch, linear between batch sizes.
- An application ends after all epochs of its convergence table: at the smallest progress of any batch size there.
"""

import csv
import gzip
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from benchmarks import traces

Floats = NDArray[np.float64]
Placement = tuple[int, ...]
"""GPUs on each node of a job, none of them zero."""

MAX_LOCAL_BATCH = {"yolov3": 8}
"""The public simulator holds yolov3 to 8 samples a GPU, though 16 were measured on few GPUs; only yolov3."""


@dataclass(frozen=True)
class Submission:
    """One row of a workload: what is submitted when (s), and the size and batch size its user asks for."""

    name: str
    at_s: float
    application: str
    gpus: int
    batch_size: int


class Application:
    """One of the six applications: its limits and what was measured of it."""

    def __init__(
        self, name: str, placed: Mapping[Placement, "Series"], grid: "Grid", convergence: "Convergence"
    ) -> None:
        self.name, self._placed, self._grid, self.convergence = name, placed, grid, convergence
        self.init_batch, self.max_batch = convergence.batch_sizes[0], convergence.batch_sizes[-1]
        local = np.concatenate([series.local_batch for series in placed.values()])
        self.min_local = int(local.min())
        self.max_local = MAX_LOCAL_BATCH.get(name, int(local.max()))
        self._seen: dict[tuple[Placement, int], tuple[float, float]] = {}

    def step_time_s(self, placement: Placement, local_batch: int) -> tuple[float, float]:
        """Seconds of one step, and of them the seconds of synchronisation."""
        key = placement, local_batch
        if key not in self._seen:
            ring = min(placement[at:] + placement[:at] for at in range(len(placement)))
            series = self._placed.get(ring) or self._grid.at(len(placement), sum(placement))
            self._seen[key] = series.at(local_batch)
        return self._seen[key]


@dataclass(frozen=True)
class Series:
    """Step and synchronisation seconds by local batch size: three arrays of one length, the first growing."""

    local_batch: Floats
    step_s: Floats
    sync_s: Floats

    def at(self, local_batch: float) -> tuple[float, float]:
        """Linear between what was measured, and its ends beyond."""
        step_s = np.interp(local_batch, self.local_batch, self.step_s)
        return float(step_s), float(np.interp(local_batch, self.local_batch, self.sync_s))


@dataclass(frozen=True)
class Grid:
    """Series by number of nodes, then by number of GPUs on them."""

    series: Mapping[int, Mapping[int, Series]]

    def at(self, nodes: int, gpus: int) -> Series:
        """The series of a size that need not have been measured."""
        low, high, share = _around(sorted(self.series), nodes)
        per_node = gpus / nodes
        return _between(self._on(low, per_node * low), self._on(high, per_node * high), share)

    def _on(self, nodes: int, gpus: float) -> Series:
        measured = self.series[nodes]
        low, high, share = _around(sorted(measured), gpus)
        return _between(measured[low], measured[high], share)


@dataclass(frozen=True)
class Convergence:
    """Gradient statistics (batch sizes x epochs) and the progress (epochs) at which each epoch ends."""

    batch_sizes: tuple[int, ...]
    progress: Floats
    grad_sqr: Floats
    grad_var: Floats

    @property
    def epochs(self) -> int:
        """How many epochs the application runs."""
        return len(self.progress)

    def gradients(self, batch_size: float, epoch: int) -> tuple[float, float]:
        """Squared norm and variance of the gradient during `epoch` (from 0)."""
        sqr = np.interp(batch_size, self.batch_sizes, self.grad_sqr[:, epoch])
        return float(sqr), float(np.interp(batch_size, self.batch_sizes, self.grad_var[:, epoch]))


@cache
def applications() -> Mapping[str, Application]:
    """All six by name; read once."""
    placed = defaultdict[str, dict[Placement, list[Row]]](dict)
    grid = defaultdict[str, dict[tuple[int, int], list[Row]]](dict)
    for row in _rows("placements"):
        placement = tuple(map(int, row["placement"]))
        placed[row["app"]].setdefault(placement, []).append(_row(row))
        grid[row["app"]].setdefault((len(placement), sum(placement)), []).append(_row(row))
    for row in _rows("scalability"):
        grid[row["app"]].setdefault((int(row["num_nodes"]), int(row["num_gpus"])), []).append(_row(row))
    convergence = _convergence()
    return {
        name: Application(name, {key: _series(rows) for key, rows in placed[name].items()}, _grid(grid[name]), known)
        for name, known in convergence.items()
    }


@cache
def workload(number: int) -> tuple[Submission, ...]:
    """The submissions of one workload in order of time."""
    return tuple(map(_submission, _rows(f"workload-{number}")))


Row = tuple[int, float, float]


def _submission(row: Mapping[str, str]) -> Submission:
    asked = int(row["num_replicas"]), int(row["batch_size"])
    return Submission(row["name"], float(row["time"]), row["application"], *asked)


def _row(row: Mapping[str, str]) -> Row:
    return int(row["local_bsz"]), float(row["step_time_s"]), float(row["sync_time_s"])


def _rows(name: str) -> Iterator[dict[str, str]]:
    with gzip.open(traces.path("pollux", f"{name}.csv.gz"), "rt", newline="") as lines:
        yield from csv.DictReader(lines)


def _series(rows: Sequence[Row]) -> Series:
    # Several placements of one number of nodes and GPUs give several rows per local batch size: their mean counts.
    by_batch = defaultdict[int, list[Row]](list)
    for row in rows:
        by_batch[row[0]].append(row)
    means = [np.mean(by_batch[batch], axis=0) for batch in sorted(by_batch)]
    return Series(*np.array(means, dtype=np.float64).T)


def _grid(rows: Mapping[tuple[int, int], Sequence[Row]]) -> Grid:
    series = defaultdict[int, dict[int, Series]](dict)
    for (nodes, gpus), measured in rows.items():
        series[nodes][gpus] = _series(measured)
    return Grid(series)


def _convergence() -> dict[str, Convergence]:
    cells = defaultdict[str, dict[int, list[tuple[float, float, float]]]](dict)
    for row in _rows("convergence"):
        cell = float(row["progress"]), float(row["grad_sqr"]), float(row["grad_var"])
        cells[row["app"]].setdefault(int(row["batch_size"]), []).append(cell)
    found = {}
    for name, by_batch in cells.items():
        batch_sizes = tuple(sorted(by_batch))
        epochs = min(map(len, by_batch.values()))
        table = np.array([by_batch[batch][:epochs] for batch in batch_sizes])
        found[name] = Convergence(batch_sizes, table[:, :, 0].min(axis=0), table[:, :, 1], table[:, :, 2])
    return found


def _around(known: Sequence[int], wanted: float) -> tuple[int, int, float]:
    # The known numbers on both sides of `wanted`, and how far it lies from the first to the second.
    above = bisect_left(known, wanted)
    if above == len(known):
        return known[-1], known[-1], 0.0
    if known[above] == wanted or above == 0:
        return known[above], known[above], 0.0
    low, high = known[above - 1], known[above]
    return low, high, (wanted - low) / (high - low)


def _between(low: Series, high: Series, share: float) -> Series:
    if share == 0.0 or low is high:
        return low
    batches = low.local_batch if len(low.local_batch) >= len(high.local_batch) else high.local_batch

    def mixed(of_low: Floats, of_high: Floats) -> Floats:
        below = np.interp(batches, low.local_batch, of_low)
        return np.asarray((1 - share) * below + share * np.interp(batches, high.local_batch, of_high))

    return Series(batches, mixed(low.step_s, high.step_s), mixed(low.sync_s, high.sync_s))
