"""Jobs that grow and shrink while everything goes wrong: no double run, no GPU given twice, no lost job."""

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from godwit.control_plane.services import sizes
from godwit.control_plane.services.archives import Shelf
from godwit.control_plane.store import queries
from godwit.control_plane.store.database import Database
from godwit.domain import lifecycle
from godwit.domain.errors import Conflict, NotFound
from godwit.domain.wire import agents as wire
from godwit.domain.wire.specs import JobSpecIn, ResourcesSpec, RetriesSpec
from godwit.scheduler.resizing.terms import Terms

from tests import databases
from tests.simulation import world
from tests.simulation.invariants import Violation, runs
from tests.simulation.programs import Program, Run

SEEDS = min(100, int(os.environ.get("GODWIT_SIMULATION_SEEDS", "5")))
QUICK = replace(
    world.POLICY,
    resizing=Terms(settle_s=10.0, lost_max_s=20.0, wait_for_save_s=30.0, restart_s=1.0, caution=1.0),
)
MOST = 3


class ElasticWorld(world.World):
    """A world of jobs that bend, in place or by a restart, whose owners change their minds, and planners theirs.

    A program that bends in place goes on from its last checkpoint when its nodes change, and now and then gives up.
    """

    def __init__(self, seed: int, database: Database, shelf: Shelf) -> None:
        self.database = database
        self.ranks: dict[str, set[int]] = {}
        self.gave_up: set[str] = set()
        self.seen = Counter[str]()
        super().__init__(seed, database, shelf)

    def _make_jobs(self) -> list[tuple[float, JobSpecIn]]:
        submissions = []
        for number in range(self.rng.randint(2, 3)):
            name, steps = f"job{number}", self.rng.randint(20, 50)
            fails = number > 0 and self.rng.random() < 0.2
            self.programs[name] = Program(steps, fails_at=self.rng.randint(2, steps) if fails else None)
            resources = ResourcesSpec(gpus="H100:1", nodes=f"{self.rng.randint(1, 2)}..{MOST}")
            elastic = "in-place" if number == 0 or self.rng.random() < 0.6 else "restart"
            spec = JobSpecIn(
                name=name, run="true", resources=resources, retries=RetriesSpec(max=1000), elastic=elastic
            )  # fmt: skip
            submissions.append((self.began + self.rng.uniform(0, 20), spec))
        return submissions

    def second(self) -> None:
        """One second, then owners who change their minds, then what this world promises besides."""
        super().second()
        if self.faulty:
            self._as_control_plane(self._wish)
        self._check_parts()

    def _wish(self) -> None:
        for name in self.programs:
            if self.rng.random() < 0.12:
                nodes = self.rng.choice([None, 2, MOST])
                try:
                    sizes.want(self.context, name, nodes, "owner")
                except (NotFound, Conflict):  # not yet, or over
                    continue
                self._tell(f"{name}: its owner wants {nodes}")

    def _check_parts(self) -> None:
        """One part of an attempt runs in one place only."""
        where = Counter((command.attempt_id, command.rank) for _, command in runs(self.machines.by_id.values()))
        twice = [part for part, count in where.items() if count > 1]
        if twice:
            raise Violation(f"parts of attempts run twice: {twice}")

    def _gang_is_whole(self, command: wire.StartAttempt) -> bool:
        head, ranks = self._run_of(command), self._ranks_alive(command)
        if not command.bends or head is None or not head.told_running:
            self.ranks[command.attempt_id] = ranks
            return super()._gang_is_whole(command)
        before = self.ranks[command.attempt_id]
        if ranks != before:
            self.ranks[command.attempt_id] = ranks
            self.seen["grew" if ranks > before else "shrank"] += 1
            self._tell(f"{command.job_name}: ranks {sorted(before)} become {sorted(ranks)}")
            found = self.checkpoints.newest(command.job_id, command.epoch + 1)
            head.step = 0 if found is None else found[1]
            if before - ranks and self.rng.random() < 0.1:
                self.gave_up.add(command.attempt_id)
        return command.attempt_id not in self.gave_up

    def _has_head(self, command: wire.StartAttempt) -> bool:
        has_head, mine = super()._has_head(command), self._run_of(command)
        if command.joins and has_head and mine is not None:
            mine.told_running = True
        return has_head

    def _run_of(self, command: wire.StartAttempt) -> Run | None:
        found = (
            run
            for machine in self.machines.by_id.values()
            for run in machine.runs.values()
            if run.alive and (run.command.attempt_id, run.command.rank) == (command.attempt_id, command.rank)
        )
        return next(found, None)

    def count(self) -> None:
        """What this run met."""
        with self.database.read() as conn:
            for name in self.programs:
                job = queries.job(conn, name)
                assert lifecycle.is_final(job.state)
                for attempt in queries.attempts_of(conn, job.id):
                    self.seen[str(attempt.outcome)] += 1
                    self.seen["left"] += len(attempt.left)


def run_seed(seed: int, folder: Path) -> Counter[str]:
    """One world, from its seed to quiet; returns what happened in it."""
    database = databases.in_memory()
    one = ElasticWorld(seed, database, Shelf(folder))
    try:
        one.run()
        one.count()
    finally:
        database.close()
    return one.seen


def test_whatever_grows_and_shrinks_no_fault_breaks_an_invariant(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(world, "POLICY", QUICK)
    seen = Counter[str]()
    for seed in range(SEEDS):
        try:
            seen += run_seed(seed, tmp_path / str(seed))
        except Violation as violation:
            pytest.fail(f"seed {seed}: {violation}")
    assert all(seen[what] for what in ("grew", "shrank", "left", "resized", "succeeded")), seen
