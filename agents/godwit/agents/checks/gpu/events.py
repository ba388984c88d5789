"""Xids as NVML tells them, for where the kernel log cannot be read (most containers).

`python -I -m godwit.agents.checks.gpu.events` writes a line for each in the driver's own form, so that it is read like
one. NVML says the number and the GPU and nothing else, and only while somebody listens: the kernel log is better.
"""

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from godwit.agents.checks.gpu.poller import binding
from godwit.agents.checks.gpu.reader import environment
from godwit.agents.checks.kernel.records import Record

XID_EVENT, TIMEOUT = 0x8, 10
"""nvmlEventTypeXidCriticalError and NVML_ERROR_TIMEOUT (nvml.h)."""

WAIT_MS = 5_000
AGAIN_S = 60.0
"""A listener that ended (no driver, no such events) is started again no sooner than this."""


def lines(nvml: Any, waits: Iterator[int]) -> Iterator[str]:
    """A line for each Xid that is told, for as long as `waits` goes on. Raises NVML's errors but a timeout."""
    nvml.nvmlInit()
    events = nvml.nvmlEventSetCreate()
    for index in range(nvml.nvmlDeviceGetCount()):
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        if nvml.nvmlDeviceGetSupportedEventTypes(handle) & XID_EVENT:
            nvml.nvmlDeviceRegisterEvents(handle, XID_EVENT, events)
    for wait_ms in waits:
        try:
            event = nvml.nvmlEventSetWait_v2(events, wait_ms)
        except nvml.NVMLError as exc:
            if exc.value == TIMEOUT:
                continue
            raise
        bus = nvml.nvmlDeviceGetPciInfo(event.device).busId
        place = (bus.decode() if isinstance(bus, bytes) else str(bus)).rpartition(".")[0]
        yield f"NVRM: Xid (PCI:{place}): {event.eventData}, told by NVML"


class EventLines:
    """The listening process as a source of kernel lines."""

    def __init__(self, argv: list[str] | None = None, now: Callable[[], float] = time.time) -> None:
        self._argv = argv or [sys.executable, "-I", "-m", "godwit.agents.checks.gpu.events"]
        self._now = now
        self._process: subprocess.Popen[bytes] | None = None
        self._begun_at: float | None = None
        self._position = 0

    def read(self, timeout_s: float) -> list[Record]:
        """The lines since the last call; waits up to `timeout_s` for the first."""
        process = self._listening()
        if process is None or process.stdout is None:
            time.sleep(timeout_s)
            return []
        if not select.select([process.stdout], [], [], timeout_s)[0]:
            return []
        block = os.read(process.stdout.fileno(), 65_536)
        if not block:
            self.stop()
        return [self._record(line) for line in block.decode(errors="replace").splitlines()]

    def stop(self) -> None:
        """End the process: it has the GPUs open."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None and process.stdout is not None:
            process.kill()
            process.stdin.close()
            process.stdout.close()

    def _listening(self) -> subprocess.Popen[bytes] | None:
        now = time.monotonic()
        if self._process is None and (self._begun_at is None or now - self._begun_at > AGAIN_S):
            pipe = subprocess.PIPE
            self._begun_at = now
            self._process = subprocess.Popen(
                self._argv, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=environment()
            )
        return self._process

    def _record(self, line: str) -> Record:
        # Positions grow from one agent to the next too, or the next one would think that it knows them.
        self._position = max(self._position + 1, int(self._now() * 1_000))
        return Record(self._position, line)


def _while_wanted() -> Iterator[int]:
    """Go on until the agent is gone: then the standard input ends."""
    while not select.select([sys.stdin], [], [], 0)[0]:
        yield WAIT_MS


def main() -> None:
    """Write each line as it comes; ends with the agent, or when the driver has no such events."""
    for line in lines(binding(None), _while_wanted()):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
