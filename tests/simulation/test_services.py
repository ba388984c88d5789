"""Services while everything goes wrong, killed at each step: as many serve as are wanted, and nobody is cut off."""

import os
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from godwit.agents.effects import Noticed
from godwit.control_plane.reconcilers.serving import Serving
from godwit.control_plane.services import nodes, serving, traffic
from godwit.control_plane.services.archives import Shelf
from godwit.control_plane.store import queries
from godwit.control_plane.store import services as stored
from godwit.control_plane.store.database import Database
from godwit.domain.errors import Conflict, InvalidRequest, InvalidTransition, NotFound, StaleWrite
from godwit.domain.health import Remedy
from godwit.domain.jobs import Attempt, AttemptState, Outcome
from godwit.domain.services import Replica, ReplicaState, Service, ServiceState
from godwit.domain.wire.specs import JobSpecIn
from godwit.scheduler import departures
from godwit.scheduler.health.policy import HealthPolicy
from godwit.scheduler.serving import hedge
from sqlalchemy import Connection

from tests import databases
from tests.simulation import invariants, world
from tests.simulation.invariants import Violation
from tests.simulation.programs import Program
from tests.simulation.replicas import Gateway, ServingMachine

SEEDS = min(200, int(os.environ.get("GODWIT_SIMULATION_SEEDS", "3")))
FIRST = int(os.environ.get("GODWIT_SIMULATION_FIRST_SEED", "0"))
POLICY = replace(world.POLICY, health=HealthPolicy(hold_s=20.0, drain_s=30.0))
DRAIN_S = 8.0
SETTLED_BY_S = 700.0
NOTICE_S = (15.0, 40.0)
REFUSED = (Conflict, InvalidRequest, InvalidTransition, NotFound, StaleWrite)
ILLS = (("xid:79", Remedy.REBOOT), ("xid:48", Remedy.RESET_GPU), ("xid:63", Remedy.RESET_GPU))


