"""No way round the table of roles: each scope on each route, others' names in questions and bodies, and other doors."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from godwit.control_plane.api.roles import RULES, SCOPES, UNSCOPED, Door, Reach, first_word
from godwit.control_plane.services import tokens
from godwit.domain.access import Role, Scope
from godwit.domain.wire.access import TokenWanted
from starlette.routing import BaseRoute
from starlette.websockets import WebSocketDisconnect

from tests.control_plane.apis import app_of
from tests.control_plane.test_roles import MINE, OTHERS, STREAMS, Tenants, bearer, called
from tests.control_plane.world import World, spec

BESIDE = {"/", "/ui", "/ui/{path:path}", "/openapi.json", "/v1/terminals/{terminal_id}"} | {
    "/v1/agent/terminals/{terminal_id}"
}
"""What is not in the description: files of the dashboard, the description, and terminals."""


@pytest.fixture
def app(embedded: World) -> FastAPI:
    embedded.read_offers()
    return app_of(embedded)


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    return TestClient(app, raise_server_exceptions=False, follow_redirects=False)


def scoped(world: World, *scopes: Scope) -> dict[str, str]:
    made = tokens.make(world.context, TokenWanted(name="scoped", role=Role.ADMIN, scopes=list(scopes)))
    return {"Authorization": f"Bearer {made.secret}"}


def test_each_route_is_reached_with_its_scope_and_with_no_other(client: TestClient, embedded: World) -> None:
    own = {scope: scoped(embedded, scope) for scope in Scope}
    others = {scope: scoped(embedded, *(one for one in Scope if one is not scope)) for scope in Scope}
    for route, rule in RULES.items():
        if isinstance(rule.least, Door) or route in STREAMS or first_word(route.split()[1]) in UNSCOPED:
            continue
        (scope,) = (one for one, words in SCOPES.items() if first_word(route.split()[1]) in words)
        assert called(client, route, others[scope]) == 403, (route, scope)
        assert called(client, route, own[scope]) != 403, (route, scope)


def paths(routes: list[BaseRoute]) -> Iterator[str]:
    """Every path that is served, however deep it is included."""
    for route in routes:
        inner = getattr(route, "original_router", None) or getattr(route, "app", None)
        if within := getattr(inner, "routes", None):
            yield from paths(within)
        elif hasattr(route, "path"):
            yield route.path


def test_what_is_not_in_the_description_is_known_by_name(app: FastAPI) -> None:
    served = set(paths(app.routes))
    assert len(served) > 100, "the walk finds what there is"
    assert served - {route.split()[1] for route in RULES} == BESIDE


def test_no_other_method_opens_a_path(client: TestClient, embedded: World) -> None:
    """HEAD above all: what answers GET may answer it, with the length of what is hidden."""
    headers = bearer(embedded, Role.ADMIN)
    for path in {route.split()[1] for route in RULES}:
        for method in ("HEAD", "GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"):
            if f"{method} {path}" not in RULES:
                assert called(client, f"{method} {path}", {}) in {401, 404, 405}, (method, path)
                assert called(client, f"{method} {path}", headers) in {404, 405, 422}, (method, path)


@pytest.mark.parametrize("path", ["/v1/terminals/terminal-1", "/v1/agent/terminals/terminal-1"])
def test_a_terminal_is_closed_to_whoever_has_not_its_own_token(client: TestClient, embedded: World, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer x"}, bearer(embedded, Role.ADMIN)):
        with pytest.raises(WebSocketDisconnect), client.websocket_connect(path, headers=headers) as socket:
            socket.receive_text()


def test_files_of_the_dashboard_end_at_its_folder(client: TestClient) -> None:
    for path in ("/ui/../../../../etc/passwd", "/ui/%2e%2e/%2e%2e/app.py", "/ui//etc/passwd", "/ui/..%2fapp.py"):
        answer = client.get(path)
        assert "root:" not in answer.text
        assert "create_app" not in answer.text


def test_a_bound_token_is_told_nothing_of_others_whichever_question_names_them(
    client: TestClient, embedded: World
) -> None:
    """Every parameter of every question that it may ask."""
    tenants = Tenants(embedded)
    theirs, headers = tenants.named[OTHERS], tenants.headers[Role.ADMIN]
    described = client.get("/openapi.json").json()["paths"]
    asked = set()
    for route, rule in RULES.items():
        method, path = route.split()
        if method != "GET" or rule.reach not in {Reach.LISTED, Reach.ASKED_JOB, Reach.SHARED} or route in STREAMS:
            continue
        for one in described[path]["get"].get("parameters", ()):
            if one["in"] == "query" and one["name"] in {"project", "job", "array", "name", "service", "cursor"}:
                for value in theirs.values():
                    shown = client.get(path, params={one["name"]: value}, headers=headers)
                    assert shown.status_code in {200, 403, 404, 422}, (route, shown.text)
                    if shown.status_code == 200:
                        assert not [name for name in theirs.values() if f'"{name}' in shown.text], (route, one["name"])
                asked.add((path, one["name"]))
    assert {("/v1/jobs", "project"), ("/v1/costs", "project"), ("/v1/events", "job")} <= asked


def test_a_bound_tokens_job_waits_for_nothing_of_others_and_has_no_secret_of_theirs(
    client: TestClient, embedded: World
) -> None:
    tenants = Tenants(embedded)
    theirs, headers = tenants.named[OTHERS], tenants.headers[Role.MEMBER]
    plain = spec("fresh").model_dump(exclude_defaults=True)
    for more in (
        {"after": [theirs["job"]]},
        {"after": [f"{OTHERS}-job"]},
        {"after": [theirs["array"]]},
        {"secrets": {"STOLEN": theirs["secret"]}},
    ):
        for route in ("/v1/jobs", "/v1/plans"):
            refused = client.post(route, json=plain | more, headers=headers)
            assert refused.status_code in {403, 404, 422}, (route, more, refused.text)
    listed = client.get(f"/v1/jobs?project={MINE}&name=fresh", headers=headers).json()["items"]
    assert listed == []
