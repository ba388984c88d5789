"""Replicas that have to leave their nodes: asked first, by when, and told to stop when that is over."""

from dataclasses import replace

import pytest
from godwit.domain.jobs import Attempt, Job, JobKind, JobState, Outcome
from godwit.domain.nodes import Node, NodeState
from godwit.domain.services import ReplicaState
from godwit.scheduler import departures, planner
from godwit.scheduler.departures import Departure
from godwit.scheduler.plan import AskToLeave, EndAttempt, Plan, Preempt
from godwit.scheduler.serving import steps
from godwit.scheduler.serving.actions import MoveReplica
from godwit.scheduler.snapshot import Snapshot

from tests.scheduler.fleets import NOW, attempt, job, node, world
from tests.scheduler.serving.test_steps import World


def replica() -> Job:
    of = job("chat-0", gpus=8, state=JobState.RUNNING)
    return replace(of, spec=replace(of.spec, kind=JobKind.SERVICE), epoch=1)


def ends(plan: Plan) -> list[EndAttempt]:
    return [one for one in plan.actions if isinstance(one, EndAttempt)]


def on(machine: Node, *, at: float = NOW, **fields: object) -> tuple[Snapshot, Attempt]:
    """A replica on a machine which is heard at `at`."""
    of = replica()
    there = replace(attempt(of, machine), **fields)  # type: ignore[arg-type]
    heard = replace(machine, last_seen_at=at - 0.5, lease_until=at + 14.5)
    return world(jobs=[of], attempts=[there], nodes=[heard]), there


@pytest.mark.parametrize(
    ("machine", "by"),
    [
        (node("n", state=NodeState.READY), None),
        (node("n", state=NodeState.CORDONED), None),
        (node("n", state=NodeState.DRAINING, state_since=NOW), NOW + 590.0),
        (node("n", state=NodeState.DRAINING, state_since=NOW, leaves_at=NOW + 120), NOW + 110.0),
    ],
)
def test_a_replica_has_as_long_as_its_node(machine: Node, by: float | None) -> None:
    _, there = on(machine)
    found = departures.of(there, {machine.id: machine})
    assert (None if found is None else found.by) == by


def test_the_sooner_of_two_reasons_counts() -> None:
    machine = node("n", state=NodeState.DRAINING, state_since=NOW, leaves_at=NOW + 120)
    _, there = on(machine, leaves_by=NOW + 60.0, detail="gives way")
    assert departures.of(there, {machine.id: machine}) == Departure("gives way", NOW + 60.0)


def test_who_serves_on_a_node_that_leaves_is_told_to_stop_at_the_last_moment_only() -> None:
    machine = node("n", state=NodeState.DRAINING, state_since=NOW, leaves_at=NOW + 120)
    before, _ = on(machine, at=NOW + 109)
    assert ends(planner.plan(before, NOW + 109, 1)) == []
    after, _ = on(machine, at=NOW + 110)
    (end,) = ends(planner.plan(after, NOW + 110, 1))
    assert end.outcome is Outcome.EVICTED
    assert 0 < (end.grace_s or 0) < 10


def test_the_planner_looks_again_when_the_time_to_leave_is_over() -> None:
    snapshot, _ = on(node("n"), leaves_by=NOW + 2.0, detail="gives way")
    assert planner.plan(snapshot, NOW, 1).wake_at == NOW + 2.0
    (end,) = ends(planner.plan(snapshot, NOW + 2.0, 1))
    assert (end.outcome, end.reason) == (Outcome.EVICTED, "its time to leave is over: gives way")


def test_a_replica_of_lower_priority_is_asked_to_leave_and_a_job_is_told() -> None:
    machine = node("n")
    urgent = job("urgent", priority=100)
    for kind, expected in ((JobKind.SERVICE, AskToLeave), (JobKind.TRAIN, Preempt)):
        of = replica()
        of = replace(of, spec=replace(of.spec, kind=kind))
        runs = attempt(of, machine, created_at=NOW - 900, state_since=NOW - 900)
        plan = planner.plan(world(jobs=[of, urgent], attempts=[runs], nodes=[machine]), NOW, 1)
        (told,) = [one for one in plan.actions if isinstance(one, AskToLeave | Preempt)]
        assert type(told) is expected
        assert told.to == urgent.id
    again = replace(runs, leaves_by=NOW + 120, yields_to=urgent.id)
    kept = replace(machine, reserved_for=urgent.id)
    plan = planner.plan(world(jobs=[replica(), urgent], attempts=[again], nodes=[kept]), NOW + 1, 1)
    assert not [one for one in plan.actions if isinstance(one, AskToLeave | Preempt)], "it is asked once"
    assert plan.refusals[urgent.id][0].code == "yielding"


def test_a_replica_drains_in_time_but_the_last_one_serves_until_it_is_told_to_stop() -> None:
    service = World(2)
    service.run(3)
    first, second = sorted(service.replicas)
    service.now = 1_000.0
    service.replicas = {name: replace(one, moves_to="") for name, one in service.replicas.items()}
    gone = {one.id: Departure("its machine is taken back", 1_010.0) for one in service.replicas.values()}

    def drained(at: float) -> list[str]:
        view = replace(service.view(), leaving=gone)
        moves = [one for one in steps.decide(view, at) if isinstance(one, MoveReplica)]
        return [one.replica_id for one in moves if one.to is ReplicaState.DRAINING]

    assert drained(1_006.9) == [], "others start, and nobody has to go yet"
    assert steps.wake_at(replace(service.view(), leaving=gone), 1_006.0) == 1_007.0
    assert drained(1_007.0) == [second], "three seconds to drain are left"
    del gone[service.replicas[first].id]
    assert drained(1_007.0) == [second]


def test_only_replicas_that_run_are_asked_first() -> None:
    of = job("train", state=JobState.RUNNING, epoch=1)
    assert not departures.asks_first(of, attempt(of, node("n")))
    assert departures.asks_first(replica(), attempt(replica(), node("n")))
    stopping = replace(attempt(replica(), node("n")), outcome=Outcome.CANCELLED)
    assert not departures.asks_first(replica(), stopping)
