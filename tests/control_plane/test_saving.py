"""What a node is told of how often its job should save."""

from typing import Any

import pytest
from godwit.control_plane.store import writes
from godwit.domain.wire.agents import StartAttempt
from godwit.domain.wire.saving import Saving
from godwit.scheduler.trust import Record

from tests.control_plane.world import World


def told(world: World, nodes: int = 1, policy: dict[str, Any] | None = None, record: Record | None = None) -> Saving:
    world.submit(nodes=nodes, **({} if policy is None else {"checkpoint": policy}))
    if record is not None:
        world.turn()
        with world.context.db.write() as tx:
            writes.experience(tx, world.nodes()[0].offer, record)
    agents = world.boot()
    (command,) = agents[0].commands()
    assert isinstance(command, StartAttempt)
    return command.saving


def test_before_anything_is_known_the_prior_counts_for_every_node_of_the_gang(embedded: World) -> None:
    saving = told(embedded, nodes=4)
    assert saving.mtbf_s == pytest.approx(1000 * 86_400 / 6.5 / 4)
    assert (saving.shortest_s, saving.longest_s, saving.keep) == (30.0, 3600.0, 3)
    assert saving.interval_s == 3600.0


def test_an_offer_that_lost_many_nodes_makes_its_jobs_save_more_often(embedded: World) -> None:
    saving = told(embedded, record=Record(losses=240, hours=480.0))
    assert saving.mtbf_s == pytest.approx(960 / 240.13 * 3600, rel=0.01)
    assert 450 < saving.interval_s < 550


def test_the_owners_wish_is_passed_on(embedded: World) -> None:
    saving = told(embedded, policy={"interval": "10m", "keep": 7})
    assert (saving.interval_s, saving.shortest_s, saving.longest_s, saving.keep) == (600.0, 600.0, 600.0, 7)
