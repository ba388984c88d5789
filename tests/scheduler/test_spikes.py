"""A service that needs more replicas takes nodes from elastic training, which shrinks, and gets them back later."""

from dataclasses import replace

import pytest
from godwit.domain.elasticity import Bends
from godwit.domain.ids import JobId
from godwit.domain.jobs import Job, JobKind, JobState
from godwit.scheduler import planner
from godwit.scheduler.plan import Action, Preempt, ReserveNode, ShrinkAttempt
from godwit.scheduler.snapshot import Snapshot
from hypothesis import given
from hypothesis import strategies as st

from tests.scheduler.fleets import NOW, attempt, job, node, world
from tests.scheduler.rounds import Rounds

LATER = NOW + 3_600.0


def replica(name: str = "chat-1", **fields: object) -> Job:
    of = job(name, **fields)  # type: ignore[arg-type]
    return replace(of, spec=replace(of.spec, kind=JobKind.SERVICE))


def full(*waiting: Job, low: int = 1, high: int = 3, priority: int = 0) -> Snapshot:
    """A training job on all three nodes, which may have `low` to `high`."""
    nodes = [node(f"n{number}", last_seen_at=LATER, lease_until=LATER + 15, idle_since=None) for number in range(3)]
    training = job("training", nodes_min=low, nodes_max=high, state=JobState.RUNNING, epoch=1, priority=priority)
    return world(nodes=nodes, jobs=[training, *waiting], attempts=[attempt(training, *nodes)])


def told(snapshot: Snapshot) -> list[Action]:
    plan = planner.plan(snapshot, LATER, 1)
    return [one for one in plan.actions if isinstance(one, Preempt | ShrinkAttempt)]


def test_training_of_the_same_priority_shrinks_for_a_replica_and_for_nobody_else() -> None:
    assert told(full(job("other"))) == []
    (shrinks,) = told(full(replica()))
    assert isinstance(shrinks, Preempt)
    assert (shrinks.job_id, shrinks.to) == ("training", "chat-1")
    assert "it serves, and this one can do with fewer nodes" in shrinks.reason
    assert "goes on with 2 of its nodes" in shrinks.reason


def test_training_that_bends_in_place_does_not_even_stop() -> None:
    before = full(replica())
    training, chat = before.jobs
    bends = replace(training, spec=replace(training.spec, elastic=Bends.IN_PLACE))
    (shrinks,) = told(replace(before, jobs=(bends, chat)))
    assert isinstance(shrinks, ShrinkAttempt)
    assert (len(shrinks.node_ids), shrinks.to) == (1, "chat-1")


@pytest.mark.parametrize(
    ("snapshot", "why"),
    [
        (full(replica(), low=3), "it needs all its nodes"),
        (full(replica(), priority=50), "it is more urgent"),
        (full(replica(nodes=3)), "it would be left nothing"),
    ],
)
def test_nobody_is_ended_for_a_replica_that_is_not_more_urgent(snapshot: Snapshot, why: str) -> None:
    assert told(snapshot) == [], why


def test_a_more_urgent_replica_bends_training_before_it_ends_any() -> None:
    rigid = job("rigid", state=JobState.RUNNING, epoch=1)
    other = node("n9", last_seen_at=LATER, lease_until=LATER + 15, idle_since=None)
    before = full(replica(priority=100))
    both = replace(
        before,
        nodes=(*before.nodes, other),
        jobs=(*before.jobs, rigid),
        attempts=(*before.attempts, attempt(rigid, other, created_at=LATER - 400)),
    )
    (shrinks,) = told(both)
    assert getattr(shrinks, "job_id", None) == "training", "though the other one would lose less work"


def test_what_a_spike_took_is_given_back_when_it_is_over() -> None:
    rounds = Rounds(full(replica("chat-1"), replica("chat-2")), LATER)
    sizes = []
    for _ in range(10):
        rounds.rest()
        rounds.pass_s(60.0)
    sizes.append({one.job_id: len(one.slots) for one in rounds.snapshot.attempts})
    rounds.end("chat-1")
    rounds.end("chat-2")
    for _ in range(60):
        rounds.rest()
        rounds.save("training")
        rounds.pass_s(60.0)
    sizes.append({one.job_id: len(one.slots) for one in rounds.snapshot.attempts})
    assert sizes == [{"training": 1, "chat-1": 1, "chat-2": 1}, {"training": 3}]


@given(data=st.data(), machines=st.integers(2, 5), wanted=st.integers(1, 3))
def test_whatever_runs_only_what_bends_gives_way_and_keeps_its_fewest_nodes(
    data: st.DataObject, machines: int, wanted: int
) -> None:
    nodes = [node(f"n{n}", last_seen_at=LATER, lease_until=LATER + 15, idle_since=None) for n in range(machines)]
    free, jobs, attempts = list(nodes), [replica("chat-1", nodes=wanted)], []
    while free:
        size = data.draw(st.integers(1, len(free)))
        low = data.draw(st.integers(1, size))
        one = job(f"job{len(jobs)}", nodes_min=low, nodes_max=size, state=JobState.RUNNING, epoch=1)
        jobs.append(one)
        attempts.append(attempt(one, *free[:size]))
        free = free[size:]
    before = world(nodes=nodes, jobs=jobs, attempts=attempts)
    plan = planner.plan(before, LATER, 1)
    kept = [one.job_id for one in plan.actions if isinstance(one, ReserveNode)]
    stopped = [one.job_id for one in plan.actions if isinstance(one, Preempt)]
    assert all(kept.count(name) >= before.job_by_id[name].spec.resources.nodes_min for name in stopped)
    assert not stopped or kept.count(JobId("chat-1")) == wanted, "nobody shrinks in vain"
    spare = {one.id: one.spec.resources.nodes_max - one.spec.resources.nodes_min for one in jobs[1:]}
    assert not stopped or sum(spare.values()) >= wanted
    assert stopped or wanted > 1 or not sum(spare.values()), "what can be done without is taken, whoever has it"
