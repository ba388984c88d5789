"""A machine that is taken back: its node takes no more work, what runs there saves, its place is bought meanwhile."""

import pytest
from godwit.control_plane.store import queries
from godwit.domain import grace
from godwit.domain.jobs import AttemptState, JobState, Outcome
from godwit.domain.nodes import NodeState
from godwit.domain.wire.agents import StopAttempt
from godwit.domain.wire.notices import NoticeSeen

from tests.control_plane.replicated import Services
from tests.control_plane.world import Agent, World

pytestmark = pytest.mark.embedded


def notice(agent: Agent, within_s: float | None = 120.0) -> NoticeSeen:
    return agent.observed(NoticeSeen, source="ec2", within_s=within_s, reason="spot/instance-action says terminate")


def test_a_notice_empties_the_node_with_as_much_grace_as_there_is(world: World) -> None:
    job_id, (agent,) = world.run()
    agent.beat(notice(agent))
    node = world.node(agent.node_id)
    assert (node.state, node.leaves_at) == (NodeState.DRAINING, world.clock.now() + 120.0)
    world.plan()
    (stop,) = agent.commands()
    assert isinstance(stop, StopAttempt)
    assert stop.grace_s == grace.within(120.0)
    attempt = world.attempt(job_id)
    assert (attempt.state, attempt.outcome) == (AttemptState.STOPPING, Outcome.EVICTED)
    assert "taken back in 120 s" in attempt.detail
    assert [event.data["within_s"] for event in world.events("node.notice")] == [120.0]


def test_a_replacement_is_bought_while_the_program_still_saves(world: World) -> None:
    job_id, (agent,) = world.run()
    agent.beat(notice(agent))
    world.plan()
    world.plan()
    assert world.attempt(job_id).state is AttemptState.STOPPING, "nothing has stopped yet"
    (bought,) = [n for n in world.nodes() if n.id != agent.node_id]
    assert (bought.state, bought.reserved_for) == (NodeState.REQUESTED, job_id)
    world.plan()
    assert len(world.nodes()) == 2, "one is enough"


def test_what_is_taken_back_costs_the_job_none_of_its_retries_and_the_node_is_given_back(world: World) -> None:
    job_id, (agent,) = world.run()
    attempt = world.attempt(job_id)
    # The agent tells its program by itself, and may be done before anybody has planned.
    agent.beat(notice(agent), agent.stopped(attempt.id, attempt.epoch, "interrupted"))
    world.plan()
    job = world.job(job_id)
    assert (job.state, job.interruptions) == (JobState.RECOVERING, 0)
    assert world.node(agent.node_id).state is NodeState.TERMINATING


def test_a_warning_without_a_time_keeps_new_work_off_and_ends_nothing(world: World) -> None:
    job_id, (agent,) = world.run()
    agent.beat(notice(agent, None))
    world.plan()
    assert world.node(agent.node_id).state is NodeState.CORDONED
    assert world.job(job_id).state is JobState.RUNNING
    agent.beat(notice(agent, 100.0))
    assert world.node(agent.node_id).state is NodeState.DRAINING


def test_of_two_notices_the_nearer_counts_and_the_loss_is_counted_once(world: World) -> None:
    _, (agent,) = world.run()
    now, offer = world.clock.now(), world.node(agent.node_id).offer
    agent.beat(notice(agent, 120.0))
    agent.beat(notice(agent, 600.0), notice(agent, 60.0))
    assert world.node(agent.node_id).leaves_at == now + 60.0
    world.clock.advance(30)
    world.plan()
    assert world.node(agent.node_id).state is NodeState.LOST
    with world.db.read() as conn:
        assert queries.records(conn)[offer.key].losses == 1


def test_a_replica_of_a_service_serves_on_until_the_last_moment_or_until_another_one_does(world: World) -> None:
    services = Services(world)
    services.put()
    services.come_up()
    (before,) = services.replicas()
    agent = services.agent_of(before)
    agent.beat(notice(agent))
    world.plan()
    services.loop.step()
    assert services.states() == {"chat-0": "ready", "chat-1": "starting"}
    assert agent.commands() == []
    world.clock.advance(115.0)
    agent.beat()
    world.plan()
    assert world.attempt(before.id).outcome is Outcome.EVICTED
    services.loop.step()
    assert services.urls() == []
    assert world.job(before.id).cancel_requested, "and it does not start again: another one has its place"
