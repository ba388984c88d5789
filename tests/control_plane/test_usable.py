"""Machines that never become usable: fewer and fewer are bought, until one joins."""

from godwit.control_plane.store import queries, usable
from godwit.domain.nodes import NodeState

from tests.control_plane.world import World

BOOTING = {NodeState.REQUESTED, NodeState.PROVISIONING, NodeState.JOINING}


def test_a_job_whose_machines_fail_to_boot_buys_fewer_and_fewer(world: World) -> None:
    world.submit(gpus="H100:1")
    began, known, bought_at = world.clock.now(), set[str](), list[float]()
    while world.clock.now() - began < 1_200:
        world.turn()
        for node in world.nodes():
            if node.state in BOOTING and node.instance_id is not None:
                world.clouds[node.offer.provider].lose(node.instance_id)
        bought_at += [world.clock.now() - began for node in world.nodes(final=True) if node.id not in known]
        known |= {node.id for node in world.nodes(final=True)}
        world.clock.advance(10)
    assert 4 <= len(bought_at) <= 16, bought_at


def test_pauses_grow_for_a_whole_provider_until_a_machine_of_it_joins(world: World) -> None:
    world.submit(gpus="H100:1")
    world.turn()
    (node,) = world.nodes()
    for expected_s in (30, 60, 120):
        assert failing(world, node.id) == expected_s
    (agent,) = world.boot()
    assert agent.node_id == node.id
    world.clock.advance(1_000)
    assert failing(world, node.id) == 30


def failing(world: World, node_id: str) -> float:
    """A machine like this node's fails; for how long its offer is passed over then."""
    offer, now = world.node(node_id).offer, world.clock.now()
    with world.db.write() as tx:
        usable.failed(tx, offer, "did not boot", 30.0, now)
        (hold,) = [hold for hold in queries.holds(tx.conn, now) if hold.offer_key == offer.key]
    return hold.until - now
