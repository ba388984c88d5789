"""The table of routes and roles has no hole: every route of the description is called with every role."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from godwit.control_plane.api import security_page
from godwit.control_plane.api.roles import RULES, Door, Reach, Rule
from godwit.control_plane.services import project_secrets, projects, serving, tokens
from godwit.domain.access import Role
from godwit.domain.wire.access import TokenWanted
from godwit.domain.wire.projects import ProjectIn

from tests.control_plane.apis import BEARER, DEADLINE_S, app_of, served
from tests.control_plane.world import World, spec

STREAMS = {route for route in RULES if route.endswith("/stream")}
MINE, OTHERS = "mine", "others"


@pytest.fixture
def app(embedded: World) -> FastAPI:
    return app_of(embedded)


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    """A client without a token."""
    return TestClient(app, raise_server_exceptions=False)


def bearer(world: World, role: Role, project: str | None = None) -> dict[str, str]:
    made = tokens.make(world.context, TokenWanted(name=f"a-{role}", role=role, project=project))
    return {"Authorization": f"Bearer {made.secret}"}


def called(client: TestClient, route: str, headers: dict[str, str], **named: str) -> int:
    """Call a route with names that nothing has, unless given, and without a body; its status."""
    method, path = route.split()
    path = re.sub(
        r"\{(\w+)\}",
        lambda found: named.get(found[1], {"verb": "drain", "digest": "0" * 64, "version": "1"}.get(found[1], "x")),
        path,
    )
    return client.request(method, path, headers=headers).status_code


def test_each_route_of_the_description_has_its_line_and_each_line_its_route(app: FastAPI) -> None:
    described = {f"{method.upper()} {path}" for path, methods in app.openapi()["paths"].items() for method in methods}
    assert described - set(RULES) == set(), "put them into RULES of control_plane/api/roles.py"
    assert set(RULES) - described == set()


def test_the_page_says_what_the_table_says() -> None:
    printed = Path(__file__).parents[2] / "docs" / "security.md"
    again = "python -m godwit.control_plane.api.security_page > docs/security.md"
    assert printed.read_text() == "".join(security_page.page()), f"print it again: {again}"


def test_every_route_is_open_to_the_roles_of_the_table_and_to_nobody_else(client: TestClient, embedded: World) -> None:
    by_role = {role: bearer(embedded, role) for role in Role}
    for route, rule in RULES.items():
        assert called(client, route, {}) == (401 if rule.least is not Door.ANYBODY else _open(route)), route
        assert called(client, route, {"Cookie": "godwit_session=x"}) in {401, 403} or rule.least is Door.ANYBODY, route
        for role, headers in by_role.items():
            if route in STREAMS or isinstance(rule.least, Door):
                continue
            status = called(client, route, headers)
            assert (status == 403) is not role.may(rule.least), (route, role, status)
            assert status not in {401, 500}, (route, role)


def _open(route: str) -> int:
    """What anybody gets who sends nothing along, where no identity provider is set up."""
    if route in {"GET /v1/login/start", "GET /v1/login/callback"}:
        return 404
    return 200 if route in {"GET /v1/version", "GET /v1/login"} else 422


def test_no_persons_token_opens_a_machines_door(client: TestClient, embedded: World) -> None:
    headers = bearer(embedded, Role.ADMIN)
    for route, rule in RULES.items():
        if rule.least is Door.MACHINE:
            assert called(client, route, headers) in {401, 422}, route


def test_streams_are_open_to_viewers(app: FastAPI, embedded: World) -> None:
    job_id = embedded.submit()
    headers = bearer(embedded, Role.VIEWER)
    with served(app) as url, httpx.Client(base_url=url, headers=headers, timeout=DEADLINE_S) as http:
        for route in STREAMS:
            with http.stream("GET", route.split()[1].format(job=job_id)) as response:
                assert response.status_code == 200


def test_a_refusal_says_which_role_is_needed_and_who_gives_it(client: TestClient, embedded: World) -> None:
    refused = client.post("/v1/nodes/x/drain", headers=bearer(embedded, Role.VIEWER))
    assert refused.status_code == 403
    for said in ("operator", "viewer", "administrator", "godwit tokens create"):
        assert said in refused.json()["detail"]


class Tenants:
    """Two projects with a job, an array and a service each, and a member's token that is bound to the first."""

    def __init__(self, world: World) -> None:
        for name in (MINE, OTHERS):
            projects.put(world.context, name, ProjectIn(), "test")
        self.named = {name: dict(self._made(world, name)) for name in (MINE, OTHERS)}
        self.headers = {role: bearer(world, role, MINE) for role in Role}

    def _made(self, world: World, project: str) -> Iterator[tuple[str, str]]:
        yield "project", project
        yield "job", world.submit(f"{project}-job", project=project)
        world.submit(f"{project}-array", project=project, count=2)
        yield "array", f"{project}-array"
        wanted = spec(f"{project}-service", kind="service", project=project, port=8000)
        for value in ("the first", "the second"):
            yield "secret", project_secrets.put(world.context, project, f"{project}-secret", value, "test").name
        yield "service", serving.put(world.context, world.shelf, wanted, "test").name


