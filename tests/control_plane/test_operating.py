"""What operators do with nodes, and what becomes of the jobs on them."""

import pytest
from godwit.control_plane.services import nodes
from godwit.domain.errors import InvalidTransition, NotFound
from godwit.domain.intents import IntentKind
from godwit.domain.nodes import NodeState

from tests.control_plane.world import World

pytestmark = pytest.mark.embedded


def test_a_cordoned_node_keeps_its_job_and_gets_no_other(world: World) -> None:
    job_id, (agent,) = world.run()
    assert nodes.cordon(world.context, agent.node_id, "ops").state == "cordoned"
    assert nodes.cordon(world.context, agent.node_id, "ops").state == "cordoned"
    agent.beat()
    world.plan()
    assert world.job(job_id).state == "running"
    other = world.submit(name="other")
    world.plan()
    assert world.job(other).state == "queued"
    assert nodes.uncordon(world.context, agent.node_id, "ops").state == "ready"


def test_a_drained_node_is_emptied_in_order_and_given_back(world: World) -> None:
    job_id, (agent,) = world.run()
    nodes.drain(world.context, agent.node_id, "ops")
    world.plan()
    assert world.job(job_id).state == "recovering"
    assert [command.type for command in agent.commands()] == ["stop-attempt"]
    assert world.node(agent.node_id).state is NodeState.DRAINING
    agent.beat(agent.stopped(world.attempt(job_id).id, 1, "cancelled"))
    world.plan()
    assert world.node(agent.node_id).state is NodeState.TERMINATING


def test_a_terminated_node_goes_at_once_and_its_job_goes_on(world: World) -> None:
    job_id, (agent,) = world.run()
    nodes.terminate(world.context, agent.node_id, "ops")
    assert world.node(agent.node_id).state is NodeState.TERMINATING
    assert len(world.intents(IntentKind.TERMINATE_NODE, agent.node_id)) == 1
    assert world.job(job_id).state == "recovering"
    with pytest.raises(InvalidTransition):
        nodes.terminate(world.context, agent.node_id, "ops")


def test_a_node_that_is_not_there_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        nodes.drain(world.context, "node-nowhere", "ops")
