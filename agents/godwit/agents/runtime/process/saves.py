"""Saved processes as entries of the checkpoint folder, so that they are kept, sent, found and deleted like any other.

process-7/images/...      what CRIU wrote: the program's memory
process-7/files.tar       the files that it changed, and gone.json those that it removed
process-7/process.json    its first process's pid
"""

import json
import os
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from godwit.agents.runtime.guard import write_whole

STAYING = 2
"""Entries that stay in the folder: the newest, and the one that is perhaps still being sent."""

_NAME = re.compile(r"^process-(\d{1,12})$")


class NotSaved(Exception):
    """This entry is no saved process; the message says what it lacks."""


@dataclass(frozen=True)
class Saved:
    """A saved program: its entry, the number of the save, and the pid of its first process."""

    path: Path
    number: int
    root_pid: int

    @property
    def images(self) -> Path:
        """What CRIU wrote."""
        return self.path / "images"


def read(path: Path) -> Saved:
    """What lies in an entry. Raises `NotSaved`."""
    match = _NAME.match(path.name)
    if match is None:
        raise NotSaved(f"{path.name} is no saved process")
    try:
        root_pid = int(json.loads((path / "process.json").read_text())["root_pid"])
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise NotSaved(f"{path.name} lacks its description ({type(exc).__name__})") from exc
    return Saved(path, int(match[1]), root_pid)


def draft(folder: Path, number: int) -> Path:
    """An empty folder for a save that is under way; nobody takes it for a checkpoint."""
    path = folder / f"process-{number}.tmp"
    shutil.rmtree(path, ignore_errors=True)
    (path / "images").mkdir(parents=True)
    path.chmod(0o700)
    return path


def complete(path: Path, run: Path, root_pid: int, stall_s: float) -> Saved:
    """A save is whole: it gets its name, the agent is told, and older entries go."""
    _private(path / "process.json", json.dumps({"root_pid": root_pid}))
    for file in path.rglob("*"):
        if file.is_file():
            file.chmod(0o600)  # the memory of a program holds whatever it knows
    whole = path.with_suffix("")
    path.replace(whole)
    saved = read(whole)
    note = {"step": saved.number, "entry": whole.name, "stall_s": stall_s}
    (run / "saves").mkdir(exist_ok=True)
    write_whole(run / "saves" / f"{time.time_ns()}.json", json.dumps(note))
    _remove_old(whole.parent, saved.number)
    return saved


def memory_bytes(status: Mapping[int, str]) -> int:
    """What processes have in memory, from their /proc/PID/status: what a save of them takes, at most."""
    kib = [re.search(r"^VmRSS:\s+(\d+) kB", text, re.MULTILINE) for text in status.values()]
    return sum(int(match[1]) for match in kib if match) * 1024


def _remove_old(folder: Path, newest: int) -> None:
    for path in folder.iterdir():
        match = _NAME.match(path.name)
        if match and int(match[1]) <= newest - STAYING:
            shutil.rmtree(path, ignore_errors=True)


def _private(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
