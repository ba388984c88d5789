"""What the demo believes: not what godwit says of itself, but processes in /proc and files in the checkpoint store."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import psutil

ADDRESS = "GODWIT_NODE_ADDRESS"


@dataclass(frozen=True)
class Process:
    """One process, told from a later one with the same pid by its start."""

    pid: int
    started_at: float
    command: str

    def is_alive(self) -> bool:
        """Whether this very process still runs; a zombie does not."""
        try:
            process = psutil.Process(self.pid)
            return process.create_time() == self.started_at and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


def processes_of(address: str) -> set[Process]:
    """Every process of the machine with this address: those that inherited it, and all below them."""
    found: set[Process] = set()
    for process in psutil.process_iter():
        try:
            if process.environ().get(ADDRESS) == address:
                found.update(_seen(each) for each in (process, *process.children(recursive=True)))
        except (psutil.Error, OSError):
            continue  # it ended while we looked, or is not ours to read
    return found


def processes_naming(folder: Path) -> set[Process]:
    """Every process whose command line or environment names this folder, but ourselves and our parents."""
    own = {process.pid for process in (psutil.Process(), *psutil.Process().parents())}
    found: set[Process] = set()
    for process in psutil.process_iter():
        try:
            text = " ".join((*process.cmdline(), *process.environ().values()))
            if process.pid not in own and str(folder) in text and process.status() != psutil.STATUS_ZOMBIE:
                found.add(_seen(process))
        except (psutil.Error, OSError):
            continue  # as above
    return found


def _seen(process: psutil.Process) -> Process:
    return Process(process.pid, process.create_time(), " ".join(process.cmdline())[:100])


@dataclass(frozen=True)
class Manifest:
    """A committed checkpoint as its manifest file has it."""

    path: Path
    data: dict[str, Any]

    @property
    def order(self) -> tuple[int, int]:
        """(epoch, step): what decides which checkpoint is the newest."""
        return (int(self.data["epoch"]), int(self.data["step"]))

    def damage(self) -> list[str]:
        """Files that are missing or differ from their checksum; reads all of them."""
        root = local_path(str(self.data["root"]))
        wrong = []
        for file in self.data["files"]:
            path = root / file["path"]
            if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != file["sha256"]:
                wrong.append(str(path))
        return wrong


def manifest_at(url: str) -> Manifest:
    """The manifest that lies at `url`; raises OSError or ValueError when it does not."""
    path = local_path(url)
    return Manifest(path, json.loads(path.read_text()))


def manifests_beside(manifest: Manifest) -> list[Manifest]:
    """Every manifest of the same job, oldest first."""
    found = [Manifest(path, json.loads(path.read_text())) for path in manifest.path.parent.glob("e*-s*.json")]
    return sorted(found, key=lambda each: each.order)


def local_path(url: str) -> Path:
    """The path of a file:// URL, or of a path that is written without one."""
    return Path(unquote(urlparse(url).path)) if url.startswith("file:") else Path(url)
