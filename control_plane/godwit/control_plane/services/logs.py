"""Output of jobs: one file per attempt, written at the offsets that agents name, so repeated chunks are harmless."""

import contextlib
import fcntl
import io
import re
import shutil
import threading
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

MAX_BYTES_PER_ATTEMPT = 256 * 1024 * 1024
"""Output kept per attempt; what comes after is acknowledged and dropped, with a line that says so."""

_CURSOR = re.compile(r"([0-9]{1,9}):([0-9]{1,12})")

_FULL = b"\n[godwit] the log is full; further output is dropped\n"


@dataclass(frozen=True)
class Cursor:
    """How far a reader is: byte `offset` of the log of attempt `epoch`. Written `epoch:offset`."""

    epoch: int = 0
    offset: int = 0

    def __str__(self) -> str:
        return f"{self.epoch}:{self.offset}"


def parse_cursor(text: str) -> Cursor:
    """Read `epoch:offset`; anything else starts at the beginning."""
    match = _CURSOR.fullmatch(text)
    return Cursor(int(match[1]), int(match[2])) if match else Cursor()


class LogStore:
    """A folder with one subfolder per job and one file per attempt."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._appending = threading.Lock()

    def append(self, job_id: str, epoch: int, offset: int, data: bytes) -> int:
        """Write `data` at `offset` of an attempt's log; returns up to where the log is complete.

        What is there already is not written again; a chunk beyond the end is refused by answering the end.
        """
        path = self._path(job_id, epoch)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # One at a time: an agent that gave up waiting sends the chunk again while the first still is under way.
        with self._appending, path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # other control planes may share the folder
            end = file.seek(0, io.SEEK_END)
            if end >= MAX_BYTES_PER_ATTEMPT:
                return offset + len(data)
            if offset > end:
                return end
            new = data[end - offset :]
            file.write(new if end + len(new) < MAX_BYTES_PER_ATTEMPT else new[: MAX_BYTES_PER_ATTEMPT - end] + _FULL)
            return max(end, offset + len(data))

    def epochs(self, job_id: str) -> list[int]:
        """Attempts that have output, oldest first."""
        return sorted(int(path.stem) for path in (self._folder / job_id).glob("*.log"))

    def read(self, job_id: str, cursor: Cursor, limit_bytes: int = 65_536) -> tuple[Cursor, str]:
        """The next piece of output after `cursor`, and the cursor after it; empty at the end."""
        for epoch in self.epochs(job_id):
            if epoch < cursor.epoch:
                continue
            offset = cursor.offset if epoch == cursor.epoch else 0
            with self._path(job_id, epoch).open("rb") as file:
                file.seek(offset)
                data = _whole_characters(file.read(limit_bytes))
            if data:
                return Cursor(epoch, offset + len(data)), data.decode(errors="replace")
        return cursor, ""

    def tail(self, job_id: str, lines: int, limit_bytes: int) -> str:
        """The last `lines` lines of all output, of at most `limit_bytes`."""
        pieces: deque[bytes] = deque()
        left = limit_bytes
        for epoch in reversed(self.epochs(job_id)):
            with self._path(job_id, epoch).open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(0, size - left))
                pieces.appendleft(file.read(left))
            left -= len(pieces[0])
            if left <= 0 or sum(piece.count(b"\n") for piece in pieces) > lines:
                break
        # Only a line feed ends a line: a progress bar that returns its carriage is one.
        whole = io.BytesIO(b"".join(pieces)).readlines()
        return b"".join(whole[-lines:] if lines else []).decode(errors="replace")

    def forget(self, before: float, needed: Collection[str]) -> dict[str, int]:
        """Remove the output of jobs that was last written before then, but of those needed; returns jobs and bytes."""
        removed = dict[str, int]()
        for folder in self._folder.glob("*"):
            if folder.name in needed:
                continue
            with contextlib.suppress(FileNotFoundError):  # another control plane may do the same
                seen = [path.stat() for path in folder.iterdir()] or [folder.stat()]
                if max(one.st_mtime for one in seen) < before:
                    shutil.rmtree(folder)
                    removed[folder.name] = sum(one.st_size for one in seen)
        return removed

    def _path(self, job_id: str, epoch: int) -> Path:
        return self._folder / job_id / f"{epoch}.log"


def _whole_characters(data: bytes) -> bytes:
    """Without the beginning of a character whose rest was not read yet (UTF-8 has at most four bytes)."""
    for back in range(1, min(4, len(data)) + 1):
        lead = data[-back]
        if lead >= 0xC0:
            length = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
            return data[:-back] if length > back and len(data) > back else data
        if lead < 0x80:
            return data
    return data
