"""The agent's end of the reading process: asks it with a deadline, and leaves it alone when it is stuck."""

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

DEADLINE_S = 10.0
"""A poll of eight GPUs takes well under a second; on a sick driver a call blocks for minutes."""

BUSY_DEADLINE_S = 20.0
"""The same on a machine that many simulated nodes share, where a process may wait long for its turn."""

START_S = 60.0
"""The first answer of a process may take so long: without persistence the driver wakes each GPU, seconds for each."""

GOING_S = 1.0
ANSWER_BYTES_MAX = 4 * 1024 * 1024


class Silent(Exception):
    """The process did not answer in time; it was told to go, and may be unable to."""


class Died(Exception):
    """The process ended, or its answer made no sense; the next poll starts another."""


class Reading:
    """One reading process at a time. One that is stuck in the kernel stays, and no other is started beside it."""

    def __init__(self, fake_folder: Path | None, argv: Sequence[str] | None = None, start_s: float = START_S) -> None:
        own = [sys.executable, "-I", "-m", "godwit.agents.checks.gpu.poller"]
        self._argv = [*(argv or own), *([str(fake_folder)] if fake_folder is not None else [])]
        self._process: subprocess.Popen[bytes] | None = None
        self._stuck: subprocess.Popen[bytes] | None = None
        self._start_s, self._has_answered = start_s, False

    @property
    def pid(self) -> int | None:
        """The process, if there is one."""
        return self._process.pid if self._process is not None else None

    def poll(self, deadline_s: float = DEADLINE_S, ask: str = "") -> dict[str, Any]:
        """One answer, of a poll unless `ask` says otherwise; the first of a process may take longer.

        Raises `Silent` or `Died`.
        """
        if self._stuck is not None:
            if self._stuck.poll() is None:
                raise Silent(f"process {self._stuck.pid} is stuck in a call to the driver and cannot be ended")
            self._stuck = None
        process = self._started()
        try:
            assert process.stdin is not None
            process.stdin.write(f"{ask}\n".encode())
            process.stdin.flush()
            wait_s = deadline_s if self._has_answered else max(self._start_s, deadline_s)
            answer = self._answer(process, time.monotonic() + wait_s, wait_s)
            self._has_answered = True
            return answer
        except OSError as exc:
            self.stop()
            raise Died(f"the process that reads NVML ended ({exc})") from exc

    def stop(self) -> None:
        """End the process, so that nothing of this agent holds the GPUs."""
        process, self._process = self._process, None
        if process is None:
            return
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                assert stream is not None
                stream.close()
        process.kill()
        try:
            process.wait(GOING_S)
        except subprocess.TimeoutExpired:
            self._stuck = process

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = subprocess.Popen(
                self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment()
            )
            self._has_answered = False
        return self._process

    def _answer(self, process: subprocess.Popen[bytes], deadline: float, deadline_s: float) -> dict[str, Any]:
        assert process.stdout is not None
        fd, block = process.stdout.fileno(), b""
        while not block.endswith(b"\n"):
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not select.select([fd], [], [], left_s)[0]:
                self.stop()
                raise Silent(f"the driver did not answer within {deadline_s:g} s")
            part = os.read(fd, 65_536)
            block += part
            if not part or len(block) > ANSWER_BYTES_MAX:
                self.stop()
                raise Died("the process that reads NVML ended without an answer")
        try:
            answer = json.loads(block)
        except ValueError as exc:
            self.stop()
            raise Died(f"the process that reads NVML made no sense ({exc})") from exc
        return dict(answer)


def environment() -> dict[str, str]:
    """Of the agent's environment, what a library may need: nothing that names a token."""
    return {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "LANG") if name in os.environ}
