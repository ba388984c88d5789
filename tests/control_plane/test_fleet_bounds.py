"""Bounds of the fleet from the configuration to machines, and the step that a machine is billed in."""

import json
from dataclasses import replace

from godwit.control_plane.services import jobs
from godwit.control_plane.store import schema
from godwit.domain.jobs import Resources
from godwit.domain.nodes import NodeState
from godwit.domain.resources import parse_gpus
from godwit.providers.layers.wrapping import Layer
from godwit.providers.protocol import Capabilities
from godwit.scheduler.bounds import Bounds, Warm
from godwit.scheduler.snapshot import Policy
from sqlalchemy import select, update

from tests.control_plane.world import Agent, World

HOUR_S = 3_600.0
H100 = Warm(Resources(gpus=parse_gpus("H100:8")))


class Hourly(Layer):
    """A cloud that bills started hours."""

    @property
    def capabilities(self) -> Capabilities:
        return replace(self.inner.capabilities, billing_step_s=HOUR_S)


def bound(world: World, bounds: Bounds) -> None:
    world.context = replace(world.context, policy=Policy(bounds=bounds))


def bill_by_the_hour(world: World) -> None:
    hourly = {name: Hourly(provider) for name, provider in world.providers.items()}
    world.context = replace(world.context, providers=hourly)
    world.providers.update(hourly)


def pass_s(world: World, seconds: float) -> None:
    """Time passes, and agents are heard at its end."""
    world.clock.advance(seconds)
    for agent in world.agents:
        agent.beat()
    world.plan()


def finish(world: World, job_id: str, agent: Agent) -> None:
    """The job's program ends well."""
    agent.beat(agent.stopped(world.attempt(job_id).id, 1, "succeeded", exit_code=0))
    world.plan()


def test_an_offer_and_the_node_bought_of_it_say_what_step_they_are_billed_in(world: World) -> None:
    bill_by_the_hour(world)
    world.run()
    assert {offer.billing_step_s for offer in world.providers_offers("cheap")} == {HOUR_S}
    (node,) = world.nodes()
    assert node.offer.billing_step_s == HOUR_S


def test_an_idle_node_stays_to_the_end_of_its_paid_hour(world: World) -> None:
    bill_by_the_hour(world)
    job_id, (agent,) = world.run()
    (node,) = world.nodes()
    finish(world, job_id, agent)
    pass_s(world, 2 * world.context.policy.idle_after_s)
    assert world.node(node.id).state is NodeState.READY
    margin_s = world.context.policy.release_margin_s
    pass_s(world, node.created_at + HOUR_S - margin_s - 1 - world.clock.now())
    assert world.node(node.id).state is NodeState.READY
    pass_s(world, 1.0)
    assert world.node(node.id).state is NodeState.TERMINATING


def test_a_node_written_before_offers_had_a_step_is_read_as_billed_by_the_second(world: World) -> None:
    world.run()
    table = schema.nodes
    with world.db.write() as tx:
        old = json.loads(tx.conn.execute(select(table.c.offer)).scalar_one())
        del old["billing_step_s"]
        tx.conn.execute(update(table).values(offer=json.dumps(old)))
    (node,) = world.nodes()
    assert node.offer.billing_step_s == 1.0
    assert node.offer.key == old["provider"] + "/north/-/h100.8x/on-demand"


def test_a_warm_node_is_bought_at_the_start_and_again_when_a_job_took_it(embedded: World) -> None:
    bound(embedded, Bounds(warm=(H100,), max_nodes=2))
    (warm,) = embedded.boot()
    assert embedded.node(warm.node_id).reserved_for is None
    pass_s(embedded, 3 * embedded.context.policy.idle_after_s)
    assert embedded.node(warm.node_id).state is NodeState.READY
    job_id = embedded.submit()
    (second,) = embedded.boot()
    assert [slot.node_id for slot in embedded.attempt(job_id).slots] == [warm.node_id]
    warm.take_on()
    (bought,) = embedded.events("node.state", node_id=second.node_id)[:1]
    assert bought.reason.startswith("fleet.warm keeps 1 of H100:8 ready, and one is missing")
    assert embedded.node(second.node_id).reserved_for is None


def test_explaining_a_job_tells_of_the_maximum_that_holds_it_back(embedded: World) -> None:
    bound(embedded, Bounds(max_nodes=1))
    job_id = embedded.submit(nodes=2)
    embedded.turn()
    assert embedded.nodes() == []
    told = jobs.explain(embedded.context, job_id)
    assert (
        told.headline == "queued, waits for nodes: fleet.max_nodes is 1: the fleet has 0 nodes, and 2 more are needed"
    )
    assert told.refusals[0].code == "fleet-max"
    assert told.refusals[0].would_help == "ask for less, or raise fleet.max_nodes"


def test_a_refused_warm_node_is_tried_again_only_after_the_hold(embedded: World) -> None:
    bound(embedded, Bounds(warm=(H100,)))
    for cloud in embedded.clouds.values():
        cloud.set_faults(cloud.faults.model_copy(update={"refuse_capacity": {"*": -1}}))
    for _ in range(10):
        embedded.turn()
        embedded.clock.advance(1.0)
    asked = len(embedded.nodes(final=True))
    assert asked == 2, "each of the two offers once"
    embedded.clock.advance(embedded.context.policy.hold_s)
    embedded.turn()
    assert len(embedded.nodes(final=True)) > asked
