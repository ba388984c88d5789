"""Priorities and quotas while everything goes wrong: jobs give way, go on from their checkpoints, and all end well."""

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from godwit.control_plane.services import projects
from godwit.control_plane.services.archives import Shelf
from godwit.control_plane.store import queries
from godwit.control_plane.store.database import Database
from godwit.domain.events import Event
from godwit.domain.ids import JobId
from godwit.domain.jobs import Attempt
from godwit.domain.wire.projects import LimitIn, ProjectIn
from godwit.domain.wire.specs import JobSpecIn, ResourcesSpec, RetriesSpec
from godwit.scheduler.bounds import Bounds
from godwit.scheduler.giving_way import GivesWay, Preemption
from godwit.scheduler.quotas import Quotas

from tests import databases
from tests.simulation import world
from tests.simulation.crashing import Crash
from tests.simulation.invariants import Violation
from tests.simulation.programs import Program

SEEDS = min(30, int(os.environ.get("GODWIT_SIMULATION_SEEDS", "5")))
FOUND = (19,)
"""A seed that found something: an attempt succeeds before it hears that it is to give way, which is no violation."""

QUOTAS = {"vision": LimitIn(nominal=4, borrow=2), "speech": LimitIn(nominal=4)}
COHORT = 8
"""What both may hold together. The largest gang asks six: `vision` may borrow as much, `speech` all that there is."""

BUSY = replace(
    world.POLICY,
    bounds=Bounds(max_nodes=4),
    preemption=Preemption(GivesWay.PRIORITY, min_run_s=5.0),
)


class ProjectsWorld(world.World):
    """A world of two projects in a cohort, whose jobs differ in priority and want more than there may be."""

    def __init__(self, seed: int, database: Database, shelf: Shelf) -> None:
        self.database = database
        super().__init__(seed, database, shelf)
        for name, limit in QUOTAS.items():
            wanted = ProjectIn(limits={"H100": limit}, cohort="research")
            while True:
                try:
                    projects.put(self.context, name, wanted, "operator")
                except Crash:  # an operator whose request dies asks again
                    continue
                break

    def _make_jobs(self) -> list[tuple[float, JobSpecIn]]:
        jobs = [*super()._make_jobs(), *self._more_jobs()]
        return [(at, self._of_somebody(spec)) for at, spec in jobs]

    def _more_jobs(self) -> list[tuple[float, JobSpecIn]]:
        """As many again, later: what comes to an idle fleet makes nobody give way."""
        known = len(self.programs)
        names = [f"late{number}" for number in range(known)]
        later = []
        for name in names:
            self.programs[name] = Program(self.rng.randint(8, 40))
            resources = ResourcesSpec(gpus=f"H100:{self.rng.randint(1, 2)}", nodes=self.rng.randint(1, 2))
            spec = JobSpecIn(name=name, run="true", resources=resources, retries=RetriesSpec(max=1000))
            later.append((self.began + self.rng.uniform(20, 60), spec))
        return later

    def _of_somebody(self, spec: JobSpecIn) -> JobSpecIn:
        priority = self.rng.choice(["low", "normal", "high"])
        return spec.model_copy(update={"priority": priority, "project": self.rng.choice(sorted(QUOTAS))})

    def second(self) -> None:
        """One second, then the quotas, and that nobody met on a node."""
        super().second()
        with self.database.read() as conn:
            attempts = queries.live_attempts(conn)
            project_of = {a.job_id: queries.job(conn, a.job_id).project for a in attempts}
        held = Counter[str]()
        for attempt in attempts:
            held[project_of[attempt.job_id]] += sum(len(slot.gpus) for slot in attempt.slots if not slot.released)
        if held["vision"] > 6 or sum(held.values()) > COHORT:
            raise Violation(f"more is held than quotas allow: {dict(held)}")
        there = {(s.node_id, project_of[a.job_id]) for a in attempts for s in a.slots if not s.released}
        met = [node_id for node_id, count in Counter(node_id for node_id, _ in there).items() if count > 1]
        if met:
            raise Violation(f"projects that do not share nodes met on {met}")

    def story_of_preemptions(self) -> tuple[list[Event], list[Event], list[Attempt]]:
        """Who gave way, what was restored, and every attempt of those who gave way."""
        with self.database.read() as conn:
            events = queries.events(conn, 0, 100_000)
            told = [event for event in events if event.kind == "job.preempted"]
            restored = [event for event in events if event.kind == "job.restored"]
            attempts = [a for job_id in sorted({e.subject_id for e in told}) for a in queries.attempts_of(conn, job_id)]
        return told, restored, attempts


