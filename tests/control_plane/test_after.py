"""Jobs that wait for jobs: found when they are submitted, held back until these have ended, and told why."""

import time
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient
from godwit.control_plane.services import jobs
from godwit.control_plane.store import arrays, dependencies, entities, queries, schema
from godwit.domain.afters import Dependency, When
from godwit.domain.arrays import Member
from godwit.domain.errors import InvalidRequest, Problem
from godwit.domain.ids import ArrayId, JobId
from godwit.domain.jobs import Job, JobSpec, JobState
from godwit.domain.projects import DEFAULT
from godwit.domain.wire.views import ExplainView, JobView
from godwit.scheduler.dependencies import why_waiting

from tests.control_plane.apis import client_of
from tests.control_plane.world import Agent, World, spec


def submit(world: World, name: str, after: list[Any], **more: Any) -> JobView:
    found = jobs.submit(world.context, world.shelf, spec(name, after=after, **more), None, "token t")
    assert isinstance(found, JobView)
    return found


def problem(world: World, name: str, after: list[Any], **more: Any) -> Problem:
    with pytest.raises(InvalidRequest) as refused:
        submit(world, name, after, **more)
    (found,) = refused.value.problems
    return found


def end(world: World, agent: Agent, outcome: str) -> None:
    attempt = next(iter(agent.live))
    agent.beat(agent.stopped(attempt.attempt_id, attempt.epoch, outcome))
    world.plan()


def explain(world: World, name: str) -> ExplainView:
    return jobs.explain(world.context, name)


def state(world: World, name: str) -> str:
    return str(world.job(name).state)


def test_a_job_starts_only_when_what_comes_first_has_succeeded(world: World) -> None:
    _, (agent,) = world.run("prep")
    submit(world, "train", ["prep"])
    world.turn()
    assert state(world, "train") == "queued"
    assert len(world.nodes()) == 1, "nothing is bought for a job that only waits"
    told = explain(world, "train")
    assert [(r.code, r.subject, r.message) for r in told.refusals] == [("after", "job prep", "is running")]
    assert told.headline == "queued, waits for other jobs: job prep is running"
    end(world, agent, "succeeded")
    assert state(world, "train") == "starting"
    ended, started = world.job("prep").state_since, world.job("train").state_since
    assert started >= ended


@pytest.mark.parametrize("outcome", ["failed", "succeeded"])
def test_a_job_may_wait_for_whatever_end(world: World, outcome: str) -> None:
    _, (agent,) = world.run("prep")
    submit(world, "clean", [{"job": "prep", "when": "ended"}])
    end(world, agent, outcome)
    assert state(world, "clean") == "starting"


def test_a_job_is_cancelled_with_the_reason_when_what_comes_first_fails_and_so_are_those_behind_it(
    world: World,
) -> None:
    _, (agent,) = world.run("prep")
    submit(world, "train", ["prep"])
    submit(world, "report", ["train"])
    end(world, agent, "failed")
    train, report = world.job("train"), world.job("report")
    assert (train.state, train.detail) == ("cancelled", "job prep, which must succeed first, failed")
    assert (report.state, report.detail) == ("cancelled", "job train, which must succeed first, was cancelled")


def test_an_array_comes_first_as_a_whole(world: World, client: TestClient) -> None:
    world.read_offers()
    jobs.submit(world.context, world.shelf, spec("sweep", count=2), None, "token t")
    submit(world, "best", ["sweep"])
    first, second = world.boot()
    for agent in (first, second):
        agent.take_on()
    end(world, first, "succeeded")
    assert state(world, "best") == "queued"
    (refusal,) = explain(world, "best").refusals
    assert (refusal.subject, refusal.message) == ("array sweep", "has 1 of 2 jobs to come: 1 running")
    (after,) = client.get("/v1/jobs/best").json()["after"]
    assert (after["name"], after["when"], after["states"]) == ("sweep", "succeeded", {"running": 1, "succeeded": 1})
    end(world, second, "succeeded")
    assert state(world, "best") == "starting"


def test_an_array_that_lost_one_cancels_who_waits_for_it_though_others_still_run(world: World) -> None:
    world.read_offers()
    jobs.submit(world.context, world.shelf, spec("sweep", count=2), None, "token t")
    submit(world, "best", ["sweep"])
    submit(world, "clean", [{"job": "sweep", "when": "ended"}])
    first, second = world.boot()
    for agent in (first, second):
        agent.take_on()
    end(world, first, "failed")
    assert (state(world, "best"), state(world, "clean")) == ("cancelled", "queued")
    assert world.job("best").detail == "array sweep, which must succeed first, has 1 failed"
    end(world, second, "succeeded")
    assert state(world, "clean") == "starting"


def test_one_job_of_an_array_can_come_first(world: World) -> None:
    jobs.submit(world.context, world.shelf, spec("sweep", count=2), None, "token t")
    submit(world, "look", ["sweep-1"])
    assert explain(world, "look").refusals[0].subject == "job sweep-1"


def test_a_name_that_is_not_there_is_refused_with_the_nearest_that_is(world: World) -> None:
    world.submit("prepare")
    found = problem(world, "train", ["prepar"])
    assert found.path == ("after", 0)
    assert found.message == "there is no job or array 'prepar' yet; submit it first"
    assert found.did_you_mean == "prepare"
    assert world.rows(schema.jobs) == 1


