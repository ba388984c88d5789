"""GPUs that fall ill while everything else goes wrong: no start on what is out, no job lost, and it comes to an end."""

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from godwit.control_plane.services import breaker, health
from godwit.control_plane.services.archives import Shelf
from godwit.control_plane.store import health as remembered
from godwit.control_plane.store import queries
from godwit.control_plane.store.database import Database
from godwit.domain.health import IncidentState, Remedy
from godwit.domain.nodes import Health, Node, NodeState
from godwit.scheduler.health.policy import HealthPolicy

from tests import databases
from tests.simulation import world
from tests.simulation.invariants import Violation

SEEDS = min(100, int(os.environ.get("GODWIT_SIMULATION_SEEDS", "4")))
SICK = replace(world.POLICY, health=HealthPolicy(hold_s=20.0, drain_s=30.0))
ILLS: tuple[tuple[str, Remedy | None], ...] = (
    ("xid:79", Remedy.REBOOT), ("xid:79", None), ("xid:48", Remedy.RESET_GPU), ("xid:119", Remedy.RESET_GPU),
    ("xid:74", Remedy.REBOOT),
)  # fmt: skip
MISTAKES = ("xid:13", "xid:31", "xid:43", "xid:45")


class SickWorld(world.World):
    """A world whose GPUs fall ill, and whose operator resets the breaker and closes what is left to a person."""

    def __init__(self, seed: int, database: Database, shelf: Shelf) -> None:
        self.database = database
        self.seen = Counter[str]()
        self._known: set[str] = set()
        super().__init__(seed, database, shelf)

    def _break_something(self) -> None:
        super()._break_something()
        machines = [m for m in self.machines.by_id.values() if m.powered and m.node_id is not None]
        if machines and self.rng.random() < 0.03:
            victim, (code, ends_by) = self.rng.choice(machines), self.rng.choice(ILLS)
            breaks_at = self.clock.now() + self.rng.uniform(0, 4) if self.rng.random() < 0.5 else None
            gpu = victim.sickness.strike(code, ends_by, breaks_at)
            self._tell(f"GPU {gpu} of {victim.id}: {code}, ended by {ends_by}")
        if machines and self.rng.random() < 0.03:
            victim, code = self.rng.choice(machines), self.rng.choice(MISTAKES)
            victim.sickness.mention(code)

    def second(self) -> None:
        """One second, then the operator, then the gate."""
        super().second()
        self._as_control_plane(self._operate)
        self._check_starts()

    def _operate(self) -> None:
        if int(self.elapsed_s) % 20 == 0:
            breaker.reset(self.context, "operator")

    def _check_starts(self) -> None:
        """No attempt is *placed* on a cordoned node, or on a GPU that is not healthy."""
        with self.database.read() as conn:
            nodes = {node.id: node for node in queries.nodes(conn)}
            attempts = [attempt for attempt in queries.live_attempts(conn) if attempt.id not in self._known]
            believed = remembered.records(conn, [gpu.uuid for node in nodes.values() for gpu in node.gpus])
            for incident in remembered.open_incidents(conn):
                self.seen[incident.state] += 1
        self._known |= {attempt.id for attempt in attempts}
        for attempt in attempts:
            for slot in attempt.slots:
                node = nodes.get(slot.node_id)
                if node is None or attempt.created_at < self.clock.now():
                    continue  # it was placed in a second before, and what is believed may have changed since
                held = [gpu.uuid for gpu in node.gpus if gpu.index in slot.gpus]
                bad = [uuid for uuid in held if uuid in believed and believed[uuid].state is not Health.HEALTHY]
                if node.state is NodeState.CORDONED or bad:
                    raise Violation(f"attempt {attempt.id} starts on {node.id} ({node.state}, of which bad: {bad})")


def run_seed(seed: int, folder: Path) -> SickWorld:
    """One sick world, from its seed to quiet."""
    database = databases.in_memory()
    sick = SickWorld(seed, database, Shelf(folder))
    try:
        sick.run()
        with database.read() as conn:
            sick.seen["past"] = len(remembered.view(conn, sick.clock.now()).past)
            left = remembered.open_incidents(conn)
        if left:
            raise Violation(f"incidents never ended: {[(one.id, one.state, one.remedy) for one in left]}")
    finally:
        database.close()
    return sick


def run_seeds(count: int, folder: Path) -> None:
    """Several sick worlds, one after the other."""
    for seed in range(count):
        run_seed(seed, folder / str(seed))


@pytest.fixture(autouse=True)
def _sick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "POLICY", SICK)


def test_no_job_is_lost_to_sick_gpus_and_nothing_starts_on_them(tmp_path: Path) -> None:
    seen = Counter[str]()
    for seed in range(SEEDS):
        try:
            seen.update(run_seed(seed, tmp_path / str(seed)).seen)
        except Violation as violation:
            pytest.fail(f"seed {seed}: {violation}")
    assert seen["past"] > 0, "something fell ill"
    assert seen[IncidentState.REPAIRING] > 0
    assert seen[IncidentState.TESTING] > 0


def test_a_node_that_is_not_told_of_its_sick_gpus_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The simulation can fail: what is only remembered of a device keeps nobody away from it."""

    def forgetful(node: Node, _states: Mapping[str, Health]) -> Node:
        return node

    monkeypatch.setattr(health, "with_health", forgetful)
    with pytest.raises(Violation, match="starts on"):
        run_seeds(20, tmp_path)