def check_preemptions(told: list[Event], restored: list[Event], attempts: list[Attempt]) -> None:
    """Each goes on from where it was saved, none counts twice, and who gave way makes nobody give way."""
    gave_way: dict[str, float] = {}
    for event in told:
        if event.data["to"] in gave_way:
            raise Violation(f"{event.data['to']} gave way, and then {event.subject_id} gave way to it")
        gave_way[event.subject_id] = event.at
    twice = [key for key, count in Counter((e.subject_id, e.data["epoch"]) for e in told).items() if count > 1]
    outcomes = {(a.job_id, a.epoch): a.outcome for a in attempts}
    preempted = {key for key, outcome in outcomes.items() if outcome == "preempted"}
    asked = {(JobId(e.subject_id), int(e.data["epoch"])) for e in told}
    if twice or preempted - asked:
        raise Violation(f"an attempt gave way twice, or untold: {twice}, {preempted - asked}")
    # One whose program ended well before it heard of that has succeeded.
    stayed = {key: outcomes[key] for key in asked - preempted if outcomes[key] != "succeeded"}
    if stayed:
        raise Violation(f"told to give way, and did not: {stayed}")
    for event in restored:
        if event.data["damaged"]:
            raise Violation(f"{event.subject_id} restored past a damaged checkpoint")


def test_jobs_give_way_under_faults_and_all_come_to_their_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(world, "POLICY", BUSY)
    gave_way, by_quota = 0, 0
    for seed in dict.fromkeys((*FOUND, *range(SEEDS))):
        database = databases.in_memory()
        one = ProjectsWorld(seed, database, Shelf(tmp_path / str(seed)))
        try:
            one.run()
            told, restored, attempts = one.story_of_preemptions()
            check_preemptions(told, restored, attempts)
            check_restored(one, attempts, restored)
        except Violation as violation:
            pytest.fail(f"seed {seed}: {violation}")
        finally:
            database.close()
        gave_way += len(told)
        by_quota += sum("borrowed" in event.reason for event in told)
    assert gave_way, "somebody gave way"
    assert by_quota or SEEDS < 10, "what was borrowed went back"


def test_an_open_gate_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The simulation can fail: with a gate that refuses nobody it sees a quota exceeded."""
    monkeypatch.setattr(world, "POLICY", BUSY)
    monkeypatch.setattr(Quotas, "refusal", lambda _self, _demand, _nodes: None)
    with pytest.raises(Violation, match="more is held than quotas allow"):
        run_all(10, tmp_path)


def run_all(count: int, folder: Path) -> None:
    """Several worlds, one after the other."""
    for seed in range(count):
        database = databases.in_memory()
        try:
            ProjectsWorld(seed, database, Shelf(folder / str(seed))).run()
        finally:
            database.close()


def check_restored(one: ProjectsWorld, attempts: list[Attempt], restored: list[Event]) -> None:
    """After an attempt that gave way, the next begins at the newest checkpoint that was committed before it."""
    began = {(e.subject_id, e.data["epoch"]): e.data["step"] for e in restored}
    for attempt in attempts:
        following = (attempt.job_id, attempt.epoch + 1)
        if attempt.outcome != "preempted" or following not in began:
            continue
        newest = one.checkpoints.newest(attempt.job_id, attempt.epoch + 1)
        if began[following] != (None if newest is None else newest[1]):
            raise Violation(f"{attempt.job_id} began again at {began[following]}, and had saved {newest}")
