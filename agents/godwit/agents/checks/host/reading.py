"""What the host checks read: files below a root, and what the file systems have left."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from godwit.agents.checks.rules import Described, Rule, Sign

FILE_BYTES_MAX = 1024 * 1024


@dataclass(frozen=True)
class Host:
    """A machine as its files show it. `root` is / on a real one; a simulated one has a folder and `statvfs.json`.

    `data` is where the agent and its attempts write.
    """

    root: Path
    data: Path

    @property
    def is_real(self) -> bool:
        """Whether these are the files of this machine."""
        return self.root == Path("/")

    def text(self, path: str) -> str | None:
        """A file's text; None where there is none or it may not be read (a counter of a port that is off)."""
        try:
            with (self.root / path).open("rb") as file:
                return file.read(FILE_BYTES_MAX).decode(errors="replace")
        except OSError:
            return None

    def number(self, path: str) -> int | None:
        """A file that holds one number, which may be followed by words."""
        try:
            return int((self.text(path) or "").split(maxsplit=1)[0])
        except (ValueError, IndexError):
            return None

    def folders(self, path: str) -> list[str]:
        """The names in a folder, sorted; none where there is no such folder."""
        try:
            return sorted(os.listdir(self.root / path))
        except OSError:
            return []

    def space(self) -> dict[str, dict[str, int]]:
        """Free and total bytes and inodes of the file systems that count, by mount point."""
        if not self.is_real:
            return dict(json.loads(self.text("statvfs.json") or "{}"))
        found = {}
        for path in {"/", str(self.data)}:
            try:
                stat = os.statvfs(path)
            except OSError:
                continue
            found[path] = {
                "free_bytes": stat.f_bavail * stat.f_frsize,
                "total_bytes": stat.f_blocks * stat.f_frsize,
                "free_inodes": stat.f_favail,
                "inodes": stat.f_files,
            }
        return found


Values = dict[str, Any]


@dataclass(frozen=True)
class HostCheck:
    """A check of the node. `read` takes values, or None where there is nothing of the kind; `judge` gets them, those of
    the read before (None at first), and the seconds between.
    """

    name: str
    reads: str
    rules: tuple[Rule, ...]
    read: Callable[[Host], Values | None]
    judge: Callable[[Values, Values | None, float], list[Sign]]

    @property
    def described(self) -> Described:
        """For the documentation."""
        return Described(self.name, self.reads, self.rules)
