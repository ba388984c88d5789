"""Nodes that come to a running attempt and leave it: by a wish, by a loss, once and not twice, and accounted for."""

from dataclasses import replace
from typing import Any

import pytest
from godwit.control_plane.services import agents, ledger, sizes
from godwit.control_plane.store import usage
from godwit.domain.elasticity import Pace
from godwit.domain.errors import Conflict, InvalidRequest
from godwit.domain.intents import IntentKind
from godwit.domain.wire import agents as wire
from godwit.scheduler.bounds import Bounds
from godwit.scheduler.giving_way import GivesWay, Preemption

from tests.control_plane.apis import client_of
from tests.control_plane.world import Agent, World


def bent(world: World, nodes: str = "1..3", elastic: str = "in-place", **more: Any) -> tuple[str, list[Agent]]:
    """An elastic job that runs on the fewest nodes it takes."""
    return world.run(resources={"nodes": nodes}, elastic=elastic, **more)


def want(world: World, job_id: str, nodes: int | None) -> None:
    sizes.want(world.context, job_id, nodes, "token t")
    world.plan()


def grown(world: World, nodes: int = 2) -> tuple[str, list[Agent]]:
    """The same, grown to so many nodes."""
    job_id, gang = bent(world)
    want(world, job_id, nodes)
    joiners = world.boot()
    for agent in joiners:
        agent.take_on()
    assert world.job(job_id).state == "running"
    return job_id, [*gang, *joiners]


def test_a_wish_buys_a_node_that_joins_the_attempt_while_it_runs(world: World) -> None:
    job_id, (head,) = bent(world)
    want(world, job_id, 2)
    assert world.job(job_id).state == "running", "it runs on while its node boots"
    (joiner,) = world.boot()
    assert (world.job(job_id).state, world.attempt(job_id).state) == ("resizing", "running")
    (start,) = joiner.take_on()
    assert (start.epoch, start.rank, start.joins, start.bends) == (1, 1, True, True)
    assert [peer.rank for peer in start.peers] == [0, 1]
    assert start.env["GODWIT_NODES_MAX"] == "3"
    assert head.commands() == [], "the others are told nothing"
    assert world.job(job_id).state == "running"
    assert [slot.joining for slot in world.attempt(job_id).slots] == [False, False]
    world.plan()
    assert len(world.nodes()) == 2


def test_a_smaller_wish_gives_back_the_last_node_and_the_attempt_goes_on(world: World) -> None:
    job_id, (_, last) = grown(world)
    want(world, job_id, 1)
    assert world.job(job_id).state == "resizing"
    (stop,) = last.take_on()
    assert stop.type == "stop-attempt"
    attempt = world.attempt(job_id)
    assert ([slot.rank for slot in attempt.slots], [slot.rank for slot in attempt.left]) == ([0], [1])
    assert (world.job(job_id).state, world.job(job_id).interruptions) == ("running", 0)
    assert world.node(last.node_id).idle_since is not None
    beat = wire.LiveAttempt(attempt_id=attempt.id, epoch=1)
    last.live = [beat]
    assert last.beat().fenced == [attempt.id], "it has no part in it any more, whatever it believes"


def test_a_node_whose_ray_died_leaves_and_the_attempt_goes_on(world: World) -> None:
    job_id, (_, last) = grown(world)
    attempt = world.attempt(job_id)
    end = last.stopped(attempt.id, 1, "interrupted", detail="Ray on this node ended", ray_ended=True)
    last.beat(end)
    after = world.attempt(job_id)
    assert (len(after.slots), len(after.left), world.job(job_id).state) == (1, 1, "running")
    last.beat(end)  # told twice, it happens once
    assert world.attempt(job_id) == after


def test_a_node_that_refuses_to_join_costs_the_job_nothing(world: World) -> None:
    job_id, _ = bent(world)
    want(world, job_id, 2)
    (joiner,) = world.boot()
    (start,) = joiner.commands()
    joiner.beat(joiner.observed(wire.CommandDone, intent_id=start.intent_id, accepted=False, detail="stale epoch"))
    assert (world.job(job_id).state, world.attempt(job_id).state) == ("running", "running")
    assert [slot.node_id for slot in world.attempt(job_id).left] == [joiner.node_id]


def test_a_lost_node_is_dropped_when_its_lease_is_over_and_replaced(world: World) -> None:
    policy = replace(world.context.policy, lease_s=5.0, lease_margin_s=1.0)
    world.context = replace(world.context, policy=policy)
    job_id, gang = world.run(nodes=2)  # a gang that does not bend, to compare with
    world.clock.advance(0.0)
    assert len(gang) == 2
    bending, (head, last) = grown(world)
    for _ in range(8):
        world.clock.advance(1.0)
        for agent in (*gang, head):
            agent.beat()
        world.plan()
    attempt = world.attempt(bending)
    assert (attempt.state, [slot.node_id for slot in attempt.slots]) == ("running", [head.node_id])
    assert [slot.node_id for slot in attempt.left] == [last.node_id]
    assert (world.job(bending).state, world.job(bending).interruptions) == ("running", 0)
    assert world.job(job_id).state == "running"


