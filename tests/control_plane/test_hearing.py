"""Heartbeats in groups: the same as one by one for those that say nothing new, and left alone for all others."""

import asyncio
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest
from godwit.control_plane import credentials
from godwit.control_plane.credentials import LIFE_S, Claim
from godwit.control_plane.grouping import Crowded, Grouped, GroupFailed
from godwit.control_plane.services import agents, hearing, nodes
from godwit.control_plane.services.hearing import Beat, Placed
from godwit.control_plane.store import entities, queries, restored, writes
from godwit.control_plane.store.database import Transaction
from godwit.domain.jobs import Attempt, Progress
from godwit.domain.wire import agents as wire
from godwit.domain.wire.loads import GpuLoad, NodeLoad
from sqlalchemy import text

from tests.control_plane.world import Agent, World


def beat_of(world: World, agent: Agent, sent_at: float | None = None, **more: object) -> Beat:
    claim = credentials.read(world.context.keyring, agent.credential, world.clock.now())
    said = {"agent_id": agent.agent_id, "sent_at": world.clock.now() if sent_at is None else sent_at}
    return Beat(claim, wire.HeartbeatRequest.model_validate({**said, "attempts": agent.live, "renews": True} | more))


def step_of(agent: Agent, seq: int, step: int) -> dict[str, Any]:
    (live,) = agent.live
    return {
        "type": "job-progress", "seq": seq, "attempt_id": live.attempt_id, "epoch": live.epoch, "at": 1.0, "step": step,
    }  # fmt: skip


def in_group(world: World, *agents: Agent, placed: Placed | None = None) -> list[wire.HeartbeatReply | None]:
    return hearing.renew(world.context, placed or Placed(), [beat_of(world, agent) for agent in agents])


def test_a_group_renews_the_leases_of_all_who_say_nothing_new(world: World) -> None:
    _, gang = world.run(nodes=2)
    versions = [world.node(agent.node_id).version for agent in gang]
    world.clock.advance(2)
    replies = in_group(world, *gang)
    assert [reply.lease_s for reply in replies if reply is not None] == [15.0, 15.0]
    for agent, version in zip(gang, versions, strict=True):
        node = world.node(agent.node_id)
        assert (node.last_seen_at, node.lease_until) == (world.clock.now(), world.clock.now() + 15.0)
        assert node.version == version


def test_a_group_answers_what_one_by_one_would_be_answered(embedded: World) -> None:
    _, (agent,) = embedded.run()
    alone = agent.beat()
    embedded.clock.advance(1)
    assert in_group(embedded, agent) == [alone]


def test_who_has_something_to_say_or_another_attempt_is_left_to_be_answered_in_full(embedded: World) -> None:
    _, (agent,) = embedded.run()
    before = embedded.node(agent.node_id)
    embedded.clock.advance(1)
    runs = {"type": "attempt-running", "seq": 9, "attempt_id": "a", "epoch": 1}
    others = [
        beat_of(embedded, agent, observations=[runs]),
        beat_of(embedded, agent, observations=[step_of(agent, 8, 1), runs]),
        beat_of(embedded, agent, attempts=[]),
        beat_of(embedded, agent, attempts=[*agent.live, wire.LiveAttempt(attempt_id="attempt-nobody", epoch=1)]),
        beat_of(embedded, agent, sent_at=embedded.clock.now() - 30),
        beat_of(embedded, agent, agent_id="agent-0002"),
        Beat(Claim("node-nobody", "agent-0001", 0.0), beat_of(embedded, agent).request),
    ]
    assert hearing.renew(embedded.context, Placed(), others) == [None] * len(others)
    assert embedded.node(agent.node_id) == before


def test_steps_are_counted_once_in_a_group_as_they_are_one_by_one(world: World) -> None:
    job_id, (agent,) = world.run()
    agent.beat()
    beats = [beat_of(world, agent, observations=[step_of(agent, seq, step) for seq, step in said])
             for said in ([(11, 3), (12, 4)], [(12, 4), (13, 5)])]  # fmt: skip
    replies = hearing.renew(world.context, Placed(), beats)
    assert [reply.acknowledged_seq for reply in replies if reply is not None] == [13, 13]
    progress = world.job(job_id).progress
    assert progress is not None
    assert progress.step == 5
    assert [event.data["step"] for event in world.events("job.first-step")] == [3]
    (again,) = hearing.renew(world.context, Placed(), beats[:1])
    assert again is not None
    assert again.acknowledged_seq == 13
    assert world.job(job_id).progress == progress
    assert agent.beat().acknowledged_seq == 13


