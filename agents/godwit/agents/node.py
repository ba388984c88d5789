"""The attempts of this node: carries out the core's effects, and tells the core what becomes of them."""

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from godwit.agents.effects import Effect, RuntimeEvent, StartRuntime, Stopped
from godwit.agents.link import Link
from godwit.agents.logs import Tail
from godwit.agents.runtime.attempt import AttemptRun, Surroundings
from godwit.agents.runtime.custody import Custody
from godwit.agents.runtime.folder import AttemptFolder
from godwit.agents.runtime.ray_cluster import NodeFacts
from godwit.agents.shipping import LogShipper
from godwit.domain.wire.agents import StartAttempt

LAST_OUTPUT_S = 10.0
"""How long the end of an attempt waits for its last output to be stored; what is late is still sent afterwards."""

KEPT_OUTPUT_S = 600.0
"""How long output that the control plane did not take is kept and offered after the attempt's end."""


class Node:
    """All attempts of this node."""

    def __init__(self, node_dir: Path, lease_path: Path, link: Link, facts: NodeFacts) -> None:
        self._node_dir = node_dir
        self._lease_path = lease_path
        self._link = link
        self._facts = facts
        self._runs: dict[str, AttemptRun] = {}
        self._shippers: dict[str, LogShipper] = {}
        self._lock = threading.Lock()
        self.report: Callable[[RuntimeEvent], None] = lambda _event: None
        """Where runtime events go; set once, before the first effect."""

    def carry_out(self, effect: Effect) -> None:
        """Start or stop an attempt; returns at once, `report` hears the rest from other threads."""
        if isinstance(effect, StartRuntime):
            self._start(effect.command)
            return
        folder = AttemptFolder(self._node_dir, effect.attempt_id)
        with self._lock:
            run = self._runs.get(effect.attempt_id)
        if run is not None:
            run.stop(effect.grace_s)
            return
        Custody(folder, self._lease_path).stop(effect.grace_s)
        # Nothing watches it, so an earlier agent started it, if anybody did.
        threading.Thread(target=self._await_end, args=(folder, effect.attempt_id), daemon=True).start()

    def _await_end(self, folder: AttemptFolder, attempt_id: str) -> None:
        custody = Custody(folder, self._lease_path)
        pause = threading.Event()
        while folder.guard_was_started and custody.ended() is None:
            pause.wait(0.05)  # no bound: the guard is killing, and `Stopped` must be true
        self.report(Stopped(attempt_id, "cancelled", detail="it was told to stop", last_lines=folder.last_lines()))

    def _start(self, command: StartAttempt) -> None:
        with self._lock:
            if command.attempt_id in self._runs:
                return
            folder = AttemptFolder(self._node_dir, command.attempt_id)
            folder.make()
            around = Surroundings(self._link, self._facts, dict(os.environ), self._hear)
            run = AttemptRun(command, folder, Custody(folder, self._lease_path), around)
            self._runs[command.attempt_id] = run
            shipper = LogShipper(Tail(folder.output, command.attempt_id, command.epoch), self._link)
            self._shippers[command.attempt_id] = shipper
        shipper.start()
        run.start()

    def _hear(self, event: RuntimeEvent) -> None:
        if not isinstance(event, Stopped):
            self.report(event)
            return
        with self._lock:
            shipper = self._shippers.pop(event.attempt_id)
            self._runs.pop(event.attempt_id)
        # The log first: whoever sees the job's end may read its log to the end.
        stored = shipper.finish(LAST_OUTPUT_S)
        self.report(event)
        self._clear(event.attempt_id, shipper, stored=stored)

    def _clear(self, attempt_id: str, shipper: LogShipper, *, stored: bool) -> None:
        folder = AttemptFolder(self._node_dir, attempt_id)
        shutil.rmtree(folder.ray, ignore_errors=True)
        if stored or shipper.finish(KEPT_OUTPUT_S):
            shutil.rmtree(folder.root, ignore_errors=True)
