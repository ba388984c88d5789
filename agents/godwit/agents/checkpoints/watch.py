"""Which entries of GODWIT_CHECKPOINT_DIR are complete and not yet committed."""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from godwit.agents.confinement import owner
from godwit.agents.runtime.guard import write_whole

QUIET_S = 1.0
"""An entry is complete once it did not change for so long. A program that pauses longer while it writes has to write
under a name that ends in `.tmp` and rename it, as `godwit.sdk.checkpoint.save` does."""

_LAST_INTEGER = re.compile(r"(\d+)(?!.*\d)")


@dataclass(frozen=True)
class Entry:
    """A file or folder that a program left as a checkpoint; `signature` changes with its content.

    `final`: the in-job helper made it, and nobody writes into it any more.
    """

    path: Path
    step: int
    signature: str
    final: bool = False


class FolderWatch:
    """Looks at one folder. What is committed is kept in `memory`, so that another agent goes on from there."""

    def __init__(self, folder: Path, memory: Path) -> None:
        self._folder = folder
        self._memory = memory
        self._since: dict[str, tuple[str, float]] = {}
        self._final: set[str] = set()
        known: dict[str, Any] = {"signatures": {}, "step": 0}
        if memory.exists():
            known = json.loads(memory.read_text())
        self._committed: dict[str, str] = known["signatures"]
        self._step: int = known["step"]

    def scan(self, now: float, *, ended_well: bool = False) -> Entry | None:
        """The newest entry to commit, or None. With `ended_well` nobody writes any more: all entries are complete."""
        with owner.acting(self._folder):
            return self._scan(now, ended_well=ended_well)

    def _scan(self, now: float, *, ended_well: bool) -> Entry | None:
        seen = {path.name: signature(path) for path in _entries(self._folder)}
        self._since = {
            name: self._since[name] if self._since.get(name, ("", 0.0))[0] == sig else (sig, now)
            for name, sig in seen.items()
        }
        ready = [
            self._folder / name
            for name, (sig, since) in self._since.items()
            if self._committed.get(name) != sig and (ended_well or name in self._final or now - since >= QUIET_S)
        ]
        if not ready:
            return None
        newest = max(ready, key=_changed_at)
        for path in ready:  # those it overtook would be older checkpoints: nobody will restore them
            self._committed[path.name] = seen[path.name]
        final = newest.name in self._final
        self._final.difference_update(path.name for path in ready)
        return Entry(newest, step_of(newest.name, self._step + 1), seen[newest.name], final)

    def finish(self, name: str) -> None:
        """Take what lies under this name as complete: the in-job helper says so."""
        self._final.add(name)

    def know(self, name: str) -> None:
        """Take what lies under this name as committed: it was restored from the store."""
        path = self._folder / name
        self.committed(Entry(path, step_of(name, self._step), signature(path)))

    def committed(self, entry: Entry) -> None:
        """Remember that this entry needs no commit."""
        self._committed[entry.path.name] = entry.signature
        self._step = max(self._step, entry.step)
        self._save()

    def failed(self, entry: Entry) -> None:
        """It could not be committed; offer it again unless a newer one is there by then."""
        self._committed.pop(entry.path.name, None)
        if entry.final:
            self._final.add(entry.path.name)

    def _save(self) -> None:
        # What was deleted needs no memory.
        kept = {name: sig for name, sig in self._committed.items() if (self._folder / name).exists()}
        self._committed = kept
        write_whole(self._memory, json.dumps({"signatures": kept, "step": self._step}))


def step_of(name: str, otherwise: int) -> int:
    """The last integer in a name: 40 for `checkpoint-40` and `epoch3_step40.pt`."""
    stem = name if "." not in name else name.rpartition(".")[0]
    match = _LAST_INTEGER.search(stem)
    # Twelve digits are what a manifest's name holds in order; more is a date or a hash, not a step.
    return int(match[1]) if match and len(match[1]) <= 12 else otherwise


def signature(path: Path) -> str:
    """Names, sizes and times of everything in an entry."""
    parts = []
    for file in _files(path):
        try:
            stat = file.stat()
        except FileNotFoundError:
            continue  # the next look will see what it became
        parts.append(f"{file.relative_to(path.parent)}:{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ino}")
    return "|".join(sorted(parts))


def _entries(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name.startswith(".") or path.name.endswith(".tmp") or path.is_symlink():
            continue
        if path.is_file() or (path.is_dir() and any(_files(path))):
            yield path


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    for folder, _, names in os.walk(path):
        yield from (Path(folder) / name for name in names)


def _changed_at(path: Path) -> int:
    try:
        return max((file.stat().st_mtime_ns for file in _files(path)), default=0)
    except FileNotFoundError:
        return 0
