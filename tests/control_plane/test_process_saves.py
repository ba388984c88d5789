"""Jobs whose programs cannot save themselves run only where nodes can save them, and are refused where none can."""

from typing import Any

import pytest
from godwit.control_plane.services import views
from godwit.control_plane.store.abilities import BELIEVED_S
from godwit.domain.errors import InvalidRequest
from godwit.domain.jobs import Resources
from godwit.scheduler.asks import Ask, NodeKind
from godwit.scheduler.placement import offer_refusal
from godwit.scheduler.reasons import Code
from pydantic import ValidationError

from tests.control_plane.world import Agent, World, spec

pytestmark = pytest.mark.embedded

PROCESS: dict[str, Any] = {"checkpoint": {"mode": "process"}}
NO_CRIU = "there is no criu on its PATH"


def _joining(world: World) -> Agent:
    """The agent of the one machine that has booted and not joined."""
    world.turn()
    world.clock.advance(1.0)
    world.watch()
    (node,) = (node for node in world.nodes() if node.state == "joining")
    return Agent(world, node.id)


def test_a_job_goes_past_a_node_that_cannot_to_another_provider_and_the_node_serves_others(world: World) -> None:
    job_id = world.submit("counter", **PROCESS)
    first = _joining(world)
    assert world.node(first.node_id).offer.provider == "cheap"
    first.join(cannot_save=NO_CRIU)
    second = _joining(world)
    assert world.node(second.node_id).offer.provider == "dear"
    second.join()
    world.plan()
    assert [slot.node_id for slot in world.attempt(job_id).slots] == [second.node_id]
    other = world.submit("other")
    world.plan()
    assert [slot.node_id for slot in world.attempt(other).slots] == [first.node_id]


def test_where_no_providers_machines_can_a_job_is_refused_with_the_reason_until_they_are_worth_a_try(
    world: World,
) -> None:
    world.submit("counter", **PROCESS)
    for _ in range(2):
        _joining(world).join(cannot_save=NO_CRIU)
    world.plan()
    with pytest.raises(InvalidRequest) as caught:
        world.submit("another", **PROCESS)
    assert NO_CRIU in caught.value.problems[0].message
    world.submit("ordinary")
    world.clock.advance(BELIEVED_S + 1)
    assert world.submit("later", **PROCESS)


def test_a_machine_that_can_makes_its_provider_worth_a_try_at_once(world: World) -> None:
    world.submit("counter", **PROCESS)
    _joining(world).join(cannot_save=NO_CRIU)
    job_id = world.submit("ordinary", gpus="H100:8", resources={"infra": ["cheap"]})
    world.submit("second", gpus="H100:8", resources={"infra": ["cheap"]})
    world.turn()
    world.clock.advance(1.0)
    world.watch()
    for node in (node for node in world.nodes() if node.state == "joining"):
        Agent(world, node.id).join()
    world.plan()
    assert job_id
    assert world.submit("there", resources={"infra": ["cheap"]}, **PROCESS)


def test_a_refusal_says_why_and_agrees_with_the_engine(world: World) -> None:
    world.read_offers()
    offer = world.providers_offers("cheap")[0]
    unable = type(offer)(**{**vars(offer), "no_gpu_process_saves": NO_CRIU})
    for resources in (spec(**PROCESS).to_domain(0.0).resources, spec().to_domain(0.0).resources):
        for one in (offer, unable):
            refusal = offer_refusal(resources, one, "node n")
            assert Ask.of(resources).suits(NodeKind.of(one)) is (refusal is None)
            assert refusal is None or (refusal.code is Code.CANNOT_SAVE and NO_CRIU in refusal.message)
    without_gpus = Resources(process_saves=True)
    assert offer_refusal(without_gpus, unable, "node n") is None


@pytest.mark.parametrize("nodes", [2, "1..2"])
def test_a_gang_cannot_be_saved_from_outside(nodes: object) -> None:
    with pytest.raises(ValidationError, match=r"use resources\.nodes: 1"):
        spec(resources={"nodes": nodes}, **PROCESS)


def test_the_mode_reads_as_it_was_written() -> None:
    for mode in ("program", "process"):
        written = spec(checkpoint={"mode": mode})
        assert views.spec(written.to_domain(0.0)).checkpoint.mode == mode
