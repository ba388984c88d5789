"""Arrays: many jobs from one specification, that are submitted, shown, explained and cancelled as one."""

import time
from typing import Any

import pytest
from fastapi.testclient import TestClient
from godwit.control_plane.services import jobs
from godwit.control_plane.store import queries, schema
from godwit.domain.errors import InvalidRequest, NotFound
from godwit.domain.wire.arrays import ArrayView
from godwit.domain.wire.views import ExplainView

from tests.control_plane.apis import client_of
from tests.control_plane.world import Agent, World, spec


def submit(world: World, name: str = "sweep", count: int = 3, key: str | None = None, **more: Any) -> ArrayView:
    found = jobs.submit(world.context, world.shelf, spec(name, count=count, **more), key, "token t")
    assert isinstance(found, ArrayView)
    return found


def array_of(client: TestClient, name: str = "sweep") -> ArrayView:
    return ArrayView.model_validate_json(client.get(f"/v1/arrays/{name}").content)


@pytest.fixture
def client(world: World) -> TestClient:
    """A client with a valid token, on either kind of database."""
    return client_of(world)


def test_an_array_is_so_many_jobs_with_names_and_numbers_in_one_transaction(world: World, client: TestClient) -> None:
    array = submit(world, count=12)
    assert (array.name, array.size, array.states) == ("sweep", 12, {"queued": 12})
    listed = client.get("/v1/jobs?array=sweep").json()["items"]
    assert [job["name"] for job in listed] == [f"sweep-{n}" for n in reversed(range(12))], "newest first"
    assert [job["array"]["index"] for job in listed] == list(reversed(range(12)))
    assert {job["array"]["id"] for job in listed} == {array.id}
    assert len(world.events("job.state")) == 12
    assert array_of(client) == array


def test_the_same_key_answers_the_same_array(world: World) -> None:
    first = submit(world, key="k")
    assert submit(world, key="k") == first
    assert world.rows(schema.jobs) == 3
    assert world.rows(schema.arrays) == 1


def test_whoever_submits_an_array_is_answered_the_array_and_again_as_it_is_by_then(
    world: World, client: TestClient
) -> None:
    body, key = spec("sweep", count=3).model_dump(mode="json", exclude_unset=True), {"Idempotency-Key": "k"}
    first = client.post("/v1/jobs", json=body, headers=key)
    assert first.status_code == 202
    assert (first.json()["kind"], first.json()["states"]) == ("array", {"queued": 3})
    client.post("/v1/jobs/sweep-1/cancel")
    again = client.post("/v1/jobs", json=body, headers=key).json()
    assert (again["id"], again["states"]) == (first.json()["id"], {"queued": 2, "cancelled": 1})


def test_an_array_of_one_is_an_array(world: World, client: TestClient) -> None:
    assert submit(world, count=1).size == 1
    assert array_of(client).size == 1


def test_a_job_knows_its_number_and_how_many_there_are(world: World) -> None:
    world.read_offers()
    submit(world, count=2, env={"GODWIT_ARRAY_INDEX": "mine", "A": "1"})
    booted = world.boot()
    told = {}
    for agent in booted:
        (start,) = agent.commands()
        told[start.job_name] = {key: start.env.get(key) for key in ("GODWIT_ARRAY_INDEX", "GODWIT_ARRAY_SIZE", "A")}
    assert told == {f"sweep-{n}": {"GODWIT_ARRAY_INDEX": str(n), "GODWIT_ARRAY_SIZE": "2", "A": "1"} for n in range(2)}


@pytest.mark.embedded
def test_an_array_of_ten_thousand_is_submitted_and_cancelled_in_one_go(world: World, client: TestClient) -> None:
    began = time.process_time()
    submit(world, count=10_000, gpus="H100:1")
    assert time.process_time() - began < 30, "a transaction that nobody else can write beside"
    assert world.rows(schema.jobs) == 10_000
    assert array_of(client).states == {"queued": 10_000}
    assert client.get("/v1/arrays?alive=true").json()["items"][0]["size"] == 10_000
    world.plan_only()
    view = jobs.cancel_array(world.context, "sweep", "token t")
    assert view.states["cancelled"] >= 9_900
    assert sum(view.states.values()) == 10_000


def test_copies_of_a_long_specification_are_bounded(world: World) -> None:
    with pytest.raises(InvalidRequest, match="use a workdir") as refused:
        submit(world, count=10_000, setup="x" * 60_000)
    assert refused.value.problems[0].path == ("count",)
    assert world.rows(schema.jobs) == 0


