"""Services in a world: users change, scale and move them, gateways use them, and machines go."""

import random
from contextlib import suppress
from dataclasses import replace

from godwit.agents.effects import Noticed
from godwit.control_plane.context import Context
from godwit.control_plane.reconcilers.serving import Serving
from godwit.control_plane.services import nodes, serving
from godwit.control_plane.services.archives import Shelf
from godwit.control_plane.store import queries
from godwit.control_plane.store import services as stored
from godwit.control_plane.store.database import Database
from godwit.domain.errors import Conflict, InvalidRequest, InvalidTransition, NotFound, StaleWrite
from godwit.domain.health import Remedy
from godwit.domain.services import Replica, ReplicaState, Service, ServiceState
from godwit.domain.wire.specs import JobSpecIn
from godwit.scheduler.health.policy import HealthPolicy

from tests.simulation import invariants, world
from tests.simulation.gateways import Gateway
from tests.simulation.harsh import HarshWorld
from tests.simulation.invariants import Violation
from tests.simulation.looping import Loops
from tests.simulation.programs import Program
from tests.simulation.promises import DRAIN_S, Promises
from tests.simulation.replicas import ServingMachine

POLICY = replace(world.POLICY, health=HealthPolicy(hold_s=20.0, drain_s=30.0))
SETTLED_BY_S = 700.0
NOTICE_S = (15.0, 40.0)

REFUSED = (Conflict, InvalidRequest, InvalidTransition, NotFound, StaleWrite)
ILLS = (("xid:79", Remedy.REBOOT), ("xid:48", Remedy.RESET_GPU), ("xid:63", Remedy.RESET_GPU))


