"""Carries out what is ordered for a node's health: resets, reboots, and checks."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import structlog
from godwit.agents.accelerators import faults
from godwit.agents.checks.gpu import reachable
from godwit.agents.checks.monitor import Monitor
from godwit.agents.effects import Check, Checked, HealthEvent, Repair, Repaired
from godwit.agents.runtime.guard import write_whole
from godwit.domain.health import Grade, Remedy
from godwit.domain.wire.agents import GpuFact
from godwit.domain.wire.health import RepairNode, RunChecks

log = structlog.get_logger()

RESET_S = 120.0
"""`nvidia-smi --gpu-reset` takes 5 to 30 s; one that takes longer hangs in a sick driver."""

GOING_DOWN_S = 300.0
"""How long a machine may take to go down; systemd gives services 90 s each."""

SIMULATED_S = 1.0
_UNREACHABLE = {reachable.LOST.code, reachable.NEEDS_RESET.code, reachable.BROKEN.code}
_CONTAINER_SIGNS = (Path("/.dockerenv"), Path("/run/.containerenv"))


class CannotRepair(Exception):
    """The repair was not carried out; the text says why."""


class Caring:
    """Takes orders one by one, each on a thread of its own; `report` hears how each ended."""

    def __init__(
        self,
        node_dir: Path,
        monitor: Monitor,
        gpus: list[GpuFact],
        report: Callable[[HealthEvent], None],
        *,
        simulated: bool,
        shared: bool = False,
    ) -> None:
        self._dir, self._monitor, self._gpus = node_dir, monitor, gpus
        self._report, self._simulated, self._shared = report, simulated, shared
        self._one_at_a_time = threading.Lock()
        self._judged: dict[str, RunChecks] = {}
        self.apart: Callable[[], AbstractContextManager[None]] = nullcontext
        """What makes processes of the node's own let go of GPUs meanwhile; set once, before the first order."""
        self.check: Callable[[RunChecks], None] = lambda _command: None
        """What runs active checks; set once, before the first order."""

    def take(self, order: Repair | Check) -> None:
        """Carry an order out; returns at once."""
        if isinstance(order, Repair):
            args = (order.command,)
            threading.Thread(target=self.repair, args=args, name=order.command.intent_id, daemon=True).start()
            return
        if order.command.occasion == "return":
            self._judged[order.command.intent_id] = order.command
        self.check(order.command)

    def hear(self, event: HealthEvent) -> None:
        """Pass on what active checks tell: GPUs of which something bad still stands have not passed to return."""
        order = self._judged.pop(event.intent_id, None) if isinstance(event, Checked) else None
        if order is not None and isinstance(event, Checked) and event.passed:
            uuids = [gpu.uuid for gpu in self._gpus if gpu.index in order.gpus]
            bad = [found for found in self._monitor.standing(uuids) if found.grade is Grade.UNHEALTHY]
            if bad:
                event = replace(event, passed=False, detail=f"still found: {bad[0].reason}")
        self._report(event)

    def repair(self, command: RepairNode) -> None:
        """Carry out a repair and report how it ended; blocks."""
        with self._one_at_a_time:
            try:
                detail = self._reset(command) if command.remedy is Remedy.RESET_GPU else self._reboot(command)
            except CannotRepair as exc:
                log.warning("a repair was not carried out", remedy=command.remedy, reason=str(exc))
                self._report(Repaired(command.intent_id, worked=False, detail=str(exc)))
            else:
                self._report(Repaired(command.intent_id, worked=True, detail=detail))

    def _reset(self, command: RepairNode) -> str:
        log.warning("resetting GPUs", gpus=command.gpus, reason=command.reason)
        if self._simulated:
            time.sleep(SIMULATED_S)
            faults.reset(self._dir, [gpu.index for gpu in self._gpus if gpu.uuid in command.gpus])
        else:
            refuse_without_rights(shared=self._shared)
            with self.apart(), self._monitor.released():
                _run(["nvidia-smi", "--gpu-reset", "-i", ",".join(command.gpus)])
        self._monitor.was_reset(command.gpus)
        lost = [found for found in self._monitor.standing(command.gpus) if found.code in _UNREACHABLE]
        if lost:
            raise CannotRepair(f"after the reset: {lost[0].reason}")
        return f"{len(command.gpus)} GPUs were reset"

    def _reboot(self, command: RepairNode) -> str:
        note = self._dir / "reboot.json"
        boot_id = self._monitor.boot_id()
        before = _noted(note, command.intent_id)
        if before is not None and before != boot_id:
            note.unlink()
            return "the machine was booted"
        if before is not None and not self._simulated:
            note.unlink()
            raise CannotRepair("a reboot was ordered before, and the agent was started again without one")
        if not self._simulated:
            refuse_without_rights(shared=self._shared)
        log.warning("rebooting", reason=command.reason)
        write_whole(note, json.dumps({"intent_id": command.intent_id, "boot_id": boot_id}))
        if not self._simulated:
            _run(["systemctl", "reboot"])
            time.sleep(GOING_DOWN_S)  # the agent that starts after the boot reports that it worked
            note.unlink()
            raise CannotRepair(f"the machine did not go down within {GOING_DOWN_S:g} s")
        time.sleep(SIMULATED_S)
        faults.boot(self._dir)
        self._monitor.was_booted()
        note.unlink()
        return "the simulated machine was booted"


def refuse_without_rights(*, shared: bool) -> None:
    """Raises `CannotRepair` where this process may not touch the machine, or it is somebody's own (`shared`)."""
    if shared:
        raise CannotRepair("this node is a process on somebody's machine, which is not ours to reset or reboot")
    if any(sign.exists() for sign in _CONTAINER_SIGNS):
        raise CannotRepair("the agent runs in a container: it may not reset or reboot the machine around it")
    if os.geteuid() != 0:
        raise CannotRepair("the agent is not root: it may not reset GPUs or reboot the machine")


def _run(argv: list[str]) -> None:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=RESET_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise CannotRepair(f"{argv[0]} did not work: {exc}") from exc
    if done.returncode:
        raise CannotRepair(f"{' '.join(argv)} ended with {done.returncode}: {(done.stdout + done.stderr)[-500:]}")


def _noted(note: Path, intent_id: str) -> str | None:
    """The boot id under which this very reboot was begun; None when it was not."""
    try:
        said = json.loads(note.read_text())
        return str(said["boot_id"]) if said["intent_id"] == intent_id else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
