"""How a machine becomes a node: a token that works once, and what happens when the machine is not what was paid for."""

import pytest
from godwit.control_plane.services import views
from godwit.domain import lifecycle
from godwit.domain.errors import Forbidden, Gone, Unauthenticated
from godwit.domain.nodes import NodeState

from tests.control_plane.world import Agent, World


@pytest.fixture
def node_id(world: World) -> str:
    """A node whose machine runs and whose agent has not joined yet."""
    world.submit()
    world.turn()
    world.clock.advance(1)
    world.watch()
    (node,) = world.nodes()
    assert node.state is NodeState.JOINING
    return node.id


def test_an_agent_that_joins_makes_its_node_ready_with_the_gpus_it_has(world: World, node_id: str) -> None:
    reply = Agent(world, node_id).join()
    node = world.node(node_id)
    assert (node.state, len(node.gpus), node.address) == (NodeState.READY, 8, "127.20.0.1")
    assert reply.lease_s == world.context.policy.lease_s
    assert node.lease_until == world.clock.now() + reply.lease_s


def test_how_a_node_confines_its_programs_is_told_as_it_joins(world: World, node_id: str) -> None:
    Agent(world, node_id).join(confinement="none: its agent does not run as root on Linux")
    said = [event for event in world.events() if "joined from" in event.reason]
    assert said
    assert all(one.reason.endswith("confined: none: its agent does not run as root on Linux") for one in said)
    assert world.node(node_id).confinement == "none: its agent does not run as root on Linux"
    assert views.node(world.node(node_id), {}, {}).confinement == world.node(node_id).confinement


def test_an_agent_may_join_before_the_provider_has_said_that_the_machine_runs(world: World) -> None:
    world.submit()
    world.plan_only()
    (node,) = world.nodes()
    assert node.state is NodeState.REQUESTED
    Agent(world, node.id).join()
    assert world.node(node.id).state is NodeState.READY


def test_the_same_agent_may_join_again_and_gets_the_same_credential(world: World, node_id: str) -> None:
    agent = Agent(world, node_id)
    first = agent.join()
    events = len(world.events())
    assert agent.join() == first
    assert len(world.events()) == events


def test_a_join_token_works_for_one_agent_only(world: World, node_id: str) -> None:
    Agent(world, node_id).join()
    with pytest.raises(Forbidden, match="joins once"):
        Agent(world, node_id, "agent-0002").join()


@pytest.mark.parametrize("token", ["", ".", "nonsense", "node-nobody.abc", "{node}.", "{node}." + "0" * 64, "\x00.é"])
def test_a_token_that_is_not_ours_is_refused(world: World, node_id: str, token: str) -> None:
    with pytest.raises(Unauthenticated):
        Agent(world, node_id).join(token=token.replace("{node}", node_id) or "x")
    assert world.node(node_id).state is NodeState.JOINING


def test_a_token_of_one_node_does_not_open_another(world: World, node_id: str) -> None:
    world.submit("another")
    world.turn()
    other = next(node.id for node in world.nodes() if node.id != node_id)
    crossed = f"{other}.{world.join_token(node_id).partition('.')[2]}"
    with pytest.raises(Unauthenticated):
        Agent(world, other).join(token=crossed)


def test_a_node_that_is_not_wanted_any_more_is_told_to_go(world: World, node_id: str) -> None:
    world.clock.advance((lifecycle.DEADLINES[NodeState.JOINING].after_s or 0) + 1)
    world.plan()
    assert world.node(node_id).state is NodeState.TERMINATING
    with pytest.raises(Gone):
        Agent(world, node_id).join()


def test_a_credential_is_refused_once_it_is_altered(world: World, node_id: str) -> None:
    agent = Agent(world, node_id)
    agent.join()
    agent.credential = agent.credential[:-1] + ("0" if agent.credential[-1] != "0" else "1")
    with pytest.raises(Unauthenticated):
        agent.beat()
    with pytest.raises(Unauthenticated):
        agent.commands()


def test_the_database_keeps_no_credential_and_no_token(world: World, node_id: str) -> None:
    agent = Agent(world, node_id)
    agent.join()
    with world.db.read() as conn:
        dump = "".join(
            str(row)
            for table in ("agents", "intents", "nodes", "events")
            for row in conn.exec_driver_sql(f"SELECT * FROM {table}")
        )
    assert agent.credential.partition(".")[2] not in dump
    assert world.join_token(node_id).partition(".")[2] not in dump


def test_a_machine_with_fewer_gpus_than_were_paid_for_is_given_back_and_its_offer_passed_over(
    world: World, node_id: str
) -> None:
    Agent(world, node_id).join(gpus=7)
    world.plan()
    node = world.node(node_id)
    assert node.state is NodeState.TERMINATING
    assert "7 GPUs" in node.detail
    assert [n.offer.provider for n in world.nodes() if n.state is NodeState.REQUESTED] == ["dear"]


def test_a_machine_with_another_gpu_than_was_paid_for_is_given_back(world: World, node_id: str) -> None:
    Agent(world, node_id).join(model="A100-80GB-SXM")
    world.plan()
    node = world.node(node_id)
    assert node.state is NodeState.TERMINATING
    assert "A100-80GB-SXM, but H100-SXM was paid for" in node.detail


def test_a_gpu_that_godwit_has_no_name_for_is_taken_as_it_comes(world: World, node_id: str) -> None:
    Agent(world, node_id).join(model="NVIDIA Graphics Device")
    assert world.node(node_id).state is NodeState.READY
