"""The whole of godwit on one virtual clock: real planner, executor, watches, services, store and agent core.

Only time, processes, networks and clouds are models, and all of them misbehave by one seeded random source: messages
are lost, repeated and late, nodes lose power or are cut off, agents die, clouds refuse, time out after creating, list
stale, and the control plane dies between any two of its steps. After every second the invariants of the design are
checked against what really runs.
"""

import random
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from typing import ClassVar

from godwit.control_plane.context import Context
from godwit.control_plane.executors.launching import Executor
from godwit.control_plane.hints import PLAN, Hints
from godwit.control_plane.reconcilers.instances import InstanceWatch, OfferWatch
from godwit.control_plane.reconcilers.planning import Planning
from godwit.control_plane.secrets import Keyring
from godwit.control_plane.services import agents, jobs
from godwit.control_plane.services.archives import Shelf
from godwit.control_plane.store.database import Database
from godwit.domain.clock import ManualClock
from godwit.domain.errors import Gone, StaleWrite, Unauthenticated
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
from tests.simulation.machines import Checkpoints, Program, SimMachine, SimMachines, Surroundings

FAULTS_UNTIL_S = 90.0
QUIET_BY_S = 900.0
POLICY = Policy(idle_after_s=15.0, hold_s=5.0, loss_memory_s=30.0)


