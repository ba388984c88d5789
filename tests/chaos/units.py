"""Processes that are kept running, as systemd does with `Restart=always`."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

RESTART_S = 1.0
"""How long one that ended stays down, unless it is said otherwise."""

LOOK_S = 0.05
STOP_S = 15.0


@dataclass
class Unit:
    """One process: what starts it, and since when the present one runs. `is_up` asks whether it does its work."""

    name: str
    command: Sequence[str]
    log: Path
    is_up: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    process: "subprocess.Popen[bytes] | None" = None
    ended_at: float | None = None
    starts: int = 0
    down_s: float = RESTART_S

    def start(self) -> None:
        """Start it; its output is added to its log."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, env={**os.environ, **self.environment}, user=self.user, group=self.user,
                extra_groups=None if self.user is None else [], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        self.ended_at, self.starts = None, self.starts + 1

    def kill(self, down_s: float = RESTART_S) -> bool:
        """SIGKILL to it, and leave it down for a while; whether there was one to kill."""
        if self.process is None or self.process.poll() is not None:
            return False
        self.down_s = down_s
        self.process.kill()
        return True

    def look(self, now: float) -> None:
        """Start it anew once it has been down for long enough."""
        if self.process is None or self.process.poll() is None:
            return
        if self.ended_at is None:
            self.ended_at = now
        elif now - self.ended_at >= self.down_s:
            self.down_s = RESTART_S
            self.start()

    def stop(self) -> None:
        """End it in order, or else by force."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Keeper:
    """A thread that keeps units running until it is closed."""

    def __init__(self, units: Sequence[Unit]) -> None:
        self.units = tuple(units)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Start nothing any more, and end all of them: the last first, as others rest on the first."""
        self._over.set()
        self._thread.join()
        for unit in reversed(self.units):
            unit.stop()

    def _run(self) -> None:
        while not self._over.wait(LOOK_S):
            for unit in self.units:
                unit.look(time.monotonic())
