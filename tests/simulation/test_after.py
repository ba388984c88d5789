"""Jobs in a chain while everything goes wrong: none runs before the one before it has ended, and all come to an end."""

from itertools import pairwise
from pathlib import Path

import pytest
from godwit.control_plane.services.archives import Shelf
from godwit.control_plane.store import dependencies as stored
from godwit.control_plane.store import queries
from godwit.control_plane.store.database import Database
from godwit.domain import lifecycle
from godwit.domain.wire.specs import AfterSpec, JobSpecIn
from godwit.scheduler import dependencies
from sqlalchemy import true

from tests import databases
from tests.simulation import world
from tests.simulation.invariants import Violation, runs


class ChainedWorld(world.World):
    """A world in which each job waits for the end of the one that was submitted before it."""

    def __init__(self, seed: int, database: Database, shelf: Shelf) -> None:
        super().__init__(seed, database, shelf)
        self.database = database
        self.waited = 0

    def _make_jobs(self) -> list[tuple[float, JobSpecIn]]:
        free = sorted(super()._make_jobs(), key=lambda job: job[0])
        self.before = {later.name: sooner.name for (_, sooner), (_, later) in pairwise(free)}
        return [(at, self._chained(spec)) for at, spec in free]

    def _chained(self, spec: JobSpecIn) -> JobSpecIn:
        before = self.before.get(spec.name)
        after = [] if before is None else [AfterSpec(job=before, when="ended")]
        return spec.model_copy(update={"after": after})

    def second(self) -> None:
        """One second, then a look at what runs and what it should have waited for."""
        super().second()
        with self.database.read() as conn:
            for _, command in runs(self.machines.by_id.values()):
                before = self.before.get(command.job_name)
                if before is not None:
                    self.waited += 1
                    state = queries.job(conn, before).state
                    if not lifecycle.is_final(state):
                        raise Violation(f"{command.job_name} runs while {before} is {state}")


def run_seeds(count: int, folder: Path) -> int:
    """Several worlds, one after the other; how often a job ran that had to wait for another."""
    waited = 0
    for seed in range(count):
        database = databases.in_memory()
        chained = ChainedWorld(seed, database, Shelf(folder / str(seed)))
        try:
            chained.run()
        finally:
            database.close()
        waited += chained.waited
    return waited


def test_no_fault_starts_a_job_before_what_comes_first_has_ended(tmp_path: Path) -> None:
    assert run_seeds(6, tmp_path), "some job waited for another and ran"


def test_serving_those_that_wait_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The simulation can fail: without the rule it sees a job that ran too soon."""
    monkeypatch.setattr(stored, "unblocked", true)
    # The statement that has the rule in it is built once.
    monkeypatch.setattr(queries, "_jobs_to_plan", queries._jobs_to_plan.__wrapped__)
    monkeypatch.setattr(dependencies, "why_waiting", lambda _job, _standings: ())
    with pytest.raises(Violation, match="runs while"):
        run_seeds(6, tmp_path)
