"""What was held is remembered: counted once for each attempt, kept over restarts, and it decides who goes first."""

import pytest
from fastapi.testclient import TestClient
from godwit.control_plane.reconcilers import apply
from godwit.control_plane.store import queries, usage
from godwit.domain.errors import StaleWrite
from godwit.domain.ids import JobId, ProjectId
from godwit.scheduler import projects
from godwit.scheduler.plan import FinishAttempt, Plan
from godwit.scheduler.quotas import GPUS
from godwit.scheduler.snapshot import Snapshot

from tests.control_plane.apis import client_of
from tests.control_plane.world import Agent, World

pytestmark = pytest.mark.embedded

VISION, SPEECH = ProjectId("vision"), ProjectId("speech")
HOUR_S = 3_600.0


def teams(world: World) -> TestClient:
    client = client_of(world)
    for name in (VISION, SPEECH):
        assert client.put(f"/v1/projects/{name}", json={}).status_code == 200
    return client


def read(world: World) -> Snapshot:
    with world.db.read() as conn:
        return queries.snapshot(conn, world.clock.now(), world.context.serving_since, world.context.policy)


def gpus_of(world: World, project: ProjectId) -> float:
    """Thousandths that a project held on average until now."""
    return projects.averages(read(world), world.clock.now())[project].amounts[GPUS]


def pass_time(world: World, agent: Agent, seconds: float) -> None:
    world.clock.advance(seconds)
    agent.beat()


def succeed(world: World, agent: Agent, job_id: str) -> None:
    attempt = world.attempt(job_id)
    agent.beat(agent.stopped(attempt.id, attempt.epoch, "succeeded"))
    world.plan()


def write_and_die(world: World, plan: Plan) -> None:
    with world.db.write() as tx:
        apply.apply(tx, plan, read(world), world.context.ids, world.clock.now())
        raise KeyboardInterrupt


def test_what_is_held_counts_while_it_runs_and_is_kept_when_it_ends(world: World) -> None:
    teams(world)
    job_id, (agent,) = world.run(project="vision")
    pass_time(world, agent, HOUR_S)
    assert read(world).usage == {}, "nothing is written while nothing ends"
    held_s, before = world.clock.now() - world.attempt(job_id).created_at, gpus_of(world, VISION)
    assert before > 0
    succeed(world, agent, job_id)
    assert gpus_of(world, VISION) == pytest.approx(before)
    with world.db.read() as conn:
        assert usage.served_gpu_s(conn, job_id) == pytest.approx(8 * held_s)


def test_what_was_held_fades_by_half_in_each_half_life(world: World) -> None:
    teams(world)
    job_id, (agent,) = world.run(project="vision")
    pass_time(world, agent, HOUR_S)
    succeed(world, agent, job_id)
    before = gpus_of(world, VISION)
    world.clock.advance(world.context.policy.forgetting.half_life_s)
    assert gpus_of(world, VISION) == pytest.approx(before / 2)


def test_the_end_of_an_attempt_is_counted_once_whoever_tells_it_twice(world: World) -> None:
    teams(world)
    job_id, (agent,) = world.run(project="vision")
    pass_time(world, agent, HOUR_S)
    attempt, context = world.attempt(job_id), world.context
    agent.beat(agent.stopped(attempt.id, 1, "succeeded"))
    before, now = read(world), world.clock.now()
    plan = Plan((FinishAttempt(attempt.id, "no node can be running it any more"),))
    with world.db.write() as tx:
        apply.apply(tx, plan, before, context.ids, now)
    counted = read(world)
    with pytest.raises(StaleWrite), world.db.write() as tx:
        apply.apply(tx, plan, before, context.ids, now)
    assert read(world).usage == counted.usage
    with world.db.read() as conn:
        assert usage.served_gpu_s(conn, job_id) == pytest.approx(8 * (now - attempt.created_at))


def test_whoever_dies_before_the_end_is_written_has_counted_nothing(world: World) -> None:
    teams(world)
    job_id, (agent,) = world.run(project="vision")
    pass_time(world, agent, HOUR_S)
    attempt = world.attempt(job_id)
    agent.beat(agent.stopped(attempt.id, 1, "succeeded"))
    plan = Plan((FinishAttempt(attempt.id, "over"),))
    with pytest.raises(KeyboardInterrupt):
        write_and_die(world, plan)
    assert read(world).usage == {}
    world.plan()
    assert read(world).usage[VISION].amounts[GPUS] > 0


def test_what_a_job_got_adds_up_over_its_attempts(world: World) -> None:
    teams(world)
    job_id, (agent,) = world.run(project="vision")
    total_s = 0.0
    for _ in range(2):
        pass_time(world, agent, 600)
        attempt = world.attempt(job_id)
        total_s += world.clock.now() - attempt.created_at
        agent.beat(agent.stopped(attempt.id, attempt.epoch, "interrupted", detail="Ray died"))
        world.plan()
        agent.take_on()
    assert world.attempt(job_id).epoch == 3
    assert read(world).served_gpu_s[JobId(job_id)] == pytest.approx(8 * total_s)


def test_who_held_more_lately_waits_for_who_held_less_though_it_came_first(world: World) -> None:
    client = teams(world)
    job_id, (agent,) = world.run(project="vision")
    pass_time(world, agent, HOUR_S)
    waiting = {name: world.submit(name, project=name) for name in (VISION, SPEECH)}
    told = client.get(f"/v1/jobs/{waiting[VISION]}/explain").json()
    assert told["outlook"]["position"] == 2, told
    succeed(world, agent, job_id)
    assert (world.job(waiting[SPEECH]).state, world.job(waiting[VISION]).state) == ("starting", "queued")


def test_a_project_shows_what_it_held_lately_and_its_share(world: World) -> None:
    client = teams(world)
    _, (agent,) = world.run(project="vision")
    pass_time(world, agent, HOUR_S)
    shown = client.get("/v1/projects/vision").json()
    assert shown["lately"]["any"] == pytest.approx(gpus_of(world, VISION) / 1000, abs=1e-3)
    assert 0.5 < shown["share"] < 0.51, "half of what it holds, which is all, and a little for the past"
    other = client.get("/v1/projects/speech").json()
    assert (other["lately"], other["share"]) == ({"any": 0.0, "cpus": 0.0, "memory_gib": 0.0}, 0.0)


def test_what_a_removed_project_held_is_forgotten_with_it(world: World) -> None:
    client = teams(world)
    job_id, (agent,) = world.run(project="vision")
    pass_time(world, agent, HOUR_S)
    attempt = world.attempt(job_id)
    agent.beat(agent.stopped(attempt.id, 1, "succeeded"))
    assert client.delete("/v1/projects/vision").status_code == 204
    world.plan()
    assert world.attempt(job_id).state == "ended"
    client.put("/v1/projects/vision", json={})
    assert read(world).usage == {}