def test_a_job_cannot_wait_for_itself_or_a_later_one_so_none_wait_for_each_other(world: World) -> None:
    assert "there is no job or array 'train' yet" in problem(world, "train", ["train"]).message
    assert "there is no job or array 'sweep-0' yet" in problem(world, "sweep", ["sweep-0"], count=2).message
    assert "there is no job or array 'later' yet" in problem(world, "train", ["later"]).message
    earlier = world.submit("train")
    again = submit(world, "train", ["train"])
    assert again.id != earlier
    with world.db.read() as conn:
        (row,) = conn.execute(schema.dependencies.select()).all()
    assert row.on_id == earlier, "of one name the earlier comes first"


def test_what_failed_already_is_refused_with_the_way_to_wait_for_it_nevertheless(world: World) -> None:
    job_id = world.submit("prep")
    jobs.cancel(world.context, job_id, "token t")
    found = problem(world, "train", ["prep"])
    assert found.message == "this could never start: job prep, which must succeed first, was cancelled"
    assert found.did_you_mean == "{job: prep, when: ended}"
    assert submit(world, "train", [{"job": "prep", "when": "ended"}]).state == "queued"
    world.plan_only()
    assert explain(world, "train").refusals[0].code != "after"


def test_what_is_named_twice_counts_once_by_the_stricter_wish(world: World, client: TestClient) -> None:
    job_id = world.submit("prep")
    submit(world, "train", [{"job": "prep", "when": "ended"}, job_id, "prep"])
    (after,) = client.get("/v1/jobs/train").json()["after"]
    assert (after["id"], after["when"]) == (job_id, "succeeded")


def test_a_preview_says_what_it_would_wait_for(world: World) -> None:
    world.read_offers()
    world.submit("prep")
    view = jobs.preview(world.context, world.shelf, spec("train", after=["prep"]))
    assert not view.feasible
    assert [(r.code, r.subject) for r in view.refusals] == [("after", "job prep")]
    with pytest.raises(InvalidRequest):
        jobs.preview(world.context, world.shelf, spec("train", after=["nobody"]))


@pytest.mark.embedded
def test_ten_thousand_that_wait_for_one_hide_nobody_and_cost_a_plan_little(world: World) -> None:
    prep = world.submit("prep", gpus="H100:8")
    many = spec("sweep", after=["prep"], count=10_000, priority="high")
    jobs.submit(world.context, world.shelf, many, None, "token t")
    world.clock.advance(1.0)
    last = world.submit("last")
    assert explain(world, last).refusals[0].subject == "1 jobs", "those who wait for others are not before it"
    began = time.process_time()
    with world.db.read() as conn:
        snapshot = queries.snapshot(conn, world.clock.now(), 0.0, world.context.policy)
    assert time.process_time() - began < 2.0
    assert {job.id for job in snapshot.jobs} == {prep, last}
    jobs.cancel(world.context, prep, "token t")
    with world.db.read() as conn:
        snapshot = queries.snapshot(conn, world.clock.now(), 0.0, world.context.policy)
    assert 100 <= len(snapshot.jobs) <= 2_500, "they are ended by and by"
    world.plan()
    with world.db.read() as conn:
        assert set(arrays.states(conn, [arrays.get(conn, "sweep").id]).popitem()[1]) == {"cancelled"}


@pytest.mark.parametrize("when", list(When))
@pytest.mark.parametrize("is_array", [False, True])
def test_a_plan_looks_at_exactly_those_that_a_rule_would_let_go_or_end(
    world: World, when: When, is_array: bool
) -> None:
    judged: dict[str, bool] = {}
    for state in JobState:
        first = Job(JobId(f"job-{state}"), DEFAULT, JobSpec(f"first-{state}", "true"), state, 0.0, 0.0)
        second = replace(first, id=JobId(f"job-2-{state}"), state=JobState.SUCCEEDED)
        on = f"array-{state}" if is_array else first.id
        if is_array:
            first = replace(first, member=Member(ArrayId(on), 0, 2))
            second = replace(second, member=Member(ArrayId(on), 1, 2))
        waits = Job(
            JobId(f"waits-{state}"), DEFAULT, JobSpec("w", "true"), JobState.QUEUED, 0.0, 0.0, after_id=f"a-{state}"
        )
        with world.db.write() as tx:
            for job in (first, second, waits):
                entities.insert(tx, job)
            dependencies.add(tx, f"a-{state}", [Dependency(on, "first", when)])
        with world.db.read() as conn:
            standings = dependencies.standings(conn, [f"a-{state}"])[f"a-{state}"]
        judged[waits.id] = not why_waiting(waits, standings)
    with world.db.read() as conn:
        seen = {job.id for job in queries.snapshot(conn, 0.0, 0.0, world.context.policy).jobs}
    assert {job_id: job_id in seen for job_id in judged} == judged
    assert set(judged.values()) == {True, False}


def test_more_dependencies_than_a_statement_takes_are_read_all_the_same(world: World) -> None:
    job_id = world.submit("prep")
    many = [Dependency(f"job-{n}", "x") for n in range(40_000)]
    with world.db.read() as conn:
        found = dependencies.standing_of(conn, [*many, Dependency(job_id, "prep")])
    assert [standing.states for standing in found[-2:]] == [{}, {JobState.QUEUED: 1}]


@pytest.fixture
def client(world: World) -> TestClient:
    """A client with a valid token, on either kind of database."""
    return client_of(world)