class World:
    """One run of one seed."""

    machine_kind: ClassVar[type[SimMachine]] = SimMachine
    spot_usd: ClassVar[float | None] = None

    def __init__(self, seed: int, database: Database, shelf: Shelf) -> None:
        self.rng = random.Random(seed)
        self.clock = ManualClock()
        self.began = self.clock.now()
        self.checkpoints = Checkpoints()
        self.programs: dict[str, Program] = {}
        self.story: list[str] = []
        self._database, self._shelf = database, shelf
        self._ids = IdSource(self.clock.now, random.Random(seed + 1))
        self._machine_rng = random.Random(seed + 2)
        self._surroundings = Surroundings(
            self.checkpoints,
            self._join,
            self._heartbeat,
            self._commands,
            self._gang_is_whole,
            self._has_head,
            self._program_of,
        )
        self.clouds, self.machines = self._make_clouds()
        self._late: list[tuple[float, Callable[[], object]]] = []
        self._cut_off_until: dict[str, float] = defaultdict(float)
        self._down_until = 0.0
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
            steps = self.rng.randint(8, 40)
            fails = number > 0 and self.rng.random() < 0.3
            self.programs[name] = Program(steps, fails_at=self.rng.randint(2, steps) if fails else None)
            resources = ResourcesSpec(
                gpus=f"H100:{self.rng.randint(1, 2)}",
                nodes=self.rng.randint(1, 3),
                fabric=self.rng.choice(["one", "any"]),
            )
            spec = JobSpecIn(name=name, run="true", resources=resources, retries=RetriesSpec(max=1000))
            submissions.append((self.began + self.rng.uniform(0, 30), spec))
        return submissions

    def _boot_control_plane(self) -> None:
        hints = Hints()
        db = CrashingDatabase(self._database, hints.announce, self._maybe_crash)
        providers = {cloud.name: CrashingProvider(cloud, self._maybe_crash) for cloud in self.clouds}
        self.context = Context(
            db=db, hints=hints, clock=self.clock, ids=self._ids, keyring=Keyring(b"k"), providers=providers,
            identity="godwit-sim", url="http://sim", store_url="sim://", serving_since=self.clock.now(), policy=POLICY,
        )  # fmt: skip
        self._planning, self._executor = Planning(self.context), Executor(self.context)
        self._watches = [InstanceWatch(self.context, p) for p in providers.values()]
        self._offers = [OfferWatch(self.context, p) for p in providers.values()]
        self._offers_at, self._planned_count, self._wake_at = 0.0, -1, 0.0
        self._resumed = False

    # Time.

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run began."""
        return self.clock.now() - self.began

    @property
    def faulty(self) -> bool:
        """Whether things still go wrong."""
        return self.elapsed_s < FAULTS_UNTIL_S

    def run(self) -> None:
        """Run until everything is quiet; raises `Violation` when an invariant breaks or quiet never comes."""
        while self.faulty or self._submissions or not invariants.is_quiet(self._database, self.clouds, self.programs):
            if self.elapsed_s > QUIET_BY_S:
                left = invariants.unfinished(self._database, self.clouds, self.programs)
                raise Violation(f"not quiet after {QUIET_BY_S:.0f} s: {left}")
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
            step()
        except Crash as crash:
            self._tell(f"the control plane dies {crash}")
            self._down_until = self.clock.now() + self.rng.uniform(0.5, 25)
            self._boot_control_plane()

    def _control_plane(self) -> None:
        now = self.clock.now()
        if not self._resumed:
            self._restart(now)
        if now >= self._offers_at:
            for offers in self._offers:
                offers.step()
            self._offers_at = now + 15
        count = self.context.hints.count(PLAN)
        if count != self._planned_count or now >= self._wake_at:
            self._planned_count = count
            plan = self._planning.step()
            self._wake_at = min(now + 5, plan.wake_at or now + 5)
        for intent_id in self._executor.due():
            self._executor.carry_out(intent_id)
        if int(self.elapsed_s) % 2 == 0:
            for watch in self._watches:
                watch.step()

    def _restart(self, now: float) -> None:
        self.context = Context(**{**vars(self.context), "serving_since": now})
        self._planning, self._executor = Planning(self.context), Executor(self.context)
        self._executor.resume()
        self._resumed = True

    # What goes wrong.

    def _maybe_crash(self, where: str) -> None:
        if self.faulty and self.rng.random() < 0.002:
            raise Crash(where)

    def _break_something(self) -> None:
        now, rng = self.clock.now(), self.rng
        machines = [m for m in self.machines.by_id.values() if m.powered]
        if machines and rng.random() < 0.015:
            victim = rng.choice(machines)
            self._tell(f"{victim.id} loses its power")
            next(c for c in self.clouds if victim.id in c.cloud.live()).cloud.lose(victim.id)
        if machines and rng.random() < 0.02:
            victim = rng.choice(machines)
            self._tell(f"the agent of {victim.id} dies")
            victim.kill_agent(now + rng.uniform(1, 25))
        if machines and rng.random() < 0.02:
            victim = rng.choice(machines)
            self._cut_off_until[victim.id] = now + rng.uniform(2, 40)
            self._tell(f"{victim.id} is cut off")
        if rng.random() < 0.03:
            cloud = rng.choice(self.clouds)
            faults = mishaps.of_a_cloud(rng)
            self._tell(f"{cloud.name}: {faults.model_dump(exclude_defaults=True)}")
            cloud.cloud.set_faults(faults)

    def _mend_everything(self) -> None:
        for cloud in self.clouds:
            if cloud.cloud.faults != Faults():
                cloud.cloud.set_faults(Faults())
        self._cut_off_until.clear()

    # Messages.

    def _request(self, serve: Callable[[], object]) -> object:
        """One request to the control plane over a bad network. Raises `ConnectionError` when no answer comes."""
        if self.clock.now() < self._down_until:
            raise ConnectionError("nobody answers")
        dice = self.rng.random() if self.faulty else 1.0
        if dice < 0.02:
            raise ConnectionError("the request was lost")
        if dice < 0.04:
            self._late.append((self.clock.now() + self.rng.uniform(1, 20), serve))
            raise ConnectionError("the request is late")
        answer = self._serve(serve)
        if dice < 0.06:
            raise ConnectionError("the answer was lost")
        return self._serve(serve) if dice < 0.08 else answer

    def _serve(self, serve: Callable[[], object]) -> object:
        try:
            return serve()
        except Crash as crash:
            self._tell(f"the control plane dies in a request, {crash}")
            self._down_until = self.clock.now() + self.rng.uniform(0.5, 25)
            self._boot_control_plane()
            raise ConnectionError("the control plane died") from crash
        except StaleWrite as stale:
            raise ConnectionError("the server answered 409") from stale

    def _deliver_late(self) -> None:
        due = [serve for at, serve in self._late if at <= self.clock.now()]
        self._late = [(at, serve) for at, serve in self._late if at > self.clock.now()]
        for serve in due:
            with suppress(Gone, Unauthenticated, StaleWrite):  # nobody waits for this answer any more
                serve()

    def _join(self, token: str, request: wire.JoinRequest) -> wire.JoinReply:
        answer = self._request(lambda: agents.join(self.context, token, request))
        assert isinstance(answer, wire.JoinReply)
        return answer

    def _heartbeat(self, machine: SimMachine, credential: str, beat: wire.HeartbeatRequest) -> wire.HeartbeatReply:
        self._refuse_when_cut_off(machine)
        try:
            answer = self._request(lambda: agents.heartbeat(self.context, credential, beat))
        except Gone as gone:
            machine.dismiss(self.clock.now())
            raise ConnectionError("dismissed") from gone
        assert isinstance(answer, wire.HeartbeatReply)
        return answer

    def _commands(self, machine: SimMachine, credential: str, known: set[str]) -> list[wire.Command]:
        self._refuse_when_cut_off(machine)
        try:
            answer = self._request(lambda: agents.commands(self.context, credential, known)[1])
        except Gone as gone:
            raise ConnectionError("dismissed") from gone
        assert isinstance(answer, list)
        return answer

    def _refuse_when_cut_off(self, machine: SimMachine) -> None:
        if self.clock.now() < self._cut_off_until[machine.id]:
            raise ConnectionError("cut off")

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