@pytest.fixture
def tenants(embedded: World) -> Tenants:
    embedded.read_offers()
    return Tenants(embedded)


def of_reach(*reaches: Reach) -> Iterator[tuple[str, Rule]]:
    for route, rule in RULES.items():
        if rule.reach in reaches and isinstance(rule.least, Role) and route not in STREAMS:
            yield route, rule


def test_a_bound_token_reaches_what_is_of_its_project_and_finds_nothing_of_others(
    client: TestClient, tenants: Tenants
) -> None:
    admin = tenants.headers[Role.ADMIN]
    for route, _ in of_reach(Reach.JOB, Reach.ARRAY, Reach.SERVICE, Reach.PROJECT):
        assert called(client, route, admin, **tenants.named[OTHERS]) == 404, route
        assert called(client, route, admin, **tenants.named[MINE]) != 404, route


def test_a_bound_token_does_nothing_with_what_is_about_everybody(client: TestClient, tenants: Tenants) -> None:
    for route, _ in of_reach(Reach.FLEET, Reach.ASKED_JOB):
        assert called(client, route, tenants.headers[Role.ADMIN]) == 403, route


def test_a_bound_token_sees_nothing_of_others_in_any_list(
    client: TestClient, tenants: Tenants, embedded: World
) -> None:
    for agent in embedded.boot():
        agent.take_on()
        agent.beat(agent.found("xid:79", gpu=0))
    embedded.plan()
    theirs = tenants.named[OTHERS]
    assert client.get("/v1/overview", headers=BEARER).json()["broken"]["open_incidents"]
    for route, _ in of_reach(Reach.LISTED):
        shown = client.get(route.split()[1], headers=tenants.headers[Role.VIEWER])
        assert shown.status_code == 200, route
        assert not [name for name in theirs.values() if f'"{name}' in shown.text], route
        assert client.get(route.split()[1], headers=BEARER).status_code == 200


def test_a_bound_token_asks_for_events_of_a_job_of_its_project(client: TestClient, tenants: Tenants) -> None:
    mine, theirs = tenants.named[MINE]["job"], tenants.named[OTHERS]["job"]
    headers = tenants.headers[Role.VIEWER]
    assert client.get(f"/v1/events?job={mine}", headers=headers).json()["items"]
    assert client.get(f"/v1/events?job={theirs}", headers=headers).status_code == 404


def test_a_bound_token_is_not_told_that_others_have_such_an_array(client: TestClient, tenants: Tenants) -> None:
    headers = tenants.headers[Role.VIEWER]
    assert len(client.get(f"/v1/jobs?array={MINE}-array", headers=headers).json()["items"]) == 2
    asked = [client.get(f"/v1/jobs?array={name}", headers=headers) for name in (f"{OTHERS}-array", "nobodys")]
    assert [one.status_code for one in asked] == [404, 404]


def test_a_bound_token_that_asks_for_jobs_of_another_project_gets_none(client: TestClient, tenants: Tenants) -> None:
    def names(project: str, headers: dict[str, str]) -> set[str]:
        return {job["project"] for job in client.get(f"/v1/jobs?project={project}", headers=headers).json()["items"]}

    assert names(MINE, tenants.headers[Role.VIEWER]) == {MINE}
    assert names(OTHERS, tenants.headers[Role.VIEWER]) == set()
    assert names(OTHERS, BEARER) == {OTHERS}


def test_what_a_bound_token_submits_belongs_to_its_project(client: TestClient, tenants: Tenants) -> None:
    headers = tenants.headers[Role.MEMBER]
    asked = spec("fresh").model_dump(exclude_defaults=True)
    assert client.post("/v1/jobs", json=asked, headers=headers).json()["project"] == MINE
    assert client.post("/v1/plans", json=asked | {"project": OTHERS}, headers=headers).status_code == 403
    assert client.post("/v1/jobs", json=asked | {"project": OTHERS}, headers=headers).status_code == 403
    assert client.post("/v1/services", json=asked | {"project": OTHERS}, headers=headers).status_code == 403


def test_what_others_name_alike_is_not_taken_for_ones_own(
    client: TestClient, tenants: Tenants, embedded: World
) -> None:
    """The newest job of a name is meant, whoever's it is: then a bound token must use the id."""
    embedded.submit(f"{MINE}-job", project=OTHERS)
    headers = tenants.headers[Role.MEMBER]
    assert client.post(f"/v1/jobs/{MINE}-job/cancel", headers=headers).status_code == 404
    cancelled = client.post(f"/v1/jobs/{tenants.named[MINE]['job']}/cancel", headers=headers)
    assert cancelled.json()["state"] == "cancelled"
