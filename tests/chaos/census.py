"""What runs on the machines of the simulated clouds: each process with its part, found anew each time."""

from collections.abc import Iterator
from dataclasses import dataclass

import psutil
from godwit.providers import processes

AGENT, GUARD, PROGRAM, RAY, RAY_WORKER, OTHER = "agent", "guard", "program", "ray", "ray worker", "other"


@dataclass(frozen=True)
class Found:
    """One process of a machine. `job` is the name of the job that it is for, empty for none."""

    process: psutil.Process
    part: str
    instance_id: str
    job: str


def of(mark: str) -> list[Found]:
    """Every process of the machines whose marks begin with `mark`. Blocks for one walk over /proc."""
    rows = {process.pid: row for process in psutil.process_iter() if (row := _row(process)) is not None}
    return [found for pid, row in rows.items() if (found := _found(row, rows, mark)) is not None]


@dataclass(frozen=True)
class _Row:
    process: psutil.Process
    parent: int
    words: list[str]
    environment: dict[str, str]


def _row(process: psutil.Process) -> _Row | None:
    try:
        with process.oneshot():
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            return _Row(process, process.ppid(), process.cmdline(), process.environ())
    except psutil.Error:
        return None  # it ended while we looked


def _lineage(row: _Row, rows: dict[int, _Row]) -> Iterator[_Row]:
    seen: set[int] = set()
    while row.process.pid not in seen:
        seen.add(row.process.pid)
        yield row
        if row.parent not in rows:
            return
        row = rows[row.parent]


def _found(row: _Row, rows: dict[int, _Row], mark: str) -> Found | None:
    # A Ray worker sets its title, and so loses what it was told: its parents know.
    for one in _lineage(row, rows):
        told = one.environment.get(processes.MARK, "")
        if told.startswith(f"{mark}-"):
            job = one.environment.get("GODWIT_JOB_NAME", "")
            return Found(row.process, _part(row), told.removeprefix(f"{mark}-"), job)
    return None


def _part(row: _Row) -> str:
    line = " ".join(row.words)
    if "-m godwit.agents" in line and "python" in row.words[0]:
        return AGENT
    if "guard.py" in line:
        return GUARD
    if line.startswith("ray::"):
        return RAY_WORKER if line.startswith("ray::Rank") else OTHER
    if "tests.chaos." in line and row.words[0].startswith("/"):
        return PROGRAM
    if any(word in line for word in ("stand_in_ray.py", "raylet/raylet", "gcs/gcs_server")):
        return RAY
    return OTHER
