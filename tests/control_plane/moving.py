"""A job that is moved from the cheap cloud to the dear one, step by step."""

from typing import Any

from godwit.control_plane.services import migrations
from godwit.domain.wire import agents as wire
from godwit.domain.wire.copies import CopyDone
from godwit.domain.wire.migrations import MigrationRequest, MigrationView

from tests.control_plane.world import Agent, World

GB = 10**9


def moved(world: World, to: str | None = "dear", **more: Any) -> tuple[str, Agent]:
    """A job that runs on the cheap cloud, has saved, and is wished elsewhere; and its agent."""
    job_id, (agent,) = world.run("digits", run_time="10h")
    saved(world, agent, job_id, 10)
    agent.report_step(world.attempt(job_id), 12)
    migrations.wish(world.context, job_id, MigrationRequest(to=to, **more), "token t")
    world.plan()
    return job_id, agent


def saved(world: World, agent: Agent, job_id: str, step: int) -> None:
    attempt = world.attempt(job_id)
    agent.beat(
        agent.observed(
            wire.CheckpointCommitted, attempt_id=attempt.id, epoch=attempt.epoch, at=world.clock.now(), step=step,
            size_bytes=GB, files=1, manifest_url="file:///checkpoints/m",
        )
    )  # fmt: skip


def booted(world: World, agent: Agent) -> Agent:
    """The node that was bought for it, once it is there; the job's own agent is heard meanwhile."""
    agent.beat()
    (there,) = world.boot()
    return there


def copied(world: World, there: Agent, **said: Any) -> None:
    """The new node says how its copy ended."""
    (order,) = there.take_on()
    assert order.type == "copy-checkpoint"
    there.beat(there.observed(CopyDone, intent_id=order.intent_id, **{"worked": True, "step": 10} | said))
    world.plan()


def pass_time(world: World, alive: list[Agent], seconds: float) -> None:
    for _ in range(int(seconds / 10)):
        world.clock.advance(10.0)
        for agent in alive:
            agent.beat()


def view(world: World, job_id: str) -> MigrationView:
    return migrations.listed(world.context, job_id)[0]


def switched(world: World, **more: Any) -> tuple[str, Agent, Agent]:
    """A job that was told to stop, since its new node is ready."""
    job_id, here = moved(world, **more)
    there = booted(world, here)
    copied(world, there, moved_bytes=GB, took_s=2.0)
    assert view(world, job_id).state == "switching"
    return job_id, here, there
