"""Time sharing as production has it: whoever got much more gives way, guarded, at little cost; nobody takes turns."""

from dataclasses import dataclass, replace

import pytest
from godwit.domain.ids import JobId, ProjectId
from godwit.domain.jobs import Job, JobState
from godwit.domain.projects import Limit, Project
from godwit.scheduler import planner
from godwit.scheduler.averages import Average
from godwit.scheduler.bounds import Bounds
from godwit.scheduler.giving_way import GivesWay, Preemption
from godwit.scheduler.plan import Action, Plan, Preempt
from godwit.scheduler.preemption import CALM_S
from godwit.scheduler.quotas import GPUS
from godwit.scheduler.snapshot import Policy, Snapshot
from godwit.scheduler.time_sharing import GAP, LOST_MAX_S, PATIENCE, LeastServed
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scheduler.fleets import NOW, attempt, job, node, world
from tests.scheduler.rounds import Rounds

HOUR = 3_600.0
SHARING = Preemption(min_run_s=300.0, time_sharing=True)
A, B = ProjectId("a"), ProjectId("b")


def policy(preemption: Preemption = SHARING, nodes: int = 1) -> Policy:
    return Policy(missed_after_s=1e9, bounds=Bounds(max_nodes=nodes), preemption=preemption)


def of(project: ProjectId, name: str, **fields: object) -> Job:
    return replace(job(name, priority=int(str(fields.pop("priority", 0)))), project=project, **fields)  # type: ignore[arg-type]


def met(
    old: Job,
    new: Job,
    *,
    ran_s: float = 10 * HOUR,
    saved_s: float = 10.0,
    preemption: Preemption = SHARING,
    **more: object,
) -> Snapshot:
    """`old` runs on the only node for so long and saved so long ago, and `new` waits."""
    old = replace(old, state=JobState.RUNNING, epoch=1)
    there = node("n1", idle_since=None)
    mine = replace(attempt(old, there), created_at=NOW - ran_s)
    given: dict[str, object] = {"saved_at": {old.id: NOW - saved_s}, "policy": policy(preemption)} | more
    return world(jobs=[old, new], nodes=[there], attempts=[mine], **given)


def stopped(snapshot: Snapshot) -> list[str]:
    return [one.job_id for one in planner.plan(snapshot, NOW, 1).actions if isinstance(one, Preempt)]


def test_whoever_got_much_more_gives_way_to_its_equal_right_after_it_saved() -> None:
    snapshot = met(of(A, "old"), of(A, "new"))
    assert stopped(snapshot) == ["old"]
    (told,) = (one for one in planner.plan(snapshot, NOW, 1).actions if isinstance(one, Preempt))
    assert told.reason.startswith("gives way to job new: it got 0.0 GPU-hours so far, this one 80.0; 80 GPU-seconds")


@pytest.mark.parametrize("by", GivesWay)
def test_nobody_shares_time_that_was_not_told_to(by: GivesWay) -> None:
    assert stopped(met(of(A, "old"), of(A, "new"), preemption=Preemption(by))) == []


@pytest.mark.parametrize(
    ("by", "is_shared"), [(GivesWay.QUOTA, True), (GivesWay.PRIORITY, True), (GivesWay.OFF, False)]
)
def test_time_is_shared_under_every_policy_that_lets_somebody_give_way(by: GivesWay, is_shared: bool) -> None:
    found = stopped(met(of(A, "old"), of(A, "new"), preemption=Preemption(by, time_sharing=True)))
    assert bool(found) == is_shared


def test_a_job_that_did_not_save_lately_is_left_alone_and_looked_at_again() -> None:
    late = met(of(A, "old"), of(A, "new"), saved_s=LOST_MAX_S)
    assert stopped(late) == []
    plan = planner.plan(late, NOW, 1)
    assert plan.wake_at is not None
    assert plan.wake_at <= NOW + 300.0


def test_who_got_little_more_goes_on() -> None:
    waits = {JobId("new"): 40 * HOUR}
    assert stopped(met(of(A, "old"), of(A, "new"), served_gpu_s=waits)) == []


def test_what_was_got_before_counts_for_who_runs_too() -> None:
    before = {JobId("old"): 80 * HOUR}
    assert stopped(met(of(A, "old"), of(A, "new"), ran_s=400.0)) == []
    assert stopped(met(of(A, "old"), of(A, "new"), ran_s=400.0, served_gpu_s=before)) == ["old"]


def test_a_start_gets_its_time_whatever_the_job_got_before() -> None:
    before = {JobId("old"): 80 * HOUR}
    assert stopped(met(of(A, "old"), of(A, "new"), ran_s=299.0, served_gpu_s=before)) == []


def test_a_higher_priority_is_not_passed_and_a_lower_one_gives_way_at_any_cost() -> None:
    assert stopped(met(of(A, "old", priority=1), of(A, "new"))) == []
    assert stopped(met(of(A, "old"), of(A, "new", priority=1), saved_s=9 * HOUR)) == ["old"]


def test_a_project_that_held_more_does_not_pass_one_that_held_less() -> None:
    assert stopped(met(of(A, "old"), of(B, "new"))) == ["old"], "who holds nothing passes who holds the fleet"
    used = {B: Average(NOW, {GPUS: 16_000.0})}
    assert stopped(met(of(A, "old"), of(B, "new"), usage=used)) == []
    assert stopped(met(of(B, "old"), of(B, "new"), usage=used)) == ["old"], "its own are passed all the same"


