"""What a heartbeat does: it renews a lease, is counted once, and cannot bring back what was given away."""

from collections.abc import Callable
from dataclasses import replace

import psycopg
import pytest
from godwit.control_plane.context import Context
from godwit.control_plane.services import nodes
from godwit.control_plane.store.database import Database
from godwit.domain.errors import Gone
from godwit.domain.nodes import NodeState
from godwit.domain.wire.agents import AttemptRunning, CommandDone, JobProgress, LiveAttempt
from sqlalchemy.exc import OperationalError

from tests.control_plane.world import World


def test_a_heartbeat_renews_the_lease_without_touching_what_was_decided(world: World) -> None:
    _, (agent,) = world.run()
    version = world.node(agent.node_id).version
    world.clock.advance(2)
    agent.beat()
    node = world.node(agent.node_id)
    assert node.last_seen_at == world.clock.now()
    assert node.lease_until == world.clock.now() + 15.0
    assert node.version == version


def test_an_observation_that_is_repeated_is_counted_once(world: World) -> None:
    job_id, (agent,) = world.run()
    epoch = {"attempt_id": world.attempt(job_id).id, "epoch": 1}
    step = agent.observed(JobProgress, at=1.0, step=10, **epoch)
    assert agent.beat(step).acknowledged_seq == step.seq
    newer = agent.observed(JobProgress, at=2.0, step=20, **epoch)
    agent.beat(newer)
    assert agent.beat(step, newer).acknowledged_seq == newer.seq
    progress = world.job(job_id).progress
    assert progress is not None
    assert progress.step == 20
    assert len(world.events("job.first-step")) == 1


def test_a_first_step_is_told_once_even_if_the_clock_of_the_node_is_an_hour_behind(world: World) -> None:
    job_id, (agent,) = world.run()
    for step in range(3):
        behind = world.clock.now() - 3_600
        agent.beat(agent.observed(JobProgress, at=behind, step=step, attempt_id=world.attempt(job_id).id, epoch=1))
        world.clock.advance(1)
    assert len(world.events("job.first-step")) == 1


def test_a_node_that_is_not_heard_is_lost_and_comes_back_when_it_is_heard_again(world: World) -> None:
    _, (agent,) = world.run()
    world.clock.advance(5)
    world.plan()
    assert world.node(agent.node_id).state is NodeState.LOST
    agent.beat()
    assert world.node(agent.node_id).state is NodeState.READY


def test_silence_while_the_database_was_away_is_held_against_no_node(embedded: World) -> None:
    _, (agent,) = embedded.run()
    db = Database(embedded.db.engine, embedded.hints.announce, now=embedded.clock.now)
    embedded.context = replace(embedded.context, db=db.fenced(lambda _conn: None))
    embedded.clock.advance(10)
    gone = OperationalError("SELECT 1", {}, psycopg.OperationalError("the server closed the connection"))
    with pytest.raises(OperationalError), db.read():
        raise gone
    embedded.plan()
    assert embedded.node(agent.node_id).state is NodeState.READY, "nobody could write down that it was heard"
    embedded.clock.advance(5)
    embedded.plan()
    assert embedded.node(agent.node_id).state is NodeState.LOST, "it could be heard since, and was not"


def test_silence_while_nothing_could_be_written_is_held_against_no_node(embedded: World) -> None:
    """A database that hung and answers again raised nothing: it only shows all nodes as they were before."""
    _, (agent,) = embedded.run()
    again_at = embedded.clock.now() + 10
    embedded.context = replace(embedded.context, steady_since=lambda: min(embedded.clock.now(), again_at))
    embedded.clock.advance(10)
    embedded.plan()
    assert embedded.node(agent.node_id).state is NodeState.READY
    embedded.clock.advance(5)
    embedded.plan()
    assert embedded.node(agent.node_id).state is NodeState.LOST


def test_a_heartbeat_that_the_network_delivers_late_does_not_bring_a_lost_node_back(world: World) -> None:
    _, (agent,) = world.run()
    sent_at = world.clock.now()
    world.clock.advance(0.5)
    agent.beat()
    heard_at = world.clock.now()
    world.clock.advance(5)
    world.plan()
    agent.beat(sent_at=sent_at)
    node = world.node(agent.node_id)
    assert node.state is NodeState.LOST
    assert node.last_seen_at == heard_at


def test_a_late_heartbeat_does_not_say_that_an_attempt_was_forgotten(world: World) -> None:
    job_id, (agent,) = world.run()
    live, agent.live = agent.live, []
    agent.beat(sent_at=world.clock.now() - 1)
    assert world.attempt(job_id).outcome is None
    agent.live = live
    agent.beat()
    assert world.attempt(job_id).outcome is None


