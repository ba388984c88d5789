"""Tokens, the sessions of browsers that speak for them, and the log of what was done with them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi.testclient import TestClient
from godwit.control_plane.api.access import COOKIE, DASHBOARD_HEADER
from godwit.control_plane.services import audit
from godwit.control_plane.store import access
from godwit.domain.access import Role
from sqlalchemy import Connection, delete, select, text, update
from sqlalchemy.exc import DBAPIError

from tests.control_plane.apis import DEADLINE_S, TOKEN, client_of
from tests.control_plane.world import World

FROM_DASHBOARD = {DASHBOARD_HEADER: "1"}


@pytest.fixture
def admin(embedded: World) -> TestClient:
    """A client with an administrator's token."""
    return client_of(embedded)


def made(admin: TestClient, name: str = "alice", role: str = "member", **more: object) -> dict[str, Any]:
    response = admin.post("/v1/tokens", json={"name": name, "role": role, **more})
    assert response.status_code == 201, response.text
    return dict(response.json())


def browser(admin: TestClient) -> TestClient:
    """A client of the same application without a token, which keeps cookies."""
    return TestClient(admin.app, raise_server_exceptions=False)


def bearer(token: dict[str, Any]) -> dict[str, Any]:
    return {"Authorization": f"Bearer {token['secret']}"}


def test_a_token_is_shown_once_and_listed_without_its_secret(admin: TestClient) -> None:
    alice = made(admin)
    who = browser(admin).get("/v1/sessions/current", headers=bearer(alice)).json()
    admin.app.state.doorkeeper.uses.written(DEADLINE_S)  # type: ignore[attr-defined]
    assert (who["actor"], who["role"], who["is_session"]) == ("alice", "member", False)
    listed = admin.get("/v1/tokens")
    assert alice["secret"] not in listed.text
    (row,) = [row for row in listed.json()["items"] if row["name"] == "alice"]
    assert row["used_at"] is not None


def test_a_revoked_token_ends_at_once_and_its_sessions_with_it(admin: TestClient) -> None:
    alice, chrome = made(admin), browser(admin)
    assert chrome.post("/v1/sessions", json={"token": alice["secret"]}, headers=FROM_DASHBOARD).status_code == 201
    assert chrome.get("/v1/jobs").status_code == 200
    assert admin.delete(f"/v1/tokens/{alice['id']}").json()["revoked_at"] is not None
    for refused in (chrome.get("/v1/jobs"), browser(admin).get("/v1/jobs", headers=bearer(alice))):
        assert refused.status_code == 401
        assert "revoked" in refused.json()["detail"]
    assert admin.delete(f"/v1/tokens/{alice['id']}").status_code == 200, "the same again is the same"


def test_a_token_cannot_revoke_itself(admin: TestClient) -> None:
    assert admin.delete("/v1/tokens/token-test").status_code == 409


def test_an_expired_token_is_told_so(embedded: World) -> None:
    admin = client_of(embedded)
    alice = made(admin, expires_in_s=60)
    embedded.clock.advance(61)
    refused = browser(admin).get("/v1/jobs", headers=bearer(alice))
    assert refused.status_code == 401
    assert "expired" in refused.json()["detail"]


def test_a_token_for_a_project_that_is_not_there_is_refused(admin: TestClient) -> None:
    wanted = {"name": "bob", "role": "member", "project": "nowhere"}
    assert admin.post("/v1/tokens", json=wanted).status_code == 404


def test_a_one_time_code_opens_one_session_with_the_role_of_its_token(world: World) -> None:
    admin = client_of(world)
    alice, chrome = made(admin, role="viewer"), browser(admin)
    code = browser(admin).post("/v1/sessions/codes", headers=bearer(alice)).json()
    assert code["path"] == f"/ui/?code={code['code']}"
    opened = chrome.post("/v1/sessions", json={"code": code["code"]}, headers=FROM_DASHBOARD)
    assert (opened.json()["actor"], opened.json()["role"], opened.json()["is_session"]) == ("alice", "viewer", True)
    cookie = opened.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert chrome.get("/v1/sessions/current").json()["role"] == "viewer"
    assert chrome.post("/v1/breaker/reset", headers=FROM_DASHBOARD).status_code == 403
    again = browser(admin).post("/v1/sessions", json={"code": code["code"]}, headers=FROM_DASHBOARD)
    assert again.status_code == 401


def test_a_code_and_a_session_have_an_end(embedded: World) -> None:
    admin = client_of(embedded)
    code = admin.post("/v1/sessions/codes").json()["code"]
    chrome = browser(admin)
    chrome.post("/v1/sessions", json={"token": TOKEN}, headers=FROM_DASHBOARD)
    assert chrome.get("/v1/jobs").status_code == 200
    embedded.clock.advance(13 * 3600)
    late = browser(admin).post("/v1/sessions", json={"code": code}, headers=FROM_DASHBOARD)
    assert late.status_code == 401
    assert chrome.get("/v1/jobs").status_code == 401


def test_a_session_changes_something_only_with_the_header_that_other_sites_cannot_send(admin: TestClient) -> None:
    chrome = browser(admin)
    assert chrome.post("/v1/sessions", json={"token": TOKEN}).status_code == 403
    chrome.post("/v1/sessions", json={"token": TOKEN}, headers=FROM_DASHBOARD)
    assert chrome.post("/v1/breaker/reset").status_code == 403
    assert chrome.post("/v1/breaker/reset", headers=FROM_DASHBOARD).status_code == 202


