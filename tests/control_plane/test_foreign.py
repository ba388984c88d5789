"""Instances that this control plane did not launch: counted, told of once, and never ended."""

import random
from dataclasses import replace

from godwit.control_plane.reconcilers.foreign import SHOWN, Foreigners
from godwit.control_plane.reconcilers.instances import InstanceWatch
from godwit.domain.ids import IdSource, InstanceId, ProviderName
from godwit.domain.offers import Instance, InstanceState
from godwit.providers import registry
from godwit.providers.protocol import LaunchRequest
from godwit.providers.simulated.faults import Faults

from tests.control_plane.world import World

CHEAP = ProviderName("cheap")
SAID = "provider.foreign"


def buy(world: World, token: str, owner: str) -> str:
    """A machine that no row of ours knows of."""
    provider = world.providers[CHEAP]
    return provider.launch(LaunchRequest(provider.offers()[0], token, owner, "#!/bin/sh\n")).id


def look(world: World, times: int = 1) -> None:
    for _ in range(times):
        world.clock.advance(1)
        world.watch()


class Crowded:
    """An account in which others have many machines."""

    def __init__(self, world: World, count: int) -> None:
        self._under = world.providers[CHEAP]
        self.name = CHEAP
        (self._pattern,) = self._under.instances()
        self.crowd = [self.machine(number) for number in range(count)]
        self.ended: list[str] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._under, name)

    def machine(self, number: int) -> Instance:
        """Of somebody who marks nothing; a higher number is newer."""
        return replace(
            self._pattern, id=InstanceId(f"i-{number:04}"), token=None, owner=None, created_at=float(number),
            state=InstanceState.RUNNING,
        )  # fmt: skip

    def instances(self) -> list[Instance]:
        return self.crowd

    def terminate(self, instance_id: str) -> None:
        self.ended.append(instance_id)


def test_foreign_instances_are_counted_and_told_of_once_with_whose_they_are(world: World) -> None:
    first = buy(world, "t1", "another-control-plane")
    look(world, times=30)
    assert (world.watches["cheap"].foreign.count, world.watches["cheap"].foreign.ids) == (1, (first,))
    (event,) = world.events(SAID)
    assert (event.subject, event.subject_id, event.data) == ("provider", "cheap", {"count": 1, "instances": [first]})
    assert f"{first} (of another-control-plane)" in event.reason
    second = buy(world, "t2", "")
    look(world, times=30)
    assert [event.data["instances"] for event in world.events(SAID)] == [[first], [second]]
    assert set(world.machines()) == {first, second}, "they are nobody's business of ours"


def test_our_own_nodes_and_orphans_are_not_foreign(embedded: World) -> None:
    embedded.run()
    buy(embedded, "intent-nobody", "godwit-test")
    look(embedded, times=3)
    assert embedded.watches["cheap"].foreign.count == 0
    assert embedded.events(SAID) == []


def test_a_restart_tells_of_nothing_that_was_told(embedded: World) -> None:
    buy(embedded, "t1", "another-control-plane")
    look(embedded)
    embedded.watches["cheap"] = InstanceWatch(embedded.context, embedded.providers[CHEAP])
    look(embedded, times=3)
    assert embedded.watches["cheap"].foreign.count == 1
    assert len(embedded.events(SAID)) == 1


def test_one_that_is_gone_counts_no_more(embedded: World) -> None:
    foreign = buy(embedded, "t1", "another-control-plane")
    look(embedded)
    embedded.clouds["cheap"].terminate(foreign)
    look(embedded, times=3)
    assert (embedded.watches["cheap"].foreign.count, embedded.watches["cheap"].foreign.ids) == (0, ())


def test_one_that_a_list_drops_for_a_moment_is_not_told_of_twice(embedded: World) -> None:
    buy(embedded, "t1", "another-control-plane")
    look(embedded)
    embedded.clouds["cheap"].set_faults(Faults(list_lag_s=3_600))
    look(embedded)
    assert embedded.watches["cheap"].foreign.count == 0
    embedded.clouds["cheap"].set_faults(Faults())
    look(embedded)
    assert embedded.watches["cheap"].foreign.count == 1
    assert len(embedded.events(SAID)) == 1


def test_of_a_crowd_the_newest_are_named_in_one_event_and_none_is_ended(embedded: World) -> None:
    buy(embedded, "t0", "")
    cloud = Crowded(embedded, 300)
    embedded.watch_instead(cloud)
    look(embedded, times=3)
    foreign = embedded.watches["cheap"].foreign
    assert foreign.count == 300
    assert foreign.ids == tuple(f"i-{number:04}" for number in range(299, 299 - SHOWN, -1))
    (event,) = embedded.events(SAID)
    assert event.data == {"count": 300, "instances": list(foreign.ids)}
    assert "and 280 more" in event.reason
    cloud.crowd = [*cloud.crowd, cloud.machine(300)]
    look(embedded, times=3)
    assert [event.data["count"] for event in embedded.events(SAID)] == [300, 1]
    assert cloud.ended == []


def test_what_another_control_plane_launched_is_foreign_here_and_its_own_there(embedded: World) -> None:
    embedded.run()
    other = replace(embedded.context, identity="godwit-other", ids=IdSource(embedded.clock.now, random.Random(9)))
    theirs = InstanceWatch(other, embedded.providers[CHEAP])
    theirs.step()
    assert theirs.foreign.ids == tuple(embedded.machines())
    look(embedded)
    assert embedded.watches["cheap"].foreign.count == 0
    assert len(embedded.machines()) == 1


def test_a_provider_of_the_longest_name_can_be_told_of(world: World) -> None:
    buy(world, "t1", "another-control-plane")
    longest = ProviderName("n" * registry.NAME_CHARACTERS_MAX)
    watched = Foreigners(world.context, longest)
    watched.seen(world.providers[CHEAP].instances())
    assert [event.subject_id for event in world.events(SAID)] == [longest]
