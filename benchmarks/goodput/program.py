"""The job: one program on all machines of its gang, which starts, trains, suffers and ends together.

It is `idle`, `starting`, `running`, `broken` (it stands still, or its processes end) or `stopping`.
"""

import random
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

from godwit.domain.errors import InvariantBroken

from benchmarks.goodput.faults import Effect
from benchmarks.goodput.machines import Fault, Machine
from benchmarks.goodput.scenario import Happening
from benchmarks.goodput.training import Stint, Training

if TYPE_CHECKING:
    from benchmarks.goodput.world import World

REPEAT_AFTER_S = 60.0
"""How long after a start a stubborn bug strikes again."""


class Job(StrEnum):
    """Where the job stands; see the module."""

    IDLE = "idle"
    STARTING = "starting"
    RUNNING = "running"
    BROKEN = "broken"
    STOPPING = "stopping"


class Program:
    """The job of one world. A responder starts and stops it.

    `cause` names the kind of what broke it last, and `at_start` says whether that was before its first step.
    """

    def __init__(self, world: "World") -> None:
        self.world, self.job, self.training = world, Job.IDLE, Training()
        self.gang: list[Machine] = []
        self.cause, self.at_start = "", False
        self._epoch, self._held = 0, dict[str, int]()
        self._bugs: list[tuple[Happening, int]] = []

    def holds(self, machine: Machine) -> bool:
        """Whether the newest start was on this machine."""
        return machine.id in self._held

    @property
    def odd(self) -> list[Machine]:
        """Machines of the gang that are not as they should be, in the gang's order."""
        odd = [machine for name, machine in self.world.odd.items() if name in self._held]
        return sorted(odd, key=lambda one: self._held[one.id])

    def start(
        self, machines: Sequence[Machine], interval_s: float, *, takes_s: float | None = None, tries: bool = False
    ) -> None:
        """Start on these, saving every `interval_s`; `takes_s` instead of the phases' own times. `tries`: the GPUs of
        some are tried first."""
        world, times = self.world, self.world.times
        held = {one.id: place for place, one in enumerate(machines)}
        if self.job is not Job.IDLE or len(machines) != world.fleet.nodes or len(held) != len(machines):
            raise InvariantBroken(f"a start on {len(machines)} machines while the job is {self.job}")
        self._epoch += 1
        self.job, self.gang, self._held = Job.STARTING, list(machines), held
        world.tally.placed(world.now, self.odd)
        if random.Random(f"restore {world.seed} {self._epoch}").random() < world.saving.damaged_share:
            self.training.falls_back()
        spawned_s = times.place_s + times.spawn_s + (times.preflight_s if tries else 0.0)
        rest_s = times.init_s(8 * world.fleet.nodes) + world.saving.load_s + times.first_step_s
        if takes_s is not None:
            rest_s = max(0.0, takes_s - spawned_s)
        world.after(spawned_s, self._spawned, self._epoch, rest_s, interval_s)

    def stop(self, *, saves: bool) -> None:
        """End its processes; the responder's `stopped` follows. `saves`: with a last checkpoint, where it still can."""
        if self.job in {Job.IDLE, Job.STOPPING}:
            return
        world, can_save = self.world, saves and self.job is Job.RUNNING
        world.tally.acted(world.now)
        self.training.end(world.now, saves=can_save)
        world.tally.broke_off(world.now)
        self.job = Job.STOPPING
        world.after(world.times.stop_s + (world.times.grace_s if can_save else 0.0), self._stopped, self._epoch)

    # --- what the world does to it ---

    def bug(self, happening: Happening) -> None:
        """Its own fault will strike again after each of its next starts."""
        self._bugs.append((happening, happening.repeats))

    def suffer(self, machine: Machine, fault: Fault) -> None:
        """A fault of a machine of the gang, or of the program itself, has its effect."""
        effect, epoch, world = fault.kind.effect, self._epoch, self.world
        if effect is Effect.NONE or self.job not in {Job.RUNNING, Job.STARTING}:
            return
        world.tally.struck(world.now, fault)
        if effect is Effect.SLOW:
            self.set_pace()
            world.after(world.watching.slow_window_s, self._window, machine, fault, epoch, 1)
        elif effect is Effect.CORRUPT:
            self._corrupt(fault)
        else:
            self._break(fault.kind.name, at_start=False)
            if effect is Effect.CRASH:
                world.after(world.times.exit_s, self._crash, machine, epoch)
                return
            names_it = world.rng(fault, "odd").random() < world.watching.odd_share
            world.after(world.watching.hang_s, self._stuck, machine if names_it else None, epoch)
            world.after(world.times.watchdog_s, self._crash, machine, epoch)

    def set_pace(self) -> None:
        """All go as fast as the slowest."""
        if self.training.stint is not None and self.job is Job.RUNNING:
            self.training.stint.goes_at(self.world.now, min((one.rate for one in self.odd), default=1.0))

    def _corrupt(self, fault: Fault) -> None:
        stint = self.training.stint
        if stint is None:
            return
        stint.corrupt_since = self.world.now if stint.corrupt_since is None else stint.corrupt_since
        delay_s = self.world.rng(fault, "nan").expovariate(1 / self.world.watching.nan_after_s)
        self.world.after(delay_s, self._spoil, self._epoch)

    def _break(self, cause: str, *, at_start: bool) -> None:
        self.cause, self.at_start = cause, at_start
        if self.training.stint is not None:
            self.training.stint.goes_at(self.world.now, 0.0)
        self.job = Job.BROKEN

    def _crash(self, machine: Machine, epoch: int) -> None:
        if epoch == self._epoch and self.job is Job.BROKEN:
            self.world.responder.crashed(machine)

    def _stuck(self, odd: Machine | None, epoch: int) -> None:
        if epoch == self._epoch and self.job is Job.BROKEN:
            self.world.responder.stuck(odd)

    def _spoil(self, epoch: int) -> None:
        if epoch == self._epoch and self.job is Job.RUNNING:
            self._break("not-a-number", at_start=False)
            self._no_number(epoch)
            self.world.after(self.world.times.nan_exit_s, self._crash, self.gang[0], epoch)

    def _no_number(self, epoch: int) -> None:
        """Each step tells it again, until the program ends."""
        if epoch == self._epoch and self.job is Job.BROKEN:
            self.world.responder.spoilt()
            self.world.after(self.world.watching.step_s, self._no_number, epoch)

    def _window(self, machine: Machine, fault: Fault, epoch: int, count: int) -> None:
        if epoch == self._epoch and self.job is Job.RUNNING and fault in machine.faults:
            self.world.responder.slow(machine, fault.kind.rate, count)
            self.world.after(self.world.watching.slow_window_s, self._window, machine, fault, epoch, count + 1)

    def _spawned(self, epoch: int, rest_s: float, interval_s: float) -> None:
        if epoch != self._epoch or self.job is not Job.STARTING:
            return
        bad = next((machine for machine in self.odd if machine.stops_starts), None)
        if bad is None:
            self.world.after(rest_s, self._runs, epoch, interval_s)
            return
        self.world.tally.failed_starts += 1
        for fault in bad.faults:
            if fault.kind.blocks:
                fault.struck += 1
                self.world.tally.struck(self.world.now, fault)
        self._break(next(fault.kind.name for fault in bad.faults if fault.kind.blocks), at_start=True)
        self._crash(bad, epoch)

    def _runs(self, epoch: int, interval_s: float) -> None:
        if epoch != self._epoch or self.job is not Job.STARTING:
            return
        world = self.world
        self.job = Job.RUNNING
        self.training.begin(Stint(world.now, interval_s, world.saving.stall_s, world.saving.commit_s))
        world.tally.resumed(world.now)
        self.set_pace()
        for machine in self.odd:
            for fault in machine.faults:
                self._resume(machine, fault, epoch)
        for happening, _ in self._bugs:
            world.after(REPEAT_AFTER_S, self._bug, happening, epoch)
        self._bugs = [(happening, left - 1) for happening, left in self._bugs if left > 1]
        world.responder.running()

    def _resume(self, machine: Machine, fault: Fault, epoch: int) -> None:
        """A fault that is still there when the job runs again."""
        if fault.kind.effect is Effect.SLOW:
            self.world.after(self.world.watching.slow_window_s, self._window, machine, fault, epoch, 1)
        elif fault.kind.effect is not Effect.NONE:
            delay_s = self.world.rng(fault, "again").expovariate(1 / fault.kind.again_s)
            self.world.after(delay_s, self._strikes_again, machine, fault, epoch)

    def _strikes_again(self, machine: Machine, fault: Fault, epoch: int) -> None:
        if epoch == self._epoch and self.job is Job.RUNNING and fault in machine.faults and self.holds(machine):
            fault.struck += 1
            self.world.show(machine, fault)

    def _bug(self, happening: Happening, epoch: int) -> None:
        if epoch == self._epoch and self.job is Job.RUNNING:
            draw = random.Random(f"bug {self.world.seed} {happening.number} {epoch}").random()
            self.world.strike(self.gang[int(draw * len(self.gang))], happening)

    def _stopped(self, epoch: int) -> None:
        if epoch == self._epoch:
            self.job = Job.IDLE
            self.world.tally.stopped(self.world.now)
            self.world.responder.stopped()