def test_a_closed_session_is_over(admin: TestClient) -> None:
    chrome = browser(admin)
    chrome.post("/v1/sessions", json={"token": TOKEN}, headers=FROM_DASHBOARD)
    kept = dict(chrome.cookies)
    assert chrome.delete("/v1/sessions/current", headers=FROM_DASHBOARD).status_code == 204
    assert browser(admin).get("/v1/jobs", headers={"Cookie": f"{COOKIE}={kept[COOKIE]}"}).status_code == 401


def test_no_secret_lies_in_the_database(admin: TestClient, embedded: World) -> None:
    alice, chrome = made(admin), browser(admin)
    code = admin.post("/v1/sessions/codes").json()["code"]
    chrome.post("/v1/sessions", json={"token": alice["secret"]}, headers=FROM_DASHBOARD)
    secret = {alice["secret"], code, chrome.cookies[COOKIE]}
    with embedded.db.read() as conn:
        for table in (access.tokens, access.sessions, access.login_codes, access.audit):
            held = {str(value) for row in conn.execute(select(table)) for value in row}
            assert not [value for value in held for one in secret if one in value], table.name


def test_the_log_says_who_changed_what_and_what_came_of_it(world: World) -> None:
    admin = client_of(world)
    alice = made(admin)
    headers = bearer(alice)
    browser(admin).get("/v1/jobs", headers=headers)
    browser(admin).post("/v1/jobs/nobody/cancel", headers=headers)
    browser(admin).post("/v1/nodes/nobody/drain?secret=hidden", headers=headers)
    browser(admin).post("/v1/jobs/nobody/cancel")
    rows = admin.get("/v1/audit").json()["items"]
    assert [(row["actor"], row["role"], row["route"], row["status"]) for row in rows] == [
        ("alice", "member", "/v1/nodes/{node}/{verb}", 403),
        ("alice", "member", "/v1/jobs/{job}/cancel", 404),
        ("token token-test", "admin", "/v1/tokens", 201),
    ]
    assert rows[0]["path"] == "/v1/nodes/nobody/drain"
    assert [row["seq"] for row in admin.get("/v1/audit?actor=alice&limit=1").json()["items"]] == [3]
    assert [row["seq"] for row in admin.get("/v1/audit?cursor=3&limit=1").json()["items"]] == [2]
    assert audit.check(world.context).is_intact


@pytest.mark.parametrize("verb", ["UPDATE audit SET actor = 'eve'", "DELETE FROM audit"])
def test_the_database_changes_and_removes_no_row(world: World, verb: str) -> None:
    admin = client_of(world)
    made(admin)
    verbs = [verb, "TRUNCATE audit"] if world.db.engine.dialect.name == "postgresql" else [verb]
    for one in verbs:
        with pytest.raises(DBAPIError, match="only added"), world.db.engine.begin() as conn:
            conn.execute(text(one))
    assert admin.get("/v1/audit/check").json()["rows"] == 1


@pytest.mark.parametrize("harm", ["change", "gap"])
def test_a_row_that_was_changed_or_taken_out_is_found(admin: TestClient, embedded: World, harm: str) -> None:
    for name in ("alice", "bob", "carol"):
        made(admin, name)
    table = access.audit
    with _as_its_owner(embedded) as conn:
        second = table.c.seq == 2
        conn.execute(delete(table).where(second) if harm == "gap" else update(table).where(second).values(actor="eve"))
    found = admin.get("/v1/audit/check").json()
    assert (found["is_intact"], found["rows"], found["broken_at"]) == (False, 1, 2)


@pytest.mark.parametrize("harm", ["cut", "written anew"])
def test_what_an_earlier_check_told_shows_what_no_chain_can(admin: TestClient, embedded: World, harm: str) -> None:
    made(admin, "alice"), made(admin, "bob")
    told = admin.get("/v1/audit/check").json()
    known = {"known": f"{told['rows']}:{told['last_hash']}"}
    made(admin, "carol")
    assert admin.get("/v1/audit/check", params=known).json()["is_intact"], "it has grown since"
    with _as_its_owner(embedded) as conn:
        rows = [row._asdict() for row in access.audit_from(conn, 0, 10)]
        conn.execute(delete(access.audit).where(access.audit.c.seq > (1 if harm == "cut" else 0)))
        for row in rows if harm == "written anew" else []:
            access.add_audited(conn, {name: row[name] for name in access.AUDITED if name != "seq"} | {"actor": "eve"})
    assert admin.get("/v1/audit/check").json()["is_intact"], "a chain is a chain"
    found = admin.get("/v1/audit/check", params=known).json()
    assert (found["is_intact"], found["rows"], found["broken_at"]) == (False, 1, 2)
    assert admin.get("/v1/audit/check", params={"known": "2:none"}).status_code == 422


@contextmanager
def _as_its_owner(world: World) -> Iterator[Connection]:
    """Whoever may change tables may also take away what refuses."""
    with world.db.engine.begin() as conn:
        for name in ("audit_no_update", "audit_no_delete"):
            conn.execute(text(f"DROP TRIGGER {name}"))
        yield conn


def test_each_role_may_do_what_the_ones_before_it_may() -> None:
    roles = list(Role)
    assert [[role.may(least) for least in roles] for role in roles] == [
        [True, False, False, False],
        [True, True, False, False],
        [True, True, True, False],
        [True, True, True, True],
    ]