def test_a_preview_of_an_array_plans_one_of_its_jobs_and_says_how_many_there_are(world: World) -> None:
    world.read_offers()
    view = jobs.preview(world.context, world.shelf, spec("sweep", count=10_000))
    assert view.count == 10_000
    assert len(view.actions) == 1
    assert view.price_usd_per_hour == 20.0


def test_cancelling_an_array_ends_what_waits_and_stops_what_runs(world: World, client: TestClient) -> None:
    world.read_offers()
    submit(world, count=9)
    for agent in world.boot():
        agent.take_on()
    before = array_of(client).states
    assert before["running"] == 8, "as many nodes as both clouds sell"
    view = ArrayView.model_validate_json(client.post("/v1/arrays/sweep/cancel").content)
    assert view.states == {"running": 8, "cancelled": 1}
    world.plan()
    for agent in world.agents:
        agent.take_on()
    world.plan()
    assert array_of(client).states == {"cancelled": 9}
    again = ArrayView.model_validate_json(client.post("/v1/arrays/sweep/cancel").content)
    assert again.states == {"cancelled": 9}
    assert {e.reason for e in world.events("job.cancel")} == {"its owner cancelled array sweep"}


def _finish(world: World, agent: Agent, outcome: str, **more: Any) -> str:
    attempt = next(a for a in agent.live)
    agent.beat(agent.stopped(attempt.attempt_id, 1, outcome, **more))
    with world.db.read() as conn:
        return queries.job(conn, queries.attempt(conn, attempt.attempt_id).job_id).spec.name


def test_an_array_tells_of_its_first_failure_and_explains_it(world: World, client: TestClient) -> None:
    world.read_offers()
    submit(world, count=3)
    for agent in world.boot():
        agent.take_on()
    failed = sorted(_finish(world, agent, "failed", exit_code=7, last_lines=["boom"]) for agent in world.agents[:2])
    _finish(world, world.agents[2], "succeeded")
    view = array_of(client)
    assert view.states == {"succeeded": 1, "failed": 2}
    assert (view.first_failed, view.exit_code) == (failed[0], 7)
    told = ExplainView.model_validate_json(client.get("/v1/arrays/sweep/explain").content)
    assert told.job.name == failed[0]
    assert told.last_lines == ["boom"]
    assert told.array == view
    assert client.get("/v1/arrays?alive=true").json()["items"] == []
    assert len(client.get("/v1/arrays?alive=false&name=sweep").json()["items"]) == 1


def test_an_array_that_waits_is_explained_by_the_first_that_waits(world: World, client: TestClient) -> None:
    submit(world, count=3)
    told = ExplainView.model_validate_json(client.get("/v1/arrays/sweep/explain").content)
    assert told.job.name == "sweep-0"
    assert told.array is not None
    assert told.array.states == {"queued": 3}


def test_a_list_of_jobs_can_leave_out_those_of_arrays(world: World, client: TestClient) -> None:
    submit(world)
    alone = world.submit("alone")
    assert [job["id"] for job in client.get("/v1/jobs?single=true").json()["items"]] == [alone]
    assert len(client.get("/v1/jobs").json()["items"]) == 4


def test_arrays_are_walked_page_by_page_newest_first(world: World, client: TestClient) -> None:
    for name in ("a", "b", "c"):
        submit(world, name, count=1)
    first = client.get("/v1/arrays?limit=2").json()
    rest = client.get(f"/v1/arrays?limit=2&cursor={first['next_cursor']}").json()
    assert [a["name"] for a in (*first["items"], *rest["items"])] == ["c", "b", "a"]


def test_a_name_means_the_newest_array_of_that_name(world: World, client: TestClient) -> None:
    submit(world, count=1)
    submit(world, count=2)
    assert array_of(client).size == 2
    assert len(client.get("/v1/jobs?array=sweep").json()["items"]) == 2


def test_events_of_an_array_are_those_of_its_jobs(world: World, client: TestClient) -> None:
    submit(world)
    world.submit("alone")
    events = client.get("/v1/events?job=sweep").json()["items"]
    assert len(events) == 3
    assert len(client.get("/v1/events?job=sweep-1").json()["items"]) == 1
    assert client.get("/v1/events?job=nobody").status_code == 404


def test_whoever_asks_for_the_job_of_an_arrays_name_is_told_the_names_of_its_jobs(world: World) -> None:
    submit(world)
    with world.db.read() as conn, pytest.raises(NotFound, match="sweep-0 to sweep-2"):
        queries.job(conn, "sweep")
    assert world.job("sweep-1").spec.name == "sweep-1"


def test_a_job_of_an_array_is_shown_as_a_specification_that_makes_one_job(world: World, client: TestClient) -> None:
    submit(world)
    shown = client.get("/v1/jobs/sweep-1").json()["spec"]
    assert (shown["name"], shown["count"]) == ("sweep-1", None)
