"""Jobs that are moved while everything goes wrong, killed at each step: they run once, none is lost, all end."""

import os
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from godwit.control_plane.services import migrations
from godwit.control_plane.services.archives import Shelf
from godwit.control_plane.store import moves, queries
from godwit.domain import lifecycle
from godwit.domain.errors import Conflict, StaleWrite
from godwit.domain.ids import JobId, NodeId
from godwit.domain.jobs import Attempt, Job, Slot
from godwit.domain.migrations import MigrationState
from godwit.domain.wire.migrations import MigrationRequest
from godwit.domain.wire.specs import JobSpecIn
from godwit.scheduler import repair
from godwit.scheduler.snapshot import Snapshot

from tests import databases
from tests.simulation.harsh import HarshWorld
from tests.simulation.invariants import Violation

SEEDS = min(100, int(os.environ.get("GODWIT_SIMULATION_SEEDS", "3")))


class MovingWorld(HarshWorld):
    """A world whose users move jobs to and fro, and change their minds; and in which moves are hit at each step."""

    def _make_jobs(self) -> list[tuple[float, JobSpecIn]]:
        submissions = super()._make_jobs()
        for program in self.programs.values():
            program.steps += 30  # long enough to be moved, and to be hit meanwhile
        return submissions

    def _users(self) -> None:
        super()._users()
        for name in sorted(self.programs):
            if self.rng.random() < 0.15 and not any(name == spec.name for _, spec in self._submissions):
                self._wish(name)

    def _wish(self, name: str) -> None:
        request = MigrationRequest(to=self.rng.choice(["cheap", "dear", None]))
        with suppress(Conflict, StaleWrite):  # it does not run now, or it moves already
            migrations.wish(self.context, name, request, "user")
        if self.rng.random() < 0.1:
            with suppress(Conflict, StaleWrite):
                migrations.cancel(self.context, name, "user")

    def _break_something(self) -> None:
        super()._break_something()
        if self.rng.random() < 0.05:
            self._hit_a_move()

    def _hit_a_move(self) -> None:
        """A node that a move goes to, or that it leaves, loses its power: whatever step it is at."""
        with self.database.read() as conn:
            under_way = [m for m in moves.seen(conn, self.clock.now()) if not lifecycle.is_final(m.state)]
            live = {attempt.job_id: attempt for attempt in queries.live_attempts(conn)}
            nodes = queries.nodes(conn)
        if not under_way:
            return
        migration = self.rng.choice(under_way)
        there = [node.id for node in nodes if node.reserved_for == migration.job_id]
        here = [slot.node_id for slot in live[migration.job_id].slots] if migration.job_id in live else []
        victims = [m for m in self.machines.by_id.values() if m.powered and m.node_id in {*there, *here}]
        if victims:
            victim = self.rng.choice(victims)
            self.seen[f"hit while {migration.state}"] += 1
            self._tell(f"{victim.id} loses its power while {migration.job_id} is {migration.state}")
            next(c for c in self.clouds if victim.id in c.cloud.live()).cloud.lose(victim.id)

    def run(self) -> None:
        """Run to quiet; then no migration is left under way, and none is done whose job did not go on."""
        super().run()
        with self.database.read() as conn:
            for name in sorted(self.programs):
                job = queries.job(conn, name)
                for migration in moves.of_job(conn, job.id):
                    self.seen[migration.state] += 1
                    check(migration.state, migration.from_epoch, job, queries.attempts_of(conn, job.id))


def check(state: MigrationState, from_epoch: int, job: Job, attempts: list[Attempt]) -> None:
    """A migration is over, and one that is done led to another attempt. Raises `Violation`."""
    if not lifecycle.is_final(state):
        raise Violation(f"a migration of {job.spec.name} is {state} for ever")
    if state is MigrationState.DONE and not any(attempt.epoch == from_epoch + 1 for attempt in attempts):
        raise Violation(f"a migration of {job.spec.name} is done, and it never ran elsewhere")


def run_seed(seed: int, folder: Path) -> MovingWorld:
    """One world, from its seed to quiet."""
    database = databases.in_memory()
    moving = MovingWorld(seed, database, Shelf(folder), frozenset())
    try:
        moving.run()
    finally:
        database.close()
    return moving


def run_seeds(count: int, folder: Path) -> None:
    """Several worlds, one after the other."""
    for seed in range(count):
        run_seed(seed, folder / str(seed))


def test_no_fault_at_any_step_of_a_move_runs_a_job_twice_or_loses_it(tmp_path: Path) -> None:
    seen = Counter[str]()
    for seed in range(SEEDS):
        try:
            seen += run_seed(seed, tmp_path / str(seed)).seen
        except Violation as violation:
            pytest.fail(f"seed {seed}: {violation}")
    many = {"cancelled", "hit while preparing", "hit while switching"} if SEEDS > 20 else set()
    assert {"done", "failed"} | many <= set(seen), "every end was seen, and moves were hit on the way"


def test_starting_there_before_it_is_certain_that_nothing_runs_here_is_noticed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The simulation can fail: without the proof of a release it sees a double run."""
    careful = repair.is_safe

    def careless(slot: Slot, snapshot: Snapshot, now: float) -> str | None:
        moving = {JobId(m.job_id) for m in snapshot.migrations if m.state is MigrationState.SWITCHING}
        of = {NodeId(s.node_id) for a in snapshot.attempts if a.job_id in moving for s in a.slots}
        return "it was told to stop" if slot.node_id in of else careful(slot, snapshot, now)

    monkeypatch.setattr(repair, "is_safe", careless)
    with pytest.raises(Violation, match="double run"):
        run_seeds(20, tmp_path)
