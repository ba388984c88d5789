"""How long jobs run, as it is remembered and as it is thought."""

from typing import Any

import pytest
from godwit.control_plane.services import jobs
from godwit.control_plane.store import queries, run_times
from godwit.domain.wire import agents as wire
from godwit.scheduler.estimates import Past

from tests.control_plane.world import World, spec

pytestmark = pytest.mark.embedded


def run(world: World, seconds: float, name: str = "digits", **more: Any) -> str:
    """A job that runs so long and succeeds; returns its id."""
    job_id = world.submit(name, **more)
    booted = {agent.node_id: agent for agent in (*world.agents, *world.boot())}
    attempt = world.attempt(job_id)
    agent = booted[attempt.slots[0].node_id]
    agent.take_on()
    for beat_s in (seconds / 2, seconds / 2):
        world.clock.advance(beat_s)
    agent.beat(agent.stopped(attempt.id, attempt.epoch, "succeeded"))
    world.plan()
    return job_id


def pasts(world: World) -> dict[Any, Past]:
    with world.db.read() as conn:
        return dict(queries.snapshot(conn, world.clock.now(), world.clock.now(), world.context.policy).pasts)


def estimate_of(world: World, name: str) -> tuple[float, str] | None:
    found = jobs.explain(world.context, name).estimate
    return None if found is None else (found.left_s, found.source)


def test_jobs_of_one_name_are_thought_to_run_as_long_as_the_last_ones_did(world: World) -> None:
    world.submit("digits")
    assert estimate_of(world, "digits") is None
    jobs.cancel(world.context, "digits", "token t")
    for seconds in (10, 100, 2, 2, 2, 2):
        world.clock.advance(1.0)
        run(world, seconds)
    job_id = world.submit("digits")
    earlier = pasts(world)[job_id].earlier_s
    assert len(earlier) == run_times.KEPT
    assert sorted(earlier)[2] <= 4.0, "the one that hung is outvoted"
    assert estimate_of(world, "digits") == (sorted(earlier)[2], "earlier jobs of its name")


def test_jobs_of_an_array_learn_from_each_other(world: World) -> None:
    run(world, 3.0, "sweep-7")
    jobs.submit(world.context, world.shelf, spec("sweep", count=2), None, "token t")
    assert estimate_of(world, "sweep-0") is None, "a job that happens to have such a name is no part of it"
    attempts = {agent.node_id: agent for agent in (*world.agents, *world.boot())}
    world.plan()
    attempt = world.attempt(world.job("sweep-0").id)
    agent = attempts[attempt.slots[0].node_id]
    agent.take_on()
    world.clock.advance(2.0)
    agent.beat(agent.stopped(attempt.id, 1, "succeeded"))
    found = estimate_of(world, "sweep-1")
    assert found is not None
    assert found[1] == "earlier jobs of its name"


def test_its_owner_is_believed_until_its_progress_tells_more(world: World) -> None:
    job_id, (agent,) = world.run(run_time="1h")
    found = estimate_of(world, "digits")
    assert found is not None
    assert found[1] == "its owner"
    assert 3_500 < found[0] <= 3_600
    world.clock.advance(3.0)
    attempt = world.attempt(job_id)
    at = world.clock.now()
    agent.beat(agent.observed(wire.JobProgress, attempt_id=attempt.id, epoch=1, at=at, step=5, total_steps=10))
    found = estimate_of(world, "digits")
    assert found is not None
    assert found[1] == "its progress"
    assert found[0] < 60


def test_what_ran_before_an_interruption_counts(world: World) -> None:
    job_id, (agent,) = world.run(run_time="1h")
    world.clock.advance(3.0)
    agent.beat(agent.stopped(world.attempt(job_id).id, 1, "interrupted"))
    world.plan()
    found = pasts(world)[world.job(job_id).id]
    assert found.served_s >= 3.0
