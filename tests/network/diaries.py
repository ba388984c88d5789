"""What the job's processes wrote down, read back, and what it says of epochs."""

import fcntl
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path


@dataclass(frozen=True)
class Life:
    """One process of the job. `began` and `last_sign` are instants of the machine's monotonic clock."""

    epoch: int
    rank: int
    pid: int
    began: float
    last_sign: float
    first_step: int
    last_step: int
    met: tuple[int, ...]
    """Epochs of which a process lived when this one began."""


def read(folder: Path) -> list[Life]:
    """The lives of all processes, oldest epoch first; one that has not said a word yet, or never will, has none."""
    lives = (_life(path) for path in folder.glob("*.jsonl"))
    return sorted((life for life in lives if life is not None), key=lambda life: (life.epoch, life.rank, life.began))


def _life(path: Path) -> Life | None:
    epoch, rank, pid = (int(part) for part in path.stem.split("-"))
    lines = path.read_text().splitlines()
    entries = [json.loads(line) for line in lines if line.endswith("}")]  # the last one may have been cut short
    if not entries:
        return None
    last_sign = max(entry["at"] for entry in entries)  # two threads write: the lines are not quite in order
    return Life(
        epoch, rank, pid, entries[0]["at"], last_sign, entries[0]["step"], max(entry["step"] for entry in entries),
        tuple(entry["other"] for entry in entries if entry["what"] == "double"),
    )  # fmt: skip


def double_runs(lives: Sequence[Life]) -> list[tuple[Life, Life]]:
    """Pairs of processes of two epochs that lived at once, by their diaries or by their locks."""
    return [
        (one, other)
        for one, other in combinations(lives, 2)
        if one.epoch != other.epoch
        and (
            (one.began <= other.last_sign and other.began <= one.last_sign)
            or other.epoch in one.met
            or one.epoch in other.met
        )
    ]


def gaps_s(lives: Sequence[Life]) -> list[float]:
    """Seconds from the last sign of one epoch to the first of the next that left any."""
    epochs = sorted({life.epoch for life in lives})
    ends = {epoch: max(life.last_sign for life in lives if life.epoch == epoch) for epoch in epochs}
    begins = {epoch: min(life.began for life in lives if life.epoch == epoch) for epoch in epochs}
    return [begins[after] - ends[before] for before, after in pairwise(epochs)]


def still_alive(folder: Path) -> list[int]:
    """The epochs of which a process lives now, by their locks."""
    alive = []
    for path in sorted(folder.glob("epoch-*.lock")):
        with path.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                alive.append(int(path.stem.removeprefix("epoch-")))
    return alive


def stepped_anew(folder: Path, since: float) -> bool:
    """Whether a process that began after an instant of the machine's monotonic clock has done a step."""
    for path in folder.glob("*.jsonl"):
        with path.open() as file:
            first = file.readline()
            if first.endswith("}\n") and json.loads(first)["at"] > since and '"what": "step"' in file.read():
                return True
    return False