def test_a_plain_command_starts_again_with_the_node_that_was_bought_for_it(world: World) -> None:
    job_id, (head,) = bent(world, elastic="restart")
    want(world, job_id, 2)
    world.boot()
    assert (world.job(job_id).state, world.attempt(job_id).outcome) == ("resizing", "resized")
    head.take_on()
    world.plan()
    attempt = world.attempt(job_id)
    assert (attempt.epoch, len(attempt.slots), world.job(job_id).interruptions) == (2, 2, 0)
    assert {slot.node_id for slot in attempt.slots} == {node.id for node in world.nodes()}


def test_a_wish_outside_of_the_jobs_range_or_for_one_that_is_over_is_refused(world: World) -> None:
    job_id, _ = bent(world)
    with pytest.raises(InvalidRequest, match=r"4 is outside .* 1\.\.3"):
        sizes.want(world.context, job_id, 4, "token t")
    world.cancel(job_id)
    world.agents[0].take_on()
    world.plan()
    with pytest.raises(Conflict, match="submit it again"):
        sizes.want(world.context, job_id, 2, "token t")


def test_the_same_wish_again_changes_nothing_and_none_gives_it_back(world: World) -> None:
    job_id, _ = bent(world)
    want(world, job_id, 2)
    first = world.job(job_id)
    want(world, job_id, 2)
    assert world.job(job_id) == first
    want(world, job_id, None)
    assert [event.data["nodes"] for event in world.events("job.size-wanted")] == [2, None]
    assert all(node.reserved_for is None for node in world.nodes()), "what was bought is not kept for it any more"


def test_what_each_node_was_held_for_is_counted(world: World) -> None:
    job_id, (head, last) = grown(world)
    for _ in range(10):
        world.clock.advance(1.0)
        head.beat()
        last.beat()
    want(world, job_id, 1)
    last.take_on()
    world.clock.advance(1.0)
    head.beat()
    attempt = world.attempt(job_id)
    head.beat(head.stopped(attempt.id, 1, "succeeded"))
    world.plan()
    (left,) = attempt.left
    held_s = world.clock.now() - attempt.created_at + (left.until or 0.0) - (left.since or 0.0)
    with world.context.db.read() as conn:
        assert usage.served_gpu_s(conn, job_id) == pytest.approx(8 * held_s)
    told = ledger.of_job(world.context, job_id)
    assert told.gpu_seconds_by_reason["busy"] == pytest.approx(8 * held_s, rel=0.2)


def test_over_http_a_wish_is_put_and_explained(world: World) -> None:
    job_id, _ = bent(world)
    client = client_of(world)
    reply = client.put(f"/v1/jobs/{job_id}/size", json={"nodes": 2})
    assert (reply.status_code, reply.json()["nodes_wanted"]) == (200, 2)
    told = client.get(f"/v1/jobs/{job_id}/explain").json()["size"]
    assert (told["nodes"], told["target"], told["wanted"]) == (1, 2, 2)
    assert "its owner wants 2" in told["why"]
    assert client.put(f"/v1/jobs/{job_id}/size", json={"nodes": 9}).status_code == 422


def test_an_agent_that_forgot_its_part_loses_it_and_the_others_go_on(world: World) -> None:
    job_id, (_, last) = grown(world)
    last.live = []
    last.beat()
    assert (world.job(job_id).state, len(world.attempt(job_id).slots)) == ("running", 1)
    assert not [one for one in agents.commands(world.context, last.credential, set())[1] if one.type == "start-attempt"]
    stops = world.intents(IntentKind.STOP_ATTEMPT, last.node_id)
    assert all(stop.state != "pending" for stop in stops), "nothing is owed to it"


def test_a_more_urgent_job_gets_the_node_and_the_attempt_that_gave_it_goes_on(world: World) -> None:
    policy = replace(
        world.context.policy, bounds=Bounds(max_nodes=2), preemption=Preemption(GivesWay.PRIORITY, min_run_s=0.0)
    )
    world.context = replace(world.context, policy=policy)
    job_id, (head, last) = grown(world)
    want(world, job_id, None)
    world.clock.advance(1.0)
    for agent in (head, last):
        agent.beat()
    urgent = world.submit("urgent", priority="high")
    world.plan()
    attempt = world.attempt(job_id)
    assert (attempt.yields_to, world.job(job_id).state) == (urgent, "resizing")
    assert world.node(last.node_id).reserved_for == urgent
    last.take_on()
    assert (world.attempt(job_id).yields_to, world.job(job_id).state) == (None, "running")
    world.plan()
    assert [slot.node_id for slot in world.attempt(urgent).slots] == [last.node_id]
    assert world.job(job_id).interruptions == 0


def test_how_fast_it_was_at_its_size_is_kept_with_its_progress(world: World) -> None:
    job_id, (head,) = bent(world)
    for step in range(0, 50, 10):
        head.report_step(world.attempt(job_id), step)
        world.clock.advance(10)
    progress = world.job(job_id).progress
    assert progress is not None
    assert progress.paces == {1: Pace(40, 40.0)}, "from the first report of the attempt to its last"