class ServingWorld(HarshWorld, Promises):
    """A world with services that are changed, scaled and moved, on machines that are taken back, drained and sick."""

    machine_kind = ServingMachine
    spot_usd = 0.4

    def __init__(self, seed: int, database: Database, shelf: Shelf, kinds: frozenset[str] | None = None) -> None:
        self._replica_programs: dict[str, Program] = {}
        self._taken_back: list[tuple[float, ServingMachine]] = []
        super().__init__(seed, database, shelf, kinds)
        self._services = self._make_services()
        self._started: set[str] = set()
        self._users_dice = random.Random(seed + 4)
        now = self.clock.now()
        self.gateways = [Gateway(name, self._users_dice, self._request, now) for name in ("g-1", "g-2")]
        self._ran: set[str] = set()
        self._draining_since, self._told, self._ended_at, self._troubled_at = {}, set(), {}, now

    def _make_jobs(self) -> list[tuple[float, JobSpecIn]]:
        """One job beside the services: others' worlds are full of them."""
        submissions = super()._make_jobs()[:1]
        names = {spec.name for _, spec in submissions}
        self.programs = {name: program for name, program in self.programs.items() if name in names}
        return submissions

    def _make_services(self) -> dict[str, JobSpecIn]:
        found = {}
        for name in ("chat", "embed")[: self.rng.randint(1, 2)]:
            fields = {
                "kind": "service", "name": name, "run": "serve", "replicas": self.rng.randint(1, 3),
                "resources": {"gpus": "H100:1"}, "drain": f"{DRAIN_S:g}s",
                "spare": self.rng.choice([None, None, 1]), "retries": {"max": 1000},
                "rollout": {"strategy": self.rng.choice(["rolling", "blue-green", "canary"]), "bake": "3s"},
            }  # fmt: skip
            found[name] = JobSpecIn.model_validate(fields)
        return found

    def _boot_control_plane(self) -> None:
        super()._boot_control_plane()
        self.context = replace(self.context, policy=POLICY)

    def _make_loops(self, context: Context) -> Loops:
        loops = super()._make_loops(context)
        serving_loop = Serving(loops.context)

        def serve() -> None:
            serving_loop.step()
            if loops is self._loops and self._works_as_leader:
                self._check_routes()

        loops.more.append(serve)
        return loops

    def _program_of(self, job_name: str) -> Program:
        if job_name in self.programs:
            return self.programs[job_name]
        if job_name not in self._replica_programs:
            fails = self.faulty and self.rng.random() < 0.15
            self._replica_programs[job_name] = Program(10**9, self.rng.randint(1, 30) if fails else None)
        return self._replica_programs[job_name]

    # What people do.

    def _users(self) -> None:
        super()._users()
        for name, spec in self._services.items():
            if name not in self._started:
                serving.put(self.context, self._shelf, spec, "user")
                self._started.add(name)
            elif self.faulty and self.rng.random() < 0.06:
                with suppress(*REFUSED):
                    self._wish(name, spec)

    def _wish(self, name: str, spec: JobSpecIn) -> None:
        wish = self.rng.choice(["update", "update", "scale", "move", "undo", "drain"])
        self._tell(f"{name}: {wish}")
        if wish == "update":
            env = {"VERSION": str(self.rng.random())}
            serving.put(self.context, self._shelf, spec.model_copy(update={"env": env}), "user")
        elif wish == "scale":
            serving.scale(self.context, name, self.rng.randint(0, 4), "user")
        elif wish == "move":
            serving.move(self.context, name, self.rng.choice(["cheap", "dear", None]), "user")
        elif wish == "undo":
            serving.roll_back(self.context, name, "user")
        else:
            with self.database.read() as conn:
                there = [one.head.node_id for one in queries.live_attempts(conn)]
            nodes.drain(self.context, self.rng.choice(sorted(there) or ["none"]), "user")
        self.seen[wish] += 1

    def _break_something(self) -> None:
        super()._break_something()
        now, rng = self.clock.now(), self.rng
        there = (m for m in self.machines.by_id.values() if m.powered and m.node_id is not None)
        machines = [machine for machine in there if isinstance(machine, ServingMachine)]
        if machines and rng.random() < 0.02:
            victim, within_s = rng.choice(machines), rng.uniform(*NOTICE_S)
            victim.notice = Noticed("sim", within_s, "it is taken back")
            self._taken_back.append((now + within_s, victim))
            self._tell(f"{victim.id} is taken back in {within_s:.0f} s")
        if machines and rng.random() < 0.02:
            victim, (code, ends_by) = rng.choice(machines), rng.choice(ILLS)
            self._tell(f"GPU {victim.sickness.strike(code, ends_by, None)} of {victim.id}: {code}")
        if machines and rng.random() < 0.03:
            rng.choice(machines).silent_until = now + rng.uniform(1, 10)
        self._break_a_gateway(rng.choice(self.gateways), now)

    def _break_a_gateway(self, victim: Gateway, now: float) -> None:
        dice = self._users_dice
        if dice.random() < 0.03:
            self._tell(f"{victim.name} dies")
            victim.die(now, now + dice.uniform(1, 20))
            self.seen["a gateway dies"] += 1
        if dice.random() < 0.03:
            victim.cut_off_until = now + dice.uniform(2, 120)
            self._tell(f"{victim.name} is cut off")
            self.seen["a gateway is cut off"] += 1
        if "clocks" in self.kinds and dice.random() < 0.05:
            victim.set_clock(dice.uniform(-300, 300))

    def _mend_everything(self) -> None:
        super()._mend_everything()
        for one in self.gateways:
            one.cut_off_until = 0.0

    def _go_back(self) -> None:
        """As for jobs: users who miss their service say again what they want."""
        before = self.seen["restore"]
        super()._go_back()
        if self.seen["restore"] > before:
            with self.database.read() as conn:
                self._started &= {one.name for one in stored.alive(conn)}

    # Time.

    def second(self) -> None:
        """One second; then whoever uses the services, and what was promised of them."""
        for at, victim in self._taken_back:
            if at <= self.clock.now() and victim.powered:
                next(c for c in self.clouds if victim.id in c.cloud.live()).cloud.lose(victim.id)
        self._taken_back = [one for one in self._taken_back if one[1].powered]
        super().second()
        now = self.clock.now()
        alive = {command.attempt_id for _, command in invariants.runs(self.machines.by_id.values())}
        self._ended_at.update(dict.fromkeys(self._ran - alive, now))
        self._ran = alive
        if now < self._down_until or self._someone_sleeps or self._full_until or now < self._commits_fail_until:
            self._troubled_at = now
        for one in self.gateways:
            in_vain = one.second(lambda: self.context, alive, now)
            self._check_in_vain(one, in_vain, now)
        self._check_stops()

    def run(self) -> None:
        """Faults, then as many replicas as are wanted; then the services are removed, and nothing is left."""
        while self.faulty or not self._is_settled():
            if self.elapsed_s > SETTLED_BY_S:
                raise Violation(f"not as wanted after {SETTLED_BY_S:.0f} s: {self._standing()}")
            self.second()
        for name in self._services:
            serving.remove(self.context, name, "user")
        super().run()
        for _ in range(20):
            self.second()
        self._check_counts()
        with self.database.read() as conn:
            left = [one.name for one in stored.alive(conn)]
            leaving = [r.name for name in self._services for r in stored.replicas_of(conn, stored.get(conn, name).id)]
        if left or leaving:
            raise Violation(f"services {left} and replicas {leaving} are left")

    def _is_settled(self) -> bool:
        """Whether each service has what it should have, of one version, and the gateways know."""
        standing = self._standing()
        return len(standing) == len(self._services) and all(self._is_as_wanted(*one) for one in standing)

    def _is_as_wanted(self, of: Service, replicas: list[Replica]) -> bool:
        spare = of.newest.serving.spare if of.replicas else 0
        count = of.replicas + (spare or 0)
        is_ready = all(one.state is ReplicaState.READY and one.number == of.newest.number for one in replicas)
        seen = all(gateway.leads_to(str(one.attempt_id)) for one in replicas for gateway in self.gateways)
        return of.state is ServiceState.SERVING and of.rollout is None and len(replicas) == count and is_ready and seen
