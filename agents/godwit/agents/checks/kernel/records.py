"""Where kernel lines come from: /dev/kmsg, or a file to which lines are appended."""

import errno
import os
import re
import select
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

RECORD_BYTES = 8_192
"""A record of /dev/kmsg is at most this long (CONSOLE_EXT_LOG_MAX); a smaller buffer is answered with EINVAL."""

RECORDS_AT_ONCE = 512
"""As many are read before they are looked at: memory stays bounded however much the kernel says."""

_HEAD = re.compile(rb"^(\d{1,10}),(\d{1,18}),(\d{1,18}),[^;]*;")
_ESCAPE = re.compile(rb"\\x([0-9a-fA-F]{2})")


@dataclass(frozen=True)
class Record:
    """What the kernel said at once, `age_s` ago; `position` grows from record to record within one boot."""

    position: int
    text: str
    age_s: float = 0.0


class Lines(Protocol):
    """A source of records."""

    def read(self, timeout_s: float) -> list[Record]:
        """What came since the last call, at most `RECORDS_AT_ONCE`; waits up to `timeout_s` for the first."""


def parse(raw: bytes, now_s: float) -> Record | None:
    """A record of /dev/kmsg, "prio,seq,usec,flags;text", then lines " KEY=value" that are left out.

    `now_s` is on the clock of its stamps (CLOCK_MONOTONIC). Bytes that cannot be printed come as \\xNN.
    """
    head = _HEAD.match(raw)
    if head is None:
        return None
    text = b"\n".join(line for line in raw[head.end() :].split(b"\n") if not line.startswith(b" "))
    text = _ESCAPE.sub(lambda found: bytes([int(found[1], 16)]), text)
    age_s = max(0.0, now_s - int(head[3]) / 1e6)
    return Record(int(head[2]), text.decode(errors="replace").rstrip("\n"), age_s)


class KernelDevice:
    """The kernel's own log. Raises `OSError` when it may not be read (in most containers)."""

    def __init__(self, path: Path = Path("/dev/kmsg")) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)

    def read(self, timeout_s: float) -> list[Record]:
        """The records since the last call; those that the kernel has overwritten meanwhile are lost."""
        found: list[Record] = []
        if not self._poll.poll(timeout_s * 1_000):
            return found
        while len(found) < RECORDS_AT_ONCE:
            try:
                raw = os.read(self._fd, RECORD_BYTES)
            except BlockingIOError:
                break
            except OSError as exc:
                if exc.errno == errno.EPIPE:  # overwritten before it was read: the next read goes on with the oldest
                    continue
                raise
            if (record := parse(raw, time.monotonic())) is not None:
                found.append(record)
        return found


class AppendedFile:
    """A file to which lines are appended, bare or as records; it may not be there yet. Positions are bytes."""

    def __init__(self, path: Path, pause_s: float = 0.2) -> None:
        self._path = path
        self._offset = 0
        self._pause_s = pause_s

    def read(self, timeout_s: float) -> list[Record]:
        """The whole lines since the last call; looks again each `pause_s`."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = self._whole_lines()
            if found or time.monotonic() + self._pause_s > deadline:
                return found
            time.sleep(self._pause_s)

    def _whole_lines(self) -> list[Record]:
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            return []
        if size < self._offset:
            self._offset = 0  # it was begun anew
        if size == self._offset:
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            block = file.read(RECORDS_AT_ONCE * 512)
        whole = block[: block.rfind(b"\n") + 1]
        found = []
        for line in whole.splitlines():
            self._offset += len(line) + 1
            bare = _HEAD.sub(b"", line)
            found.append(Record(self._offset, bare.decode(errors="replace")))
        return found
