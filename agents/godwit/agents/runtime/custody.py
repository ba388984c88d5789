"""The agent's hand on a guard: start it, tell it to stop, learn how it ended; it may outlive several agents."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from godwit.agents.confinement import cgroups, confined, memory, owner
from godwit.agents.runtime import guard, strays
from godwit.agents.runtime.folder import AttemptFolder, ExitRecord

GUARD_START_S = 10.0
"""A guard takes 30 ms to lock its folder; a machine that needs this long is in no state to run anything."""


class Custody:
    """One attempt's guard."""

    def __init__(self, folder: AttemptFolder, lease_path: Path) -> None:
        self._folder = folder
        self._lease_path = lease_path
        self._child: subprocess.Popen[bytes] | None = None
        self._cleared = False
        self.spent = memory.Spent()
        """Whether its memory ran out; known once it ended."""

    def start(self, steps: list[dict[str, Any]], env: Mapping[str, str]) -> None:
        """Start the guard and wait until it holds its lock; the processes it starts get `env`."""
        root, how = self._folder.root, confined.read(self._folder.root)
        spec = {"steps": how.steps(steps), "lease_path": str(self._lease_path)}
        guard.write_whole(root / "steps.json", json.dumps(spec))
        with (root / "guard.log").open("ab") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-I", "-S", guard.__file__, str(root)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=how.environment(env, root, os.environ.get("HOME")),
            )
        deadline = time.monotonic() + GUARD_START_S
        while not self._folder.guard_was_started and self._child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)

    def moved(self, folder: AttemptFolder) -> None:
        """The guard's folder was renamed to this one."""
        self._folder = folder

    def stop(self, grace_s: float) -> None:
        """Tell the guard to end everything within `grace_s`; harmless to repeat, and kept for a guard yet to come."""
        if self._folder.root.exists():
            order = {"grace_s": grace_s, "first_ordered_ns": self._folder.stop_ordered_ns() or time.time_ns()}
            if grace_s > 0 and self._folder.run.exists():
                # For processes that no signal reaches, such as Ray's workers: the in-job helper looks for it.
                # Whoever puts something else in its place is not told, and ended all the same.
                with contextlib.suppress(OSError), owner.acting(self._folder.run):
                    guard.write_whole(self._folder.notice_path, json.dumps({"grace_s": grace_s, "at": time.time()}))
            guard.write_whole(self._folder.root / "stop.json", json.dumps(order))

    def end(self) -> None:
        """End everything now that the program is over; one that was told to stop keeps the rest of its grace."""
        if not self.stop_was_ordered:
            self.stop(0.0)

    @property
    def stop_was_ordered(self) -> bool:
        """Whether somebody told it to stop."""
        return (self._folder.root / "stop.json").exists()

    def ended(self) -> ExitRecord | None:
        """How the guard ended, or None while it lives. If it died itself, what it left is killed first.

        Where the attempt has a user or a cgroup, nothing of either is left by then.
        """
        record = self._ended()
        if record is not None and not self._cleared:
            how = confined.read(self._folder.root)
            self.spent = memory.Spent(how.memory_bytes, cgroups.oom_kills(how.cgroups))
            how.end()
            self._cleared = True
        return record

    def _ended(self) -> ExitRecord | None:
        if self._child is not None:
            self._child.poll()  # reap it
        record = self._folder.exit_record()
        if record is not None:
            return record
        if not self._folder.guard_was_started and self._child is None:
            return None
        if self._folder.guarded:
            return None
        # It let go of its lock: either the record is there by now, or it was killed.
        record = self._folder.exit_record()
        if record is not None:
            return record
        while strays.kill_marked(self._folder.marks):  # no bound: "gone" must be true before it is said
            time.sleep(0.1)
        return ExitRecord("guard-died", "guard", None)