def test_an_attempt_that_its_node_has_forgotten_is_interrupted(world: World) -> None:
    job_id, (agent,) = world.run()
    agent.live = []
    world.clock.advance(1)
    agent.beat()
    attempt = world.attempt(job_id)
    assert (attempt.outcome, attempt.released) == ("interrupted", True)
    assert "does not know the attempt" in attempt.detail


def test_an_attempt_that_was_not_yet_taken_on_is_not_forgotten(world: World) -> None:
    job_id = world.submit()
    (agent,) = world.boot()
    world.clock.advance(1)
    agent.beat()
    assert world.attempt(job_id).outcome is None


def test_an_attempt_that_the_control_plane_does_not_know_is_fenced(world: World) -> None:
    _, (agent,) = world.run()
    known = agent.live[0]
    agent.live = [known, LiveAttempt(attempt_id="attempt-nobody", epoch=9)]
    assert agent.beat().fenced == ["attempt-nobody"]


def test_an_attempt_whose_gpus_were_given_away_is_fenced_when_its_node_is_heard_again(world: World) -> None:
    job_id, (agent,) = world.run()
    attempt_id = world.attempt(job_id).id
    world.clock.advance(5)
    world.plan()
    world.clock.advance(14)
    world.plan()
    assert world.attempt(job_id).released
    assert agent.beat().fenced == [attempt_id]


def test_gpus_are_not_given_away_before_the_lease_has_run_out_with_its_margin(world: World) -> None:
    job_id, (agent,) = world.run()
    until = (world.node(agent.node_id).lease_until or 0.0) + world.context.policy.lease_margin_s
    world.clock.advance(5)
    world.plan()
    world.clock.advance(until - world.clock.now())
    world.plan()
    assert not world.attempt(job_id).released
    world.clock.advance(0.1)
    world.plan()
    assert world.job(job_id).state == "recovering"


@pytest.mark.parametrize(("change", "state"), [(nodes.cordon, "cordoned"), (nodes.drain, "draining")])
def test_what_was_kept_out_of_the_fleet_stays_out_when_it_is_heard_again(
    embedded: World, change: Callable[[Context, str, str], object], state: str
) -> None:
    _, (agent,) = embedded.run()
    change(embedded.context, agent.node_id, "token t")
    embedded.clock.advance(5)
    embedded.plan()
    assert embedded.node(agent.node_id).state == "lost"
    agent.beat()
    assert embedded.node(agent.node_id).state == state


def test_a_node_that_is_given_back_is_told_so(world: World) -> None:
    _, (agent,) = world.run()
    world.clouds["cheap"].lose(world.machines()[0])
    world.clock.advance(6)
    world.watch()
    world.plan()
    with pytest.raises(Gone):
        agent.beat()
    with pytest.raises(Gone):
        agent.commands()


def test_commands_are_repeated_until_they_are_answered_and_those_known_are_left_out(world: World) -> None:
    job_id = world.submit()
    (agent,) = world.boot()
    (start,) = agent.commands()
    assert agent.commands() == [start]
    assert agent.commands([start.intent_id]) == []
    assert (start.job_id, start.epoch, start.gpus) == (job_id, 1, list(range(8)))
    assert start.store == f"file:///checkpoints/{job_id}"
    agent.beat(agent.observed(CommandDone, intent_id=start.intent_id, accepted=True))
    assert agent.commands() == []


def test_an_answer_to_another_nodes_command_changes_nothing(world: World) -> None:
    world.submit(nodes=2)
    first, second = world.boot()
    (start,) = first.commands()
    second.beat(second.observed(CommandDone, intent_id=start.intent_id, accepted=True))
    second.beat(second.observed(CommandDone, intent_id="intent-nobody", accepted=True))
    assert first.commands() == [start]


def test_a_start_that_is_answered_after_it_was_cancelled_stays_cancelled(world: World) -> None:
    job_id = world.submit()
    (agent,) = world.boot()
    (start,) = agent.commands()
    world.cancel(job_id)
    (stop,) = agent.commands()
    assert stop.type == "stop-attempt"
    agent.beat(agent.observed(CommandDone, intent_id=start.intent_id, accepted=True))
    assert agent.commands() == [stop]


def test_an_observation_of_an_attempt_in_which_the_node_has_no_part_is_dropped(world: World) -> None:
    job_id, _ = world.run("first")
    other_id, (other,) = world.run("second")
    assert world.attempt(job_id).head.node_id != other.node_id
    mine = world.attempt(job_id).id
    other.beat(
        other.stopped(mine, 1, "succeeded"),
        other.observed(JobProgress, attempt_id=mine, epoch=1, at=1.0, step=5),
        other.observed(AttemptRunning, attempt_id="attempt-nobody", epoch=1),
    )
    assert (world.job(job_id).state, world.job(job_id).progress) == ("running", None)
    assert world.job(other_id).state == "running"
