"""Giving way in a running fleet: what is told to whom, and what an elastic job is left goes on being its own."""

from dataclasses import replace

from godwit.domain.elasticity import Bends
from godwit.domain.ids import JobId
from godwit.domain.jobs import AttemptState, JobState
from godwit.scheduler import planner
from godwit.scheduler.plan import Preempt, ReserveNode, ShrinkAttempt, StartAttempt
from godwit.scheduler.snapshot import Snapshot

from tests.scheduler.fleets import NOW, attempt, job, node, world

LATER = NOW + 3_600.0


def snapshot() -> Snapshot:
    """An elastic job on three nodes, and an urgent one that waits for two."""
    nodes = [node(f"n{number}", last_seen_at=LATER, lease_until=LATER + 15, idle_since=None) for number in range(3)]
    elastic = job("elastic", nodes_min=1, nodes_max=3, state=JobState.RUNNING, epoch=1)
    urgent = job("urgent", nodes=2, priority=100)
    return world(nodes=nodes, jobs=[elastic, urgent], attempts=[attempt(elastic, *nodes)])


def test_an_elastic_job_is_told_to_shrink_and_keeps_what_it_is_left() -> None:
    plan = planner.plan(snapshot(), LATER, 0)
    (told,) = [action for action in plan.actions if isinstance(action, Preempt)]
    assert (told.job_id, told.to) == ("elastic", "urgent")
    assert "goes on with 1 of its nodes" in told.reason
    kept = {action.node_id: action.job_id for action in plan.actions if isinstance(action, ReserveNode)}
    assert sorted(map(str, kept.values())) == ["elastic", "urgent", "urgent"]


def test_while_it_stops_what_it_is_left_stays_its_own_and_then_both_start() -> None:
    before = snapshot()
    reserved = {a.node_id: a.job_id for a in planner.plan(before, LATER, 0).actions if isinstance(a, ReserveNode)}
    nodes = tuple(replace(one, reserved_for=reserved[one.id]) for one in before.nodes)
    stopping = replace(before.attempts[0], state=AttemptState.STOPPING, yields_to=JobId("urgent"))
    plan = planner.plan(replace(before, nodes=nodes, attempts=(stopping,)), LATER, 0)
    assert [action for action in plan.actions if isinstance(action, ReserveNode | Preempt | StartAttempt)] == []
    jobs = tuple(replace(each, state=JobState.QUEUED) for each in before.jobs)
    stopped = replace(before, nodes=nodes, jobs=jobs, attempts=(), yielded_at={JobId("elastic"): LATER})
    starts = [action for action in planner.plan(stopped, LATER, 0).actions if isinstance(action, StartAttempt)]
    assert {start.job_id: len(start.slots) for start in starts} == {"urgent": 2, "elastic": 1}


def test_one_that_bends_in_place_and_keeps_its_head_gives_its_nodes_without_a_stop() -> None:
    before = snapshot()
    elastic, urgent = before.jobs
    elastic = replace(elastic, spec=replace(elastic.spec, elastic=Bends.IN_PLACE))
    plans = {}
    for first in range(3):
        order = before.nodes[first:] + before.nodes[:first]
        bends = replace(before, jobs=(elastic, urgent), attempts=(attempt(elastic, *order),))
        plans[order[0].id] = planner.plan(bends, LATER, 0).actions
    shrinks = {head: one for head, actions in plans.items() for one in actions if isinstance(one, ShrinkAttempt)}
    (head,) = shrinks  # which node it is left is the cheapest choice; with its head there, it goes on
    assert (len(shrinks[head].node_ids), shrinks[head].to) == (2, "urgent")
    assert head not in shrinks[head].node_ids
    kept = {action.node_id: action.job_id for action in plans[head] if isinstance(action, ReserveNode)}
    assert kept == dict.fromkeys(shrinks[head].node_ids, "urgent")
    assert not any(isinstance(action, Preempt) for action in plans[head])
