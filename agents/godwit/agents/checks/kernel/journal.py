"""Kernel lines from systemd's journal, for an agent that may not read /dev/kmsg.

That device wants CAP_SYSLOG (or root); the journal is open to the groups `systemd-journal` and `adm`, so an agent needs
no more than one of these. Fields: systemd.journal-fields(7); the format: systemd.io/JOURNAL_EXPORT_FORMATS.
"""

import json
import os
import select
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from godwit.agents.checks.kernel.records import RECORDS_AT_ONCE, Record

JOURNALCTL = ("journalctl", "--dmesg", "--output=json", "--no-pager", "--quiet")
"""`--dmesg`: what the kernel said in this boot."""

TRY_S = 10.0
AGAIN_S = 60.0
"""A follower that ended (the journal was rotated away, journald was upgraded) is started again no sooner than this."""

BLOCK_BYTES = 65_536
STAMP_MAX = 2**63
"""Stamps are microseconds since this boot, which the journal keeps in 64 bits."""

LINE_BYTES_MAX = 262_144
"""journald cuts kernel lines at 48 KiB by default (LineMax=); a field of bytes is written as numbers, four for one."""


class Journal:
    """The journal as a source of records; a child process follows it.

    Raises `OSError` where there is no journal, or this process may not read the kernel's part of it.
    """

    def __init__(self, argv: Sequence[str] = JOURNALCTL, now: Callable[[], float] = time.monotonic) -> None:
        self._argv, self._now = list(argv), now
        self._process: subprocess.Popen[bytes] | None = None
        self._begun_at: float | None = None
        self._cursor = ""
        self._position = 0
        self._rest = b""
        self._waiting: deque[Record] = deque()
        self._refuse_unreadable()

    def read(self, timeout_s: float) -> list[Record]:
        """What came since the last call; waits up to `timeout_s` for the first."""
        if not self._waiting:
            self._fill(timeout_s)
        return [self._waiting.popleft() for _ in range(min(len(self._waiting), RECORDS_AT_ONCE))]

    def stop(self) -> None:
        """End the process that follows."""
        process, self._process, self._rest = self._process, None, b""
        if process is not None and process.stdout is not None:
            process.kill()
            process.wait()
            process.stdout.close()

    def _refuse_unreadable(self) -> None:
        try:
            done = subprocess.run(
                [*self._argv, "--lines=1"], capture_output=True, timeout=TRY_S, check=False, stdin=subprocess.DEVNULL
            )
        except subprocess.TimeoutExpired as exc:
            raise TimeoutError(f"{self._argv[0]} did not answer within {TRY_S:g} s") from exc
        if done.returncode or not done.stdout.strip():
            said = done.stderr.decode(errors="replace").strip()[-300:] or "it shows no line of this boot's kernel"
            raise PermissionError(f"{self._argv[0]}: {said}")

    def _fill(self, timeout_s: float) -> None:
        process = self._following()
        if process is None or process.stdout is None:
            time.sleep(timeout_s)
            return
        if not select.select([process.stdout], [], [], timeout_s)[0]:
            return
        block = os.read(process.stdout.fileno(), BLOCK_BYTES)
        if not block:
            self.stop()
            return
        *whole, self._rest = (self._rest + block).split(b"\n")
        if len(self._rest) > LINE_BYTES_MAX:
            self._rest = b""  # what follows of it makes no sense as JSON, and is passed over
        self._waiting.extend(record for line in whole if (record := self._record(line)) is not None)

    def _following(self) -> subprocess.Popen[bytes] | None:
        now = self._now()
        if self._process is None and (self._begun_at is None or now - self._begun_at > AGAIN_S):
            self._begun_at = now
            since = [f"--after-cursor={self._cursor}"] if self._cursor else ["--lines=all"]
            self._process = subprocess.Popen(
                [*self._argv, "--follow", *since],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        return self._process

    def _record(self, line: bytes) -> Record | None:
        """A line as a record. Positions are the journal's own stamps, so they are the same for the next agent."""
        try:
            entry = json.loads(line)
            heard_us, text = int(entry["__MONOTONIC_TIMESTAMP"]), _message(entry)
            said_us = int(entry.get("_SOURCE_MONOTONIC_TIMESTAMP", heard_us))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            return None
        if not (0 <= heard_us < STAMP_MAX and 0 <= said_us < STAMP_MAX):
            return None
        self._cursor = str(entry.get("__CURSOR", self._cursor))
        self._position = max(self._position + 1, heard_us)
        return Record(self._position, text, max(0.0, self._now() - said_us / 1e6))


def _message(entry: Mapping[str, Any]) -> str:
    """The text; journalctl writes bytes that are no UTF-8 as a list of numbers."""
    said = entry["MESSAGE"]
    return bytes(said).decode(errors="replace") if isinstance(said, list) else str(said)