@pytest.fixture(autouse=True)
def _settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten minutes are a long time for a world that runs second by second."""
    monkeypatch.setattr(hedge, "SETTLES_S", 20.0)


class ServingWorld(world.World):
    """A world with services that are changed, scaled and moved, on machines that are taken back, drained and sick."""

    machine_kind = ServingMachine
    spot_usd = 0.4

    def __init__(self, seed: int, database: Database, shelf: Shelf) -> None:
        self.database, self.seen = database, Counter[str]()
        self._replica_programs: dict[str, Program] = {}
        self._taken_back: list[tuple[float, ServingMachine]] = []
        self._draining_since: dict[str, float] = {}
        self._told: set[str] = set()
        super().__init__(seed, database, shelf)
        self._services = self._make_services()
        self._started: set[str] = set()
        self.gateway = Gateway("g-1", self.rng, self._request)

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
        self._loop = Serving(self.context)

    def _restart(self, now: float) -> None:
        super()._restart(now)
        self._loop = Serving(self.context)

    def _control_plane(self) -> None:
        super()._control_plane()
        self._loop.step()
        self._check_routes()

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

    # Time.

    def second(self) -> None:
        """One second; then whoever uses the services, and what was promised of them."""
        for at, victim in self._taken_back:
            if at <= self.clock.now() and victim.powered:
                next(c for c in self.clouds if victim.id in c.cloud.live()).cloud.lose(victim.id)
        self._taken_back = [one for one in self._taken_back if one[1].powered]
        super().second()
        alive = [command.attempt_id for _, command in invariants.runs(self.machines.by_id.values())]
        self.gateway.second(lambda: self.context, alive, self.clock.now())
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
        with self.database.read() as conn:
            left = [one.name for one in stored.alive(conn)]
            leaving = [r.name for name in self._services for r in stored.replicas_of(conn, stored.get(conn, name).id)]
        if left or leaving:
            raise Violation(f"services {left} and replicas {leaving} are left")

    # What is promised.

    def _standing(self) -> list[tuple[Service, list[Replica]]]:
        with self.database.read() as conn:
            return [(of, stored.replicas_of(conn, of.id)) for of in stored.alive(conn)]

    def _is_settled(self) -> bool:
        """Whether each service has what it should have, of one version, and the gateway knows."""
        standing = self._standing()
        return len(standing) == len(self._services) and all(self._is_as_wanted(*one) for one in standing)

    def _is_as_wanted(self, of: Service, replicas: list[Replica]) -> bool:
        spare = of.newest.serving.spare if of.replicas else 0
        count = of.replicas + (spare or 0)
        is_ready = all(one.state is ReplicaState.READY and one.number == of.newest.number for one in replicas)
        seen = all(self.gateway.leads_to(str(one.attempt_id)) for one in replicas)
        return of.state is ServiceState.SERVING and of.rollout is None and len(replicas) == count and is_ready and seen

    def _check_routes(self) -> None:
        """No two replicas are one process, and none is routed whose process has ended. Raises `Violation`."""
        with self.database.read() as conn:
            attempts = {one.id: one for one in queries.live_attempts(conn)}
        used = Counter[str]()
        for of, replicas in self._standing():
            for one in replicas:
                if one.state is not ReplicaState.READY:
                    continue
                attempt = attempts.get(one.attempt_id) if one.attempt_id is not None else None
                if attempt is None or attempt.state is not AttemptState.RUNNING or attempt.job_id != one.job_id:
                    raise Violation(f"{one.name} of {of.name} takes requests, and its attempt does not run")
                used[attempt.id] += 1
        if any(count > 1 for count in used.values()):
            raise Violation(f"two replicas are one process: {used}")

    def _check_stops(self) -> None:
        """Whoever is told to stop has nothing in flight, or had its time. Raises `Violation`."""
        now = self.clock.now()
        for _, replicas in self._standing():
            for one in replicas:
                if one.state is ReplicaState.DRAINING:
                    self._draining_since.setdefault(one.id, one.state_since)
        with self.database.read() as conn:
            live = [one for one in queries.live_attempts(conn) if one.state is AttemptState.STOPPING]
            new = [one for one in live if one.id not in self._told]
            self._told |= {one.id for one in new}
            for attempt in new:
                replica = stored.replica(conn, attempt.job_id)
                if replica is not None and not self._may_stop(conn, attempt, now):
                    why = f"{self.gateway.in_flight[attempt.id]} requests in flight: {attempt.detail}"
                    raise Violation(f"{replica.name} is told to stop ({attempt.outcome}) with {why}")

    def _may_stop(self, conn: Connection, attempt: Attempt, now: float) -> bool:
        if attempt.outcome in {Outcome.FAILED, Outcome.INTERRUPTED}:
            return True  # it ended by itself, or was lost
        there = {node.id: node for node in queries.nodes(conn)}
        going = departures.of(replace(attempt, state=AttemptState.RUNNING), there)
        self.seen[f"{attempt.outcome}"] += 1
        if going is not None and going.by <= now:
            return True
        if attempt.outcome is Outcome.CANCELLED:
            since = self._draining_since.get(attempt.job_id, now)
            quiet = not self.gateway.in_flight[attempt.id] and not self.gateway.leads_to(attempt.id)
            return quiet or now - since >= DRAIN_S or now - self.gateway.heard_at > traffic.SILENT_S
        lost = any(slot.node_id not in there or there[slot.node_id].gone for slot in attempt.slots)
        told = queries.events(conn, 0, 1_000, job_id=attempt.job_id)
        return lost or any(one.kind == "job.evicted" and one.data.get("saves") is False for one in told)


def run_seed(seed: int, folder: Path) -> ServingWorld:
    """One world, from its seed to quiet."""
    database = databases.in_memory()
    served = ServingWorld(seed, database, Shelf(folder))
    try:
        served.run()
    finally:
        database.close()
    return served


def run_seeds(count: int, folder: Path) -> None:
    """Several worlds, one after the other."""
    for seed in range(count):
        run_seed(seed, folder / str(seed))


def test_services_come_to_what_is_wanted_and_nobody_is_cut_off(tmp_path: Path) -> None:
    for seed in range(FIRST, FIRST + SEEDS):
        try:
            run_seed(seed, tmp_path / str(seed))
        except Violation as violation:
            pytest.fail(f"seed {seed}: {violation}")


def test_stopping_a_replica_without_asking_the_gateways_is_noticed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The simulation can fail."""
    monkeypatch.setattr(traffic, "_has_left", lambda *_: True)
    with pytest.raises(Violation, match="requests in flight"):
        run_seeds(20, tmp_path)
