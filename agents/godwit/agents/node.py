"""The attempts of this node: carries out the core's effects, and tells the core what becomes of them."""

import os
import shutil
import threading
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path

from godwit.agents import leases, tracing
from godwit.agents.checks.active.running import ActiveChecks
from godwit.agents.checks.work import crash, gang
from godwit.agents.checks.work.drilled import Drilled, Faults
from godwit.agents.checks.work.watch import Watched, WorkWatch
from godwit.agents.confinement import confined
from godwit.agents.confinement.keeper import Keeper
from godwit.agents.effects import Check, Copy, Effect, HealthEvent, Repair, Running, RuntimeEvent, StartRuntime, Stopped
from godwit.agents.link import Link
from godwit.agents.logs import Tail
from godwit.agents.runtime import preflight
from godwit.agents.runtime.attempt import AttemptRun, Surroundings
from godwit.agents.runtime.custody import Custody
from godwit.agents.runtime.folder import AttemptFolder
from godwit.agents.runtime.guard import write_whole
from godwit.agents.runtime.held import Held
from godwit.agents.runtime.process.probe import Abilities
from godwit.agents.runtime.ray_cluster import NodeFacts
from godwit.agents.runtime.standby_keeper import StandbyKeeper
from godwit.agents.shipping import LogShipper
from godwit.domain.wire.agents import GpuFact, StartAttempt

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
        self._watches: dict[str, list[WorkWatch | Drilled]] = {}
        self._begun: dict[str, tuple[StartAttempt, float]] = {}
        self._lock = threading.Lock()
        self.report: Callable[[RuntimeEvent], None] = lambda _event: None
        """Where runtime events go; set once, before the first effect."""
        self.care: Callable[[Repair | Check], None] = lambda _order: None
        """What carries out repairs and checks; set once, before the first effect."""
        self.copy: Callable[[Copy], None] = lambda _order: None
        """What copies checkpoints ahead; set once, before the first effect."""
        self.found: Callable[[HealthEvent], None] = lambda _event: None
        """Where findings about attempts go; set once, before the first effect."""
        self.trace: tracing.Trace = tracing.nothing
        """What records attempts in the traces of their jobs; set once, before the first effect."""
        self.gpus: Callable[[], Sequence[GpuFact]] = list
        """The node's GPUs; may block on a sick driver, so it is asked from threads that may."""
        self.abilities = Abilities()
        """Whether and how programs are saved as processes here; set once, before the first effect."""
        self.checks: ActiveChecks | None = None
        """What tries GPUs; set once, before the first effect. Without it none is tried."""
        self.standby: StandbyKeeper | None = None
        """Keeps a Ray that stands by; set once, before the first effect. Without it each attempt starts its own."""
        self.keeper = Keeper()
        """Gives each attempt a user and a cgroup of its own; set once, before the first effect."""
        self.drills: Faults | None = None
        """What fire drills do to programs here; set once, before the first effect. Without it they do nothing."""

    def carry_out(self, effect: Effect) -> None:
        """Start or stop an attempt; returns at once, `report` hears the rest from other threads."""
        if isinstance(effect, Copy):
            self.copy(effect)
            return
        if isinstance(effect, Repair | Check):
            self.care(effect)
            return
        if isinstance(effect, StartRuntime):
            self._start(effect.command)
            return
        with self._lock:
            run = self._runs.get(effect.attempt_id)
        if run is not None:
            run.stop(effect.grace_s)
            return
        folder = AttemptFolder(self._node_dir, effect.attempt_id)
        if folder.command_path.exists():
            # An earlier agent started it. The order comes first: taking over must not start what never did.
            Custody(folder, self._lease_path).stop(effect.grace_s)
            self._start(StartAttempt.model_validate_json(folder.command_path.read_text()))
            return
        gone = Stopped(effect.attempt_id, "cancelled", detail="it was stopped before it started")
        threading.Thread(target=self.report, args=(gone,), daemon=True).start()

    def is_idle(self) -> bool:
        """Whether no attempt lives here."""
        with self._lock:
            return not self._runs

    def clear_leftovers(self, live: Collection[str]) -> None:
        """Remove the folders of attempts that ended while nobody was left to do it."""
        for path in (self._node_dir / "attempts").glob("*"):
            if path.name not in live:
                folder = AttemptFolder(self._node_dir, path.name)
                confined.read(folder.root).end()
                shutil.rmtree(folder.ray, ignore_errors=True)
                shutil.rmtree(folder.root, ignore_errors=True)

    def _start(self, command: StartAttempt) -> None:
        with self._lock:
            if command.attempt_id in self._runs:
                return
            folder = AttemptFolder(self._node_dir, command.attempt_id)
            taken = self.standby.take(command) if self.standby else None
            folder.make()
            write_whole(folder.command_path, command.model_dump_json())
            held = Held(partial(self._link.secrets, command.attempt_id)) if command.has_secrets else Held()
            around = Surroundings(
                self._link,
                self._facts,
                dict(os.environ),
                self._hear,
                self._preflight,
                self.abilities,
                held,
                self.keeper.confine,
            )
            custody = taken or Custody(folder, leases.path(self._lease_path, command))
            run = AttemptRun(command, folder, custody, around)
            self._runs[command.attempt_id] = run
            self._begun[command.attempt_id] = (command, time.monotonic())
            if command.rank == 0:  # an attempt has one log: its program's, which runs on the head
                shipper = LogShipper(Tail(folder.output, command.attempt_id, command.epoch, held.mask), self._link)
                self._shippers[command.attempt_id] = shipper
                shipper.start()
            watches = self._watches_of(command, folder)
            self._watches[command.attempt_id] = watches
        if self.checks is not None:
            self.checks.work_comes()
        if self.standby is not None:
            self.standby.look()  # what did not fit makes room
        run.start()
        for watch in watches:
            watch.start()

    def _watches_of(self, command: StartAttempt, folder: AttemptFolder) -> list[WorkWatch | Drilled]:
        watched = self._watched(command, folder)
        drills = [] if self.drills is None else [Drilled(watched.run_folder, watched.output, self.drills)]
        return [WorkWatch(watched, self.found), *drills]

    def _watched(self, command: StartAttempt, folder: AttemptFolder) -> Watched:
        return Watched(
            command.attempt_id,
            folder.run,
            folder.output if command.rank == 0 else None,
            lambda: self._uuids(command),
            command.hang_after_s,
            # On other nodes than the head's nobody knows when the program starts, until it says something there.
            started=lambda: folder.program_started() or (folder.run / "progress.jsonl").exists(),
            goes_on=lambda: folder.stop_ordered_ns() is None,
            place=gang.place_of(command),
        )

    def _uuids(self, command: StartAttempt) -> list[str]:
        return [gpu.uuid for index in command.gpus for gpu in self.gpus() if gpu.index == index]

    def _preflight(self, command: StartAttempt, going_on: Callable[[], bool]) -> str:
        """Say why the GPUs of an attempt are not fit; nothing when they are, or are not to be tried."""
        if self.checks is None or not preflight.is_wanted(command, os.environ, simulated=self._facts.simulated):
            return ""
        result = self.checks.preflight(command.gpus, going_on, anew=command.preflight == "always")
        return "" if result.passed else result.detail

    def _note_work(self, checks: ActiveChecks, command: StartAttempt, since: float) -> None:
        """GPUs on which a program got as far as to tell of steps have shown that they are fit."""
        if (AttemptFolder(self._node_dir, command.attempt_id).run / "progress.jsonl").exists():
            checks.proven.worked(self._uuids(command), since)

    def _hear(self, event: RuntimeEvent) -> None:
        if not isinstance(event, Stopped):
            begun = self._begun.get(event.attempt_id) if isinstance(event, Running) else None
            if begun is not None:
                self.trace("start attempt", begun[0], time.time() - (time.monotonic() - begun[1]), "")
            self.report(event)
            return
        with self._lock:
            shipper = self._shippers.pop(event.attempt_id, None)
            self._runs.pop(event.attempt_id)
            watches = self._watches.pop(event.attempt_id, [])
            begun = self._begun.pop(event.attempt_id, None)
        for watch in watches:
            watch.close()
        if begun is not None:
            began_at = time.time() - (time.monotonic() - begun[1])
            self.trace("attempt", begun[0], began_at, event.detail if event.outcome == "failed" else "")
        blamed = crash.attribution(event)
        if blamed is not None:
            self.found(blamed)  # before the end itself, so that whoever judges the end knows it
        elif self.checks is not None and begun is not None:
            self._note_work(self.checks, *begun)
        # The log first: whoever sees the job's end may read its log to the end.
        stored = shipper is None or shipper.finish(LAST_OUTPUT_S)
        folder = AttemptFolder(self._node_dir, event.attempt_id)
        confined.read(folder.root).end()  # one that never had a guard was ended by nobody
        folder.clear_work()  # before the end is told: the next attempt here may be of another project
        self.report(event)
        if self.standby is not None:
            self.standby.look()
        if shipper is None or stored or shipper.finish(KEPT_OUTPUT_S):
            shutil.rmtree(folder.root, ignore_errors=True)
