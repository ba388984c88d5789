"""Changes of versions that their owner holds, lets go on, or ends: enough serve all the while."""

from dataclasses import replace

import pytest
from godwit.domain.jobs import JobState
from godwit.domain.services import ReplicaState, Rollout
from godwit.domain.serving import Change, Strategy
from godwit.scheduler.serving import counts, rollout

from tests.scheduler.serving.test_steps import ALIVE, World


def changing(strategy: Strategy, count: int = 4) -> World:
    """A service that serves, and whose owner just wanted a new version."""
    world = World(count, strategy)
    world.run(3)
    world.update()
    world.settle()
    return world


def under_way(world: World) -> Rollout:
    assert world.service.rollout is not None
    return world.service.rollout


def having(world: World, **changes: object) -> None:
    world.service = replace(world.service, rollout=replace(under_way(world), **changes))  # type: ignore[arg-type]


def versions(world: World) -> list[int]:
    return [one.number for one in world.replicas.values() if one.state in ALIVE]


@pytest.mark.parametrize("strategy", Strategy)
def test_a_change_that_is_held_stays_where_it_is_until_it_goes_on(strategy: Strategy) -> None:
    world = changing(strategy)
    for name in world.starting():
        world.answer(name)
    world.settle()
    having(world, paused="held by ann")
    world.run(3)
    held, step = versions(world), under_way(world).step
    world.run(30)
    assert (versions(world), under_way(world).step) == (held, step)
    world.service = replace(world.service, rollout=rollout.resumed(under_way(world), world.now))
    world.run()
    assert (world.service.rollout, versions(world)) == (None, [2] * 4)


def test_a_held_change_is_not_taken_back_for_the_time_that_it_takes_nor_starts_what_failed_again() -> None:
    world = changing(Strategy.ROLLING)
    having(world, paused="held by ann")
    (new,) = [one for one in world.replicas.values() if one.number == 2]
    world.end(new.id, JobState.FAILED)
    world.settle()
    world.now += 1e9
    world.settle()
    assert (versions(world), under_way(world).backwards) == ([1] * 4, "")


@pytest.mark.parametrize("strategy", Strategy)
def test_a_new_version_that_is_promoted_serves_alone_as_soon_as_all_of_it_is_ready(strategy: Strategy) -> None:
    world = changing(strategy)
    change = replace(Change(), strategy=strategy, steps=(0.25, 0.5), bake_s=1e9)
    newest = world.service.newest
    assert newest.spec.serving is not None
    spec = replace(newest.spec, serving=replace(newest.spec.serving, change=change))
    world.service = replace(world.service, versions=(*world.service.versions[:-1], replace(newest, spec=spec)))
    world.service = replace(world.service, rollout=rollout.promoted(under_way(world), change))
    for _ in range(20):
        world.settle()
        if world.starting():
            world.answer(world.starting()[0])
            ready = {n: len(world.view().ready(n)) for n in (1, 2)}
            share = counts.shares(world.service, ready).get(2, 0.0)
            assert share <= ready[2] / 4, "never more of the requests than of the replicas"
        world.now += 1.0
    assert (world.service.rollout, versions(world)) == (None, [2] * 4)


def test_a_version_that_fails_is_taken_back_though_it_was_promoted() -> None:
    world = changing(Strategy.CANARY)
    world.service = replace(
        world.service, rollout=rollout.promoted(under_way(world), world.service.newest.serving.change)
    )
    for _ in range(20):
        for one in list(world.replicas.values()):
            if one.number == 2 and one.state is ReplicaState.STARTING:
                world.end(one.id, JobState.FAILED)
        world.now += 300.0
        world.settle()
        assert world.ready() >= 4
    assert (world.service.rollout, versions(world)) == (None, [1] * 4)