def test_a_step_that_cannot_be_counted_keeps_nobody_elses_from_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, (one,) = world.run()
    second, (other,) = world.run(name="other")
    before = world.node(one.node_id)
    world.clock.advance(1)
    beats = [beat_of(world, agent, observations=[step_of(agent, 11, 7)]) for agent in (one, other)]
    kept = writes.job_progress

    def failing(tx: Transaction, job_id: str, progress: Progress) -> None:
        kept(tx, job_id, progress)
        if job_id == first:
            tx.conn.execute(text("INSERT INTO nowhere VALUES (1)"))

    monkeypatch.setattr(writes, "job_progress", failing)
    refused, reply = hearing.renew(world.context, Placed(), beats)
    assert refused is None
    assert world.node(one.node_id) == before
    assert world.job(first).progress is None
    assert reply is not None
    progress = world.job(second).progress
    assert progress is not None
    assert progress.step == 7


def test_a_group_counts_steps_of_so_many_nodes_and_leaves_the_rest_to_their_route(
    embedded: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, gang = embedded.run(nodes=2)
    monkeypatch.setattr(hearing, "TELLING_MAX", 1)
    beats = [beat_of(embedded, agent, observations=[step_of(agent, 11, 1)]) for agent in gang]
    assert [reply is None for reply in hearing.renew(embedded.context, Placed(), beats)] == [False, True]


def test_a_lost_node_and_one_that_is_to_go_are_left_to_be_answered_in_full(embedded: World) -> None:
    _, (lost,) = embedded.run()
    embedded.clock.advance(5)
    embedded.plan()
    assert embedded.node(lost.node_id).state == "lost"
    assert in_group(embedded, lost) == [None]
    lost.beat()
    assert in_group(embedded, lost) != [None]


def test_a_cordoned_node_is_heard_in_a_group(embedded: World) -> None:
    _, (agent,) = embedded.run()
    nodes.cordon(embedded.context, agent.node_id, "token t")
    assert in_group(embedded, agent) != [None]


def test_what_was_placed_or_given_away_since_the_last_group_is_known(world: World) -> None:
    placed = Placed()
    first, (agent,) = world.run("first")
    assert in_group(world, agent, placed=placed) != [None]
    second, (other,) = world.run("second")
    assert in_group(world, agent, other, placed=placed) == [agent.beat(), other.beat()]
    world.cancel(first)
    agent.take_on()
    assert in_group(world, agent, other, placed=placed).count(None) == 0
    other.live = []
    assert in_group(world, other, placed=placed) == [None]
    assert world.job(second).state == "running"


def test_an_attempt_whose_gpus_were_given_away_is_not_renewed_in_a_group(embedded: World) -> None:
    """A fenced attempt must be told so; a group never says that all is well with it."""
    placed = Placed()
    job_id, (agent,) = embedded.run()
    assert in_group(embedded, agent, placed=placed) != [None]
    for seconds in (5, 14):
        embedded.clock.advance(seconds)
        embedded.plan()
    assert embedded.attempt(job_id).released
    assert in_group(embedded, agent, placed=placed) == [None]
    assert agent.beat().fenced == [agent.live[0].attempt_id]
    assert in_group(embedded, agent, placed=placed) == [None]


def test_loads_that_came_along_are_heard_and_credentials_renewed(embedded: World) -> None:
    _, (agent,) = embedded.run()
    embedded.clock.advance(LIFE_S / 2 + 1)
    agent.beat()
    embedded.plan()
    load = NodeLoad(read_at=1.0, gpus=[GpuLoad(index=0, busy_percent=50.0)])
    (reply,) = hearing.renew(embedded.context, Placed(), [beat_of(embedded, agent, load=load)])
    assert reply is not None
    assert credentials.read(embedded.context.keyring, reply.credential or "", embedded.clock.now())
    assert embedded.context.loads.newest(embedded.clock.now())[agent.node_id][0].busy_percent == 50.0


def test_a_poll_may_wait_while_nothing_is_owed_to_a_node_of_the_fleet(world: World) -> None:
    job_id, (agent,) = world.run()
    claims = [beat_of(world, agent).claim, Claim(agent.node_id, "agent-0002", 0.0), Claim("node-nobody", "a", 0.0)]
    assert hearing.have_nothing(world.context, claims) == [True, False, False]
    assert hearing.owed_to(world.context) == set()
    world.cancel(job_id)
    assert hearing.have_nothing(world.context, claims[:1]) == [False]
    assert hearing.owed_to(world.context) == {agent.node_id}


def test_only_attempts_that_changed_are_read_again(embedded: World, monkeypatch: pytest.MonkeyPatch) -> None:
    placed, read, jobs = Placed(), list[str](), [embedded.run(name) for name in ("first", "second")]
    kept = entities.attempt_from

    def noting(row: Any) -> Attempt:
        read.append(row.id)
        return kept(row)

    monkeypatch.setattr(entities, "attempt_from", noting)
    for _ in range(3):
        with embedded.db.read() as conn:
            placed.refresh(conn)
    monkeypatch.undo()
    assert sorted(read) == sorted(embedded.attempt(job_id).id for job_id, _ in jobs)
    with embedded.db.read() as conn:
        live = queries.live_attempts(conn)
    assert {agent.node_id: placed.on(agent.node_id) for _, (agent,) in jobs} == {
        one.head.node_id: {one.id} for one in live
    }


def test_who_comes_while_a_group_is_worked_on_goes_with_the_next_one() -> None:
    groups, let_go = list[list[int]](), threading.Event()

    def work(items: Sequence[int]) -> list[int]:
        groups.append(list(items))
        assert let_go.wait(30)
        return [2 * item for item in items]

    async def ask_all() -> list[int]:
        grouped = Grouped(work, "test", share=1.0)
        first = asyncio.create_task(grouped.ask(0))
        deadline = time.monotonic() + 30
        while not groups and time.monotonic() < deadline:
            await asyncio.sleep(0.001)
        rest = [asyncio.create_task(grouped.ask(item)) for item in range(1, 50)]
        await asyncio.sleep(0)
        let_go.set()
        return [await first, *[await one for one in rest]]

    assert asyncio.run(ask_all()) == [2 * item for item in range(50)]
    assert groups == [[0], list(range(1, 50))]


def test_a_group_that_fails_says_so_to_each_and_the_next_one_is_worked_on() -> None:
    def work(items: Sequence[int]) -> list[int]:
        if 13 in items:
            raise OSError("the disk is full")
        return list(items)

    async def ask_all() -> None:
        grouped = Grouped(work, "test")
        for item in (13, 1, 13):
            if item == 13:
                with pytest.raises(GroupFailed, match="the disk is full"):
                    await grouped.ask(item)
            else:
                assert await grouped.ask(item) == item

    asyncio.run(ask_all())


def test_no_more_wait_than_are_let_wait() -> None:
    async def ask_all() -> list[object]:
        grouped: Grouped[int, int] = Grouped(list, "test", waiting_max=3)
        return list(await asyncio.gather(*(grouped.ask(item) for item in range(5)), return_exceptions=True))

    answers = asyncio.run(ask_all())
    assert answers[:3] == [0, 1, 2]
    assert all(isinstance(answer, Crowded) for answer in answers[3:])


def test_agents_that_tell_again_what_stands_hear_when_the_database_was_restored(embedded: World) -> None:
    _, (agent,) = embedded.run()
    with embedded.db.write() as tx:
        restored.put(tx, restored.Restored(1.0, 2.0))
    older, newer = beat_of(embedded, agent), beat_of(embedded, agent, retells=True)
    replies = hearing.renew(embedded.context, Placed(), [older, newer])
    assert [reply.restored_at for reply in replies if reply is not None] == [None, 2.0]
    in_full = [agents.heartbeat(embedded.context, agent.credential, beat.request) for beat in (older, newer)]
    assert [reply.restored_at for reply in in_full] == [None, 2.0]
