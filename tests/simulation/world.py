"""The whole of godwit on one virtual clock: real planner, executor, watches, services, store and agent core.

Only time, processes, networks and clouds are models, and all of them misbehave by one seeded random source: messages
are lost, repeated and late, nodes lose power or are cut off, agents die, clouds refuse, time out after creating, list
stale, and the control plane dies between any two of its steps. After every second the invariants of the design are
checked against what really runs.
"""

import random
from collections.abc import Callable
from contextlib import suppress
from typing import ClassVar

from godwit.control_plane import hints
from godwit.control_plane.context import Context
from godwit.control_plane.keyring import Keyring
from godwit.control_plane.services import jobs
from godwit.control_plane.services.archives import Shelf
from godwit.control_plane.store.database import Database
from godwit.domain.clock import Clock, ManualClock
from godwit.domain.ids import IdSource
from godwit.domain.wire import agents as wire
from godwit.domain.wire.specs import JobSpecIn, ResourcesSpec, RetriesSpec
from godwit.providers.simulated.catalogue import Shape
from godwit.providers.simulated.cloud import Cloud
from godwit.providers.simulated.faults import Faults
from godwit.providers.simulated.inprocess import InProcessProvider
from godwit.providers.simulated.sales import CloudSettings
from godwit.scheduler.snapshot import Policy

from tests.simulation import invariants, mishaps
from tests.simulation.crashing import Crash, CrashingDatabase, CrashingProvider
from tests.simulation.invariants import Violation
from tests.simulation.looping import REFUSED, Loops
from tests.simulation.machines import SimMachine, SimMachines
from tests.simulation.network import Network
from tests.simulation.programs import Checkpoints, Program, Surroundings

FAULTS_UNTIL_S = 45.0
QUIET_BY_S = 900.0
POLICY = Policy(idle_after_s=6.0, hold_s=4.0, loss_memory_s=20.0)