def test_what_is_a_projects_own_does_not_give_way_to_what_another_borrows() -> None:
    limits = {A: 8, B: 0}
    projects = [Project(name, {"any": Limit(own)}, "research") for name, own in limits.items()]
    lender = Project(ProjectId("c"), {"any": Limit(8)}, "research")
    assert stopped(met(of(A, "old"), of(B, "new"), projects=[*projects, lender])) == []


def test_who_was_interrupted_goes_before_who_never_ran_and_who_gave_way_after() -> None:
    again = replace(of(A, "again"), state=JobState.RECOVERING, epoch=1)
    served = {again.id: 80 * HOUR}
    first = Rounds(world(jobs=[again, of(A, "new")], nodes=[node("n1")], served_gpu_s=served, policy=policy()), NOW)
    first.rest()
    assert first.started == {"again": 1}
    gave_way = {again.id: NOW - 60}
    other = Rounds(replace(first.snapshot, jobs=(again, of(A, "new")), attempts=(), yielded_at=gave_way), NOW)
    other.rest()
    assert other.started == {"new": 1}


@dataclass
class Watched(Rounds):
    """Every stop is checked when it is told."""

    stops: int = 0

    def _apply(self, action: Action) -> None:
        if isinstance(action, Preempt):
            self._check(action)
        super()._apply(action)

    def _check(self, told: Preempt) -> None:
        self.stops += 1
        snapshot, order = self.snapshot, LeastServed()
        mine = snapshot.attempt_by_job[told.job_id]
        other = snapshot.job_by_id[told.to]
        assert self.now - mine.created_at >= SHARING.min_run_s, "a start gets its time"
        gave_way = snapshot.yielded_at.get(other.id)
        assert gave_way is None or self.now - gave_way >= CALM_S, "one stop led to the next"
        gpus = sum(len(slot.gpus) for slot in mine.slots)
        got = snapshot.served_gpu_s.get(mine.job_id, 0.0) + gpus * (self.now - mine.created_at)
        its = snapshot.served_gpu_s.get(other.id, 0.0)
        waited = gave_way is not None and self.now - gave_way > PATIENCE * its / max(1, other.spec.resources.gpus.count)
        assert order.level(got) >= (0 if waited else order.level(its)) + GAP, "they take turns"

    def rest(self) -> Plan:
        before = {one.id: one for one in self.snapshot.attempts}
        plan = super().rest()
        gone = [one for job_id, one in before.items() if job_id not in {a.id for a in self.snapshot.attempts}]
        assert not gone or self.started, "whoever stops stops for somebody"
        return plan


@st.composite
def fleets(draw: st.DrawFn, fewest: int = 1, projects: tuple[ProjectId, ...] = (A, B)) -> Snapshot:
    """One or two nodes, none to be bought, and up to five jobs of one priority that never end."""
    count = draw(st.integers(1, 2))
    jobs = [
        replace(
            job(
                f"j{i}",
                gpus=draw(st.sampled_from([n for n in (1, 2, 4, 8) if n >= fewest])),
                nodes_max=1,
                created_at=NOW - i,
            ),
            project=draw(st.sampled_from(projects)),
        )
        for i in range(draw(st.integers(1, 5)))
    ]
    return world(jobs=jobs, nodes=[node(f"n{i}") for i in range(count)], policy=policy(nodes=count))


STEPS = st.lists(st.tuples(st.sampled_from([60.0, 400.0, 1_800.0, 5 * HOUR]), st.booleans()), min_size=5, max_size=15)


@settings(max_examples=40, deadline=None)
@given(fleets(), STEPS)
def test_whatever_happens_stops_are_guarded_and_nobody_takes_turns(
    snapshot: Snapshot, steps: list[tuple[float, bool]]
) -> None:
    one = Watched(snapshot, NOW)
    for seconds, saves in steps:
        one.rest()
        one.pass_s(seconds)
        for each in one.snapshot.attempts if saves else ():
            one.save(each.job_id)
    one.rest()


# Eight GPUs for the sake of one cost more than may be lost, whatever is saved.
@settings(max_examples=10, deadline=None)
@given(fleets(fewest=2, projects=(A,)))
def test_everybody_of_a_project_who_saves_gets_its_turn_and_stops_stay_rare(snapshot: Snapshot) -> None:
    one = Watched(snapshot, NOW)
    for _ in range(36):
        one.rest()
        one.pass_s(600.0)
        for each in one.snapshot.attempts:
            one.save(each.job_id)
    assert set(one.started) == {each.id for each in snapshot.jobs}
    # From one stop of a job to the next all that it got at least doubles, or it waited for twice that.
    assert one.stops <= 8 * len(snapshot.jobs)


def test_a_gang_does_not_stop_for_one_that_gains_too_little_by_it() -> None:
    assert stopped(met(of(A, "old"), replace(job("new", gpus=1), project=A), saved_s=0.0)) == []
    assert stopped(met(of(A, "old"), replace(job("new", gpus=2), project=A), saved_s=0.0)) == ["old"]
