"""Jobs whose GPUs do nothing: the owner is told, and by the operator's wish the job is ended."""

from dataclasses import replace

import pytest
from godwit.control_plane.reconcilers.rolling import Rolling
from godwit.control_plane.services import idle_jobs, jobs
from godwit.domain.jobs import JobState
from godwit.domain.wire.loads import GpuLoad, NodeLoad
from godwit.scheduler.idle_jobs import IdleJobs

from tests.control_plane.world import Agent, World

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

AFTER_S, MINUTE_S = 600.0, 60.0


def pass_by(world: World, agent: Agent, job_id: str, minutes: int, busy: float) -> None:
    """Time in which every GPU of the node says that it is so busy; jobs are judged twice, as after a restart."""
    rolling, attempt_id = Rolling(world.context), world.attempt(job_id).id
    for _ in range(minutes):
        gpus = [GpuLoad(index=index, busy_percent=busy, attempt_id=attempt_id) for index in range(8)]
        agent.beat(load=NodeLoad(read_at=world.clock.now(), gpus=gpus))
        world.clock.advance(MINUTE_S)
        rolling.step()
    agent.beat()
    idle_jobs.step(world.context)
    idle_jobs.step(world.context)


def running(world: World, *, reclaims: bool) -> tuple[str, Agent]:
    policy = replace(world.context.policy, idle_jobs=IdleJobs(AFTER_S, reclaims))
    world.context = replace(world.context, policy=policy)
    job_id, (agent,) = world.run()
    return job_id, agent


def test_the_owner_of_an_idle_job_is_told_once_and_again_after_it_worked(world: World) -> None:
    job_id, agent = running(world, reclaims=False)
    pass_by(world, agent, job_id, 15, 0.0)
    pass_by(world, agent, job_id, 30, 0.0)
    (told,) = world.events("job.idle")
    assert (told.job_id, told.actor) == (job_id, "idle-jobs")
    assert told.reason.startswith("its 8 GPUs have done nothing for 10 minutes")
    assert any(event.reason == told.reason for event in jobs.explain(world.context, job_id).events)
    pass_by(world, agent, job_id, 5, 80.0)
    pass_by(world, agent, job_id, 15, 0.0)
    assert len(world.events("job.idle")) == 2
    assert world.job(job_id).state is JobState.RUNNING


def test_a_job_that_works_or_of_which_nothing_is_known_is_left_alone(world: World) -> None:
    job_id, agent = running(world, reclaims=True)
    pass_by(world, agent, job_id, 15, 30.0)
    world.clock.advance(3_600)
    agent.beat()
    idle_jobs.step(world.context)
    assert world.events("job.idle") == []


def test_an_idle_job_is_ended_with_the_reason_where_the_operator_wants_that(world: World) -> None:
    job_id, agent = running(world, reclaims=True)
    pass_by(world, agent, job_id, 15, 0.0)
    assert world.job(job_id).cancel_requested is False
    pass_by(world, agent, job_id, 11, 0.0)
    world.turn()
    assert world.job(job_id).state in {JobState.STOPPING, JobState.CANCELLED}
    assert [event.reason for event in world.events("job.cancel")] == [
        "ended: its 8 GPUs did nothing for more than 10 minutes"
    ]
