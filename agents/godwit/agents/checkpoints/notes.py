"""What the in-job helper leaves in the run folder: complete saves and what they cost, checkpoints in the store.

The files are the user's program's to write; one that makes no sense is said to be so, and dropped.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import structlog
from godwit.agents.confinement import owner

log = structlog.get_logger()

STEP_MAX = 10**12
"""What a manifest's name holds in order."""

_UNREADABLE = (OSError, ValueError, KeyError, TypeError, OverflowError)


@dataclass(frozen=True)
class Save:
    """The entry of this name is complete; the program stood still for `stall_s`.

    Its files lie on `parts` nodes, which all know it as `save_id`; the `first` of them commits it.
    """

    step: int
    entry: str
    stall_s: float
    parts: int = 1
    save_id: int = 0
    first: bool = True


def take_saves(run: Path) -> list[Save]:
    """The saves since the last call, oldest first; their notes are removed."""
    with owner.acting(run):
        return _taken(run)


def _taken(run: Path) -> list[Save]:
    taken = []
    for path in sorted((run / "saves").glob("*.json")):
        try:
            data = json.loads(owner.text(run, path))
            stall_s = float(data["stall_s"])
            entry, step, parts = Path(str(data["entry"])).name, _step(data["step"]), int(data.get("parts", 1))
            first, save_id = bool(data.get("first", True)), abs(int(data.get("save_id", 0)))
            if math.isfinite(stall_s):
                taken.append(Save(step, entry, stall_s, parts, save_id, first))
        except _UNREADABLE:
            log.warning("a note of a save cannot be read", path=str(path))
        path.unlink(missing_ok=True)
    return taken


def newest_report(run: Path) -> tuple[tuple[int, str] | None, list[Path]]:
    """(step, URL) of the newest checkpoint that is said to lie in the store, and all the reports that it outdates."""
    with owner.acting(run):
        return _newest(run)


def _newest(run: Path) -> tuple[tuple[int, str] | None, list[Path]]:
    paths = sorted((run / "reports").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    if not paths:
        return None, []
    try:
        data = json.loads(owner.text(run, paths[-1]))
        return (_step(data["step"]), str(data["url"])), paths
    except _UNREADABLE:
        log.warning("a checkpoint report cannot be read", path=str(paths[-1]))
        return None, paths


def _step(said: object) -> int:
    step = int(str(said))
    if not 0 <= step < STEP_MAX:
        raise ValueError(f"step {step} is out of range")
    return step
