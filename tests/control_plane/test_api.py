"""The REST API: who may call, what errors look like, and how lists are walked."""

import hashlib
import sqlite3
from collections.abc import Iterator

import psycopg
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from godwit.control_plane.api import agents, archives, fleet, jobs, roles, streams
from godwit.control_plane.api import errors as api_errors
from godwit.domain import errors
from godwit.domain.wire.pages import ProblemDetails
from godwit.domain.wire.views import ExplainView, JobDetail, JobView, LedgerView, NodeView, PlanView
from pydantic import TypeAdapter
from sqlalchemy.exc import IntegrityError, InternalError, OperationalError, SQLAlchemyError

from tests.control_plane.apis import app_of, client_of
from tests.control_plane.world import World, spec

SPEC = spec().model_dump(exclude_defaults=True)


@pytest.fixture
def client(world: World) -> TestClient:
    """A client with a valid token, on either kind of database."""
    return client_of(world)


def _busy() -> sqlite3.OperationalError:
    busy = sqlite3.OperationalError("database is locked")
    busy.sqlite_errorcode = sqlite3.SQLITE_BUSY_TIMEOUT
    return busy


def problem_of(response: object) -> ProblemDetails:
    assert getattr(response, "headers")["content-type"] == "application/problem+json"  # noqa: B009
    found = ProblemDetails.model_validate_json(getattr(response, "content"))  # noqa: B009
    assert found.status == getattr(response, "status_code")  # noqa: B009
    assert found.detail
    assert found.title
    return found