class World(Network):
    """One run of one seed."""

    machine_kind: ClassVar[type[SimMachine]] = SimMachine
    spot_usd: ClassVar[float | None] = None

    def __init__(self, seed: int, database: Database, shelf: Shelf) -> None:
        super().__init__()
        self.rng = random.Random(seed)
        self.clock = ManualClock()
        self.began = self.clock.now()
        self.checkpoints = Checkpoints()
        self.programs: dict[str, Program] = {}
        self.story: list[str] = []
        self._database, self._shelf = database, shelf
        self._ids_rng = random.Random(seed + 1)
        self._machine_rng = random.Random(seed + 2)
        self._surroundings: Surroundings[SimMachine] = Surroundings(
            self.checkpoints,
            self._join,
            self._heartbeat,
            self._commands,
            lambda node_id: self.context.hints.count(hints.commands_of(node_id)),
            self._gang_is_whole,
            self._has_head,
            self._program_of,
        )
        self.clouds, self.machines = self._make_clouds()
        self._submissions = self._make_jobs()
        self._boot_control_plane()

    # The scene.

    def _make_clouds(self) -> tuple[list[InProcessProvider], SimMachines]:
        machines = SimMachines(lambda machine: self.machine_kind(machine, self._surroundings, self._machine_rng))
        clouds = []
        for index, (name, price) in enumerate([("cheap", 1.0), ("dear", 2.0)], start=1):
            shapes = tuple(
                Shape(f"h100.{n}x", "r1", "H100-SXM", n, 80.0, 32, 128.0, price * n, spot, 6, fabric_domain="f1")
                for n, spot in ((1, self.spot_usd), (2, None))
            )
            settings = CloudSettings(name, index, f"127.0.{index}", shapes, boot_s=(1.0, 4.0), page_limit=3)
            cloud = Cloud(settings, self.clock, random.Random(self.rng.random()), machines)
            clouds.append(InProcessProvider(cloud, self.clock, wait=self.clock.advance))
        return clouds, machines

    def _make_jobs(self) -> list[tuple[float, JobSpecIn]]:
        submissions = []
        for number in range(self.rng.randint(2, 4)):
            name = f"job{number}"
            steps = self.rng.randint(6, 24)
            fails = number > 0 and self.rng.random() < 0.3
            self.programs[name] = Program(steps, fails_at=self.rng.randint(2, steps) if fails else None)
            resources = ResourcesSpec(
                gpus=f"H100:{self.rng.randint(1, 2)}",
                nodes=self.rng.randint(1, 3),
                fabric=self.rng.choice(["one", "any"]),
            )
            spec = JobSpecIn(name=name, run="true", resources=resources, retries=RetriesSpec(max=1000))
            submissions.append((self.began + self.rng.uniform(0, 15), spec))
        return submissions

    def _boot_control_plane(self) -> None:
        waking, clock = hints.Hints(), self._process_clock()
        db = CrashingDatabase(self._database, waking.announce, self._maybe_crash)
        providers = {cloud.name: CrashingProvider(cloud, self._maybe_crash) for cloud in self.clouds}
        self.context = Context(
            db=db, hints=waking, clock=clock, ids=IdSource(clock.now, self._ids_rng), keyring=Keyring(b"k"),
            providers=providers, identity="godwit-sim", url="http://sim", store_url="sim://",
            serving_since=clock.now(), policy=POLICY,
        )  # fmt: skip
        self._resumed = False

    def _process_clock(self) -> Clock:
        """The clock of a process of the control plane that starts now."""
        return self.clock

    # Time.

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run began."""
        return self.clock.now() - self.began

    @property
    def quiet_by_s(self) -> float:
        """By when everything must be over."""
        return QUIET_BY_S

    @property
    def faulty(self) -> bool:
        """Whether things still go wrong."""
        return self.elapsed_s < FAULTS_UNTIL_S

    def run(self) -> None:
        """Run until everything is quiet; raises `Violation` when an invariant breaks or quiet never comes."""
        while self.faulty or self._submissions or not invariants.is_quiet(self._database, self.clouds, self.programs):
            if self.elapsed_s > self.quiet_by_s:
                left = invariants.unfinished(self._database, self.clouds, self.programs)
                raise Violation(f"not quiet after {self.quiet_by_s:.0f} s: {left}")
            self.second()
        invariants.check_end(self._database, self.programs, self.machines.by_id.values())

    def second(self) -> None:
        """One second: faults, machines, clouds, messages, users, the control plane; then the invariants."""
        self.clock.advance(1.0)
        if self.faulty:
            self._break_something()
        else:
            self._mend_everything()
        for machine in list(self.machines.by_id.values()):
            machine.tick(self.clock.now())
        for cloud in self.clouds:
            cloud.cloud.tick()
        self._as_control_plane(self._deliver_late)
        self._as_control_plane(self._users)
        self._as_control_plane(self._control_plane)
        invariants.check_now(self.machines.by_id.values())

    def _as_control_plane(self, step: Callable[[], object]) -> None:
        if self.clock.now() < self._down_until:
            return
        try:
            with suppress(*REFUSED):
                step()
        except Crash as crash:
            self._die(f"the control plane dies {crash}")

    def _die(self, why: str) -> None:
        self._tell(why)
        self._down_until = self.clock.now() + self.rng.uniform(0.5, 25)
        self._boot_control_plane()

    def _control_plane(self) -> None:
        if not self._resumed:
            self._restart(self.context.now())
        self._loops.second()

    def _restart(self, now: float) -> None:
        self.context = Context(**{**vars(self.context), "serving_since": now})
        self._loops = self._make_loops(self.context)
        self._resumed = True

    def _make_loops(self, context: Context) -> Loops:
        return Loops(context)

    # What goes wrong.

    def _maybe_crash(self, where: str) -> None:
        if self.faulty and self.rng.random() < 0.003:
            raise Crash(where)

    def _break_something(self) -> None:
        now, rng = self.clock.now(), self.rng
        machines = [m for m in self.machines.by_id.values() if m.powered]
        if machines and rng.random() < 0.02:
            victim = rng.choice(machines)
            self._tell(f"{victim.id} loses its power")
            next(c for c in self.clouds if victim.id in c.cloud.live()).cloud.lose(victim.id)
        if machines and rng.random() < 0.03:
            victim = rng.choice(machines)
            self._tell(f"the agent of {victim.id} dies")
            victim.kill_agent(now + rng.uniform(1, 25))
        if machines and rng.random() < 0.03:
            victim = rng.choice(machines)
            self._cut_off_until[victim.id] = now + rng.uniform(2, 40)
            self._tell(f"{victim.id} is cut off")
        if rng.random() < 0.04:
            cloud = rng.choice(self.clouds)
            faults = mishaps.of_a_cloud(rng)
            self._tell(f"{cloud.name}: {faults.model_dump(exclude_defaults=True)}")
            cloud.cloud.set_faults(faults)

    def _mend_everything(self) -> None:
        for cloud in self.clouds:
            if cloud.cloud.faults != Faults():
                cloud.cloud.set_faults(Faults())
        self._cut_off_until.clear()

    # Users and programs.

    def _users(self) -> None:
        for at, spec in list(self._submissions):
            if at <= self.clock.now():
                jobs.submit(self.context, self._shelf, spec, f"key-{spec.name}", "user")
                self._submissions.remove((at, spec))

    def _program_of(self, job_name: str) -> Program:
        return self.programs[job_name]

    def _has_head(self, command: wire.StartAttempt) -> bool:
        return 0 in self._ranks_alive(command)

    def _gang_is_whole(self, command: wire.StartAttempt) -> bool:
        return len(self._ranks_alive(command)) == len(command.peers)

    def _ranks_alive(self, command: wire.StartAttempt) -> set[int]:
        return {
            run.command.rank
            for machine in self.machines.by_id.values()
            for run in machine.runs.values()
            if run.alive and run.command.attempt_id == command.attempt_id
        }

    def _tell(self, what: str) -> None:
        self.story.append(f"{self.elapsed_s:6.1f} {what}")