def routes(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Every method and path that the application serves, as its own description lists them."""
    for path, operations in app.openapi()["paths"].items():
        for method in operations:
            yield method.upper(), path


def test_every_route_wants_a_token_but_those_that_open_to_anybody(embedded: World) -> None:
    app = app_of(embedded)
    anonymous = TestClient(app, raise_server_exceptions=False)
    found = list(routes(app))
    assert len(found) > 20
    for method, path in found:
        url = path.replace("{digest}", "0" * 64).replace("{job}", "x").replace("{node}", "x").replace("{incident}", "x")
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic eDp5"}):
            body = _body_for(app, method, path)
            response = anonymous.request(method, url, headers=headers, json=body)
            if roles.rule_of(method, path).least is roles.Door.ANYBODY:
                # Told, sent on, told that no identity provider is set up, or asked for what is missing.
                assert response.status_code in {200, 303, 404, 422}, (path, response.text)
                continue
            assert response.status_code == 401, (method, path, headers, response.text)
            assert response.headers["www-authenticate"] == "Bearer"
            if method != "HEAD":
                assert problem_of(response).code == "unauthenticated"


def _body_for(app: FastAPI, method: str, path: str) -> object:
    bodies: dict[str, object] = {
        "/v1/jobs": SPEC,
        "/v1/plans": SPEC,
        "/v1/drills": {"kind": "node-loss", "node_id": "x"},
        "/v1/agent/join": {
            "agent_id": "agent-0001", "hostname": "h", "address": "a", "agent_version": "1", "cpus": 1,
            "memory_gib": 1, "gpus": [],
        },
        "/v1/agent/heartbeat": {"agent_id": "agent-0001"},
        "/v1/agent/commands": {"wait_s": 0},
        "/v1/agent/secrets": {"attempt_id": "a"},
        "/v1/agent/certificate": {"csr": "x"},
        "/v1/agent/logs": {"attempt_id": "a", "epoch": 1, "offset": 0, "text": ""},
    }  # fmt: skip
    return bodies.get(path) if method == "POST" else None


def test_no_route_is_hidden_from_the_description(embedded: World) -> None:
    app = app_of(embedded)
    described = {path for _, path in routes(app)}
    parts = (streams, jobs, fleet, archives, agents)
    served = {route.path for part in parts for route in part.router.routes if isinstance(route, APIRoute)}
    assert served <= described
    assert len(served) > 20


@pytest.mark.parametrize(
    "kind", [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, errors.GodwitError)]
)
def test_every_error_is_answered_as_problem_details(kind: type[errors.GodwitError]) -> None:
    app = FastAPI()
    api_errors.install(app)

    @app.get("/")
    def fail() -> None:
        raise kind("what happened, and what to do")

    found = problem_of(TestClient(app, raise_server_exceptions=False).get("/"))
    assert found.status >= 400
    assert found.code == api_errors.code_of(kind("x"))
    assert found.detail == "what happened, and what to do"


def test_a_crash_says_nothing_of_its_inside() -> None:
    app = FastAPI()
    api_errors.install(app)

    @app.get("/")
    def fail() -> None:
        raise RuntimeError("the password is x")

    response = TestClient(app, raise_server_exceptions=False).get("/")
    assert problem_of(response).code == "internal-server-error"
    assert "password" not in response.text


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (OperationalError("SELECT 1", {}, psycopg.OperationalError("the server closed the connection")), 503),
        (OperationalError("SELECT 1", {}, psycopg.errors.QueryCanceled("statement timeout")), 503),
        (
            InternalError(
                "SELECT 1", {}, psycopg.errors.IdleInTransactionSessionTimeout("x"), connection_invalidated=True
            ),
            503,
        ),
        (OperationalError("UPDATE x", {}, _busy()), 503),
        (OperationalError("SELECT x", {}, sqlite3.OperationalError("no such column: x")), 500),
        (IntegrityError("INSERT", {}, psycopg.errors.UniqueViolation("twice")), 500),
    ],
)
def test_who_asks_while_the_database_is_away_is_told_to_ask_again(failure: SQLAlchemyError, status: int) -> None:
    app = FastAPI()
    api_errors.install(app)

    @app.get("/")
    def fail() -> None:
        raise failure

    response = TestClient(app, raise_server_exceptions=False).get("/")
    assert problem_of(response).status == status
    assert ("Retry-After" in response.headers) == (status == 503)


@pytest.mark.parametrize(
    ("method", "url", "status", "code"),
    [
        ("GET", "/v1/jobs/nobody", 404, "not-found"),
        ("GET", "/v1/nothing", 404, "not-found"),
        ("DELETE", "/v1/jobs", 405, "method-not-allowed"),
        ("GET", "/v1/jobs?limit=0", 422, "invalid-request"),
        ("GET", "/v1/jobs?state=happy", 422, "invalid-request"),
        ("GET", "/v1/offers?gpus=H1000:8", 422, "invalid-request"),
        ("GET", "/v1/nodes/nobody", 404, "not-found"),
        ("GET", "/v1/jobs/%00", 404, "not-found"),
        ("POST", "/v1/jobs/nobody/cancel", 404, "not-found"),
        ("GET", "/v1/events?cursor=99999999999999999999", 422, "invalid-request"),
        ("GET", "/v1/jobs/nobody/logs/stream", 404, "not-found"),
        ("PUT", "/v1/archives/" + "0" * 64, 422, "invalid-request"),
    ],
)
def test_a_wrong_request_is_answered_as_problem_details(
    client: TestClient, method: str, url: str, status: int, code: str
) -> None:
    found = problem_of(client.request(method, url))
    assert (found.status, found.code) == (status, code)


def test_a_wrong_method_is_told_which_ones_there_are(client: TestClient) -> None:
    assert "GET" in client.delete("/v1/jobs/x").headers["allow"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"name": "x"}', b'{"name": 1, "run": "x"}'])
def test_a_wrong_body_is_answered_with_the_path_of_what_is_wrong(client: TestClient, body: bytes) -> None:
    response = client.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    found = problem_of(response)
    assert found.status == 422
    assert found.problems


def test_a_wrong_field_is_named_with_what_was_meant(client: TestClient) -> None:
    body = SPEC | {"resources": {"gpus": "H1000:8"}}
    (problem,) = problem_of(client.post("/v1/jobs", json=body)).problems
    assert problem.path == ["resources", "gpus"]
    assert problem.did_you_mean == "H100"


def test_a_job_is_submitted_shown_and_cancelled(client: TestClient) -> None:
    response = client.post("/v1/jobs", json=SPEC, headers={"Idempotency-Key": "k"})
    assert response.status_code == 202
    job = JobView.model_validate_json(response.content)
    assert client.post("/v1/jobs", json=SPEC, headers={"Idempotency-Key": "k"}).json()["id"] == job.id
    assert problem_of(client.post("/v1/jobs", json=SPEC | {"run": "x"}, headers={"Idempotency-Key": "k"})).status == 409
    detail = JobDetail.model_validate_json(client.get(f"/v1/jobs/{job.name}").content)
    assert detail.spec.model_dump(exclude_defaults=True)["run"] == SPEC["run"]
    assert client.post(f"/v1/jobs/{job.id}/cancel").json()["state"] == "cancelled"
    ExplainView.model_validate_json(client.get(f"/v1/jobs/{job.id}/explain").content)
    LedgerView.model_validate_json(client.get(f"/v1/jobs/{job.id}/ledger").content)
    PlanView.model_validate_json(client.post("/v1/plans", json=SPEC).content)


@pytest.mark.parametrize("memory", ["80GB+", "0.00001GB+", "999999.5GB+", "123456.75GB+"])
def test_a_specification_comes_back_as_it_was_written(client: TestClient, memory: str) -> None:
    resources = {
        "gpus": ["H100:8", "H200:8"], "nodes": "2..4", "cpus": 3, "memory": memory, "memory_gib": 7.5,
        "infra": ["cheap/north"], "spot": "never", "fabric": "any",
    }  # fmt: skip
    checkpoint = {"mode": "program", "store": "s3://bucket/x", "interval": "5m..30m", "keep": 5}
    body = SPEC | {"resources": resources, "env": {"A": "1"}, "priority": "high", "retries": {"max": 9}}
    body["checkpoint"] = checkpoint
    job = client.post("/v1/jobs", json=body).json()
    shown = client.get(f"/v1/jobs/{job['id']}").json()["spec"]
    assert {key: shown[key] for key in body} == body | {"resources": shown["resources"]}
    assert {key: shown["resources"][key] for key in resources} == resources


@pytest.mark.parametrize("interval", ["auto", "10m", "90s..2h"])
def test_an_interval_comes_back_as_it_was_written(client: TestClient, interval: str) -> None:
    job = client.post("/v1/jobs", json=SPEC | {"checkpoint": {"interval": interval}}).json()
    assert client.get(f"/v1/jobs/{job['id']}").json()["spec"]["checkpoint"]["interval"] == interval


def test_walking_jobs_page_by_page_shows_each_once_newest_first(client: TestClient, world: World) -> None:
    ids = [world.submit(f"job{n}") for n in range(7)]
    assert _walk(client, "/v1/jobs?limit=2") == ids[::-1]
    assert _walk(client, "/v1/jobs?limit=7&name=job3&state=queued&state=running") == [ids[3]]
    assert client.get("/v1/jobs?limit=7").json()["next_cursor"] is not None


def test_walking_nodes_and_events_page_by_page_shows_each_once_oldest_first(client: TestClient, world: World) -> None:
    world.submit(nodes=3)
    world.boot()
    assert _walk(client, "/v1/nodes?limit=2") == [node.id for node in world.nodes()]
    seqs = _walk(client, "/v1/events?limit=5", "seq")
    assert seqs == [event.seq for event in world.events()]
    assert _walk(client, f"/v1/events?limit=2&after={seqs[-3]}", "seq") == seqs[-2:]
    node = TypeAdapter(list[NodeView]).validate_python(client.get("/v1/nodes").json()["items"])[0]
    assert node.gpus[0].job_id is not None


def _walk(client: TestClient, url: str, key: str = "id") -> list[object]:
    found: list[object] = []
    cursor: str | None = None
    for _ in range(50):
        page = client.get(url if cursor is None else f"{url}&cursor={cursor}").json()
        found += [item[key] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            return found
    raise AssertionError("the pages do not end")


def test_offers_come_cheapest_first_and_say_that_they_are_passed_over(client: TestClient, world: World) -> None:
    world.read_offers()
    offers = client.get("/v1/offers?gpus=H100:8").json()["items"]
    assert [offer["provider"] for offer in offers] == ["cheap", "dear"]
    assert client.get("/v1/offers?infra=dear/south&spot=false").json()["items"][0]["provider"] == "dear"
    assert client.get("/v1/offers?gpus=H200:8").json()["items"] == []
    assert [p["offers"] for p in client.get("/v1/providers").json()["items"]] == [1, 1]


def test_an_archive_is_uploaded_once_and_given_only_to_nodes_whose_job_uses_it(
    client: TestClient, world: World
) -> None:
    content = b"packed"
    digest = hashlib.sha256(content).hexdigest()
    url = f"/v1/archives/{digest}"
    assert client.head(url).status_code == 404
    refused = problem_of(client.post("/v1/jobs", json=SPEC | {"workdir_digest": digest}))
    assert refused.problems[0].path == ["workdir_digest"]
    assert client.put(url, content=content).json() == {"digest": digest, "size_bytes": 6}
    assert client.head(url).status_code == 200
    _, (other,) = world.run("other")
    _, (agent,) = world.run("digits", workdir_digest=digest)
    own = client.get(f"/v1/agent/archives/{digest}", headers={"Authorization": f"Bearer {agent.credential}"})
    assert own.content == content
    foreign = client.get(f"/v1/agent/archives/{digest}", headers={"Authorization": f"Bearer {other.credential}"})
    assert problem_of(foreign).status == 403


def test_only_the_head_of_an_attempt_may_write_its_log(client: TestClient, world: World) -> None:
    job_id, (head, other) = world.run(nodes=2)
    chunk = {"attempt_id": world.attempt(job_id).id, "epoch": 1, "offset": 0, "text": "hello €\n"}
    refused = client.post("/v1/agent/logs", json=chunk, headers={"Authorization": f"Bearer {other.credential}"})
    assert problem_of(refused).status == 403
    stored = client.post("/v1/agent/logs", json=chunk, headers={"Authorization": f"Bearer {head.credential}"})
    assert stored.json() == {"next_offset": 10}
    assert client.get(f"/v1/jobs/{job_id}/logs").text == "hello €\n"
    assert client.get(f"/v1/jobs/{job_id}/logs?tail=0").text == ""


def test_a_persons_token_opens_no_agent_route_and_the_other_way_round(client: TestClient, world: World) -> None:
    _, (agent,) = world.run()
    assert client.post("/v1/agent/heartbeat", json={"agent_id": "agent-0001"}).status_code == 401
    assert client.get("/v1/jobs", headers={"Authorization": f"Bearer {agent.credential}"}).status_code == 401
