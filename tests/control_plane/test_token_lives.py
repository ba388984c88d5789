"""Tokens that are narrowed to scopes, get another text, end elsewhere at once, and whose last use is known."""

import threading
import time
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from godwit.control_plane.api import access as doors
from godwit.control_plane.api.access import COOKIE, DASHBOARD_HEADER
from godwit.control_plane.api.app import create_app
from godwit.control_plane.api.roles import RULES, SCOPES, UNSCOPED, Door, first_word, within
from godwit.control_plane.api.state import State
from godwit.control_plane.hints import Hints
from godwit.control_plane.services import tokens
from godwit.control_plane.store.database import Database, open_engine
from godwit.control_plane.wakes import Listener
from godwit.domain.access import Scope

from tests.control_plane.apis import BEARER, DEADLINE_S, accounts_of, client_of
from tests.control_plane.test_tokens import bearer, browser, made
from tests.control_plane.world import World

HOUR = 3600.0


@pytest.fixture
def admin(embedded: World) -> TestClient:
    return client_of(embedded)


def test_a_scope_holds_whole_words_of_paths_and_each_word_is_of_one_scope() -> None:
    words = [word for of in SCOPES.values() for word in of]
    assert len(words) == len(set(words))
    assert set(SCOPES) == set(Scope)
    assert not set(words) & set(UNSCOPED)


def test_every_scope_reaches_some_routes_and_none_reaches_all() -> None:
    roles = [route.split()[1] for route, rule in RULES.items() if not isinstance(rule.least, Door)]
    for scope in Scope:
        reached = {path for path in roles if within([scope], path)}
        assert {path for path in reached if first_word(path) not in UNSCOPED}, scope
        assert reached < set(roles)
    assert not within([Scope.JOBS], "/v1/a-route-that-nobody-sorted")
    assert within([], "/v1/a-route-that-nobody-sorted")


def test_a_narrowed_token_reaches_its_groups_of_routes_and_nothing_else(admin: TestClient) -> None:
    ci = made(admin, "ci", "admin", scopes=["jobs", "metrics"])
    assert ci["scopes"] == ["jobs", "metrics"]
    client = browser(admin)
    for path, status in {
        "/v1/jobs": 200, "/v1/arrays": 200, "/metrics": 200, "/v1/sessions/current": 200, "/v1/services": 403,
        "/v1/tokens": 403, "/v1/audit": 403, "/v1/nodes": 403, "/v1/projects": 403,
    }.items():  # fmt: skip
        assert client.get(path, headers=bearer(ci)).status_code == status, path
    refused = client.post("/v1/tokens", json={"name": "more", "role": "admin"}, headers=bearer(ci))
    assert refused.status_code == 403
    assert "jobs, metrics" in refused.json()["detail"]


def test_a_session_is_as_narrow_as_its_token(admin: TestClient) -> None:
    ci, chrome = made(admin, "ci", "viewer", scopes=["jobs"]), browser(admin)
    chrome.post("/v1/sessions", json={"token": ci["secret"]}, headers={DASHBOARD_HEADER: "1"})
    assert COOKIE in chrome.cookies
    assert chrome.get("/v1/sessions/current").json()["scopes"] == ["jobs"]
    assert [chrome.get(path).status_code for path in ("/v1/jobs", "/v1/services")] == [200, 403]


def test_an_unknown_scope_is_refused(admin: TestClient) -> None:
    wanted = {"name": "ci", "role": "member", "scopes": ["everything"]}
    assert admin.post("/v1/tokens", json=wanted).status_code == 422


def test_a_rotated_token_has_two_texts_until_the_overlap_is_over(embedded: World) -> None:
    admin = client_of(embedded)
    old = made(admin, "ci", "member", scopes=["jobs"], expires_in_s=10 * HOUR)
    embedded.clock.advance(HOUR)
    rotated = admin.post(f"/v1/tokens/{old['id']}/rotate", json={"overlap_s": HOUR})
    assert rotated.status_code == 201
    new = rotated.json()
    assert (new["name"], new["role"], new["scopes"]) == ("ci", "member", ["jobs"])
    assert new["expires_at"] == embedded.clock.now() + 10 * HOUR, "it lasts as long as the first did"
    assert new["secret"] != old["secret"]
    client = browser(admin)
    assert [client.get("/v1/jobs", headers=bearer(one)).status_code for one in (old, new)] == [200, 200]
    embedded.clock.advance(HOUR)
    assert [client.get("/v1/jobs", headers=bearer(one)).status_code for one in (old, new)] == [401, 200]
    assert admin.post(f"/v1/tokens/{old['id']}/rotate", json={}).status_code == 409


def test_rotating_never_lengthens_what_ends_before(embedded: World) -> None:
    admin = client_of(embedded)
    old = made(admin, "ci", "member", expires_in_s=60)
    admin.post(f"/v1/tokens/{old['id']}/rotate", json={"overlap_s": HOUR})
    embedded.clock.advance(61)
    assert browser(admin).get("/v1/jobs", headers=bearer(old)).status_code == 401


def test_an_overlap_of_nothing_ends_the_old_text_at_once(admin: TestClient) -> None:
    old = made(admin)
    assert admin.post(f"/v1/tokens/{old['id']}/rotate", json={"overlap_s": 0}).status_code == 201
    assert browser(admin).get("/v1/jobs", headers=bearer(old)).status_code == 401


def test_the_token_of_a_home_is_not_rotated_but_told_how(admin: TestClient) -> None:
    refused = admin.post("/v1/tokens/token-test/rotate", json={})
    assert refused.status_code == 409
    assert "remove the file" in refused.json()["detail"]
    assert admin.post("/v1/tokens/token-nobody/rotate", json={}).status_code == 404


def test_the_last_use_is_written_once_a_minute_and_beside_the_request(
    embedded: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = client_of(embedded)
    alice, client, began = made(admin), browser(admin), embedded.clock.now()
    uses = admin.app.state.doorkeeper.uses  # type: ignore[attr-defined]
    free, note = threading.Event(), tokens.note_use

    def held(*words: object) -> None:
        assert free.wait(DEADLINE_S)
        note(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(tokens, "note_use", held)
    assert client.get("/v1/jobs", headers=bearer(alice)).status_code == 200, "nobody waits for what is not written yet"
    free.set()
    for later in (30.0, 40.0):
        embedded.clock.advance(later)
        client.get("/v1/jobs", headers=bearer(alice))
        uses.written(DEADLINE_S)
        (row,) = [row for row in admin.get("/v1/tokens").json()["items"] if row["name"] == "alice"]
        assert row["used_at"] == (began if later == 30.0 else began + 70.0)


def test_what_is_revoked_at_one_replica_ends_at_the_other_by_the_databases_word(
    postgres_database_of_module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doors, "CACHE_S", 3600.0)  # so that nothing else can be the cause
    worlds, listeners = [], []
    for name in ("a", "b"):
        hints = Hints()
        engine = open_engine(postgres_database_of_module)
        worlds.append(World(Database(engine, hints.announce, sender=name), hints, tmp_path / name))
        listeners.append(Listener(postgres_database_of_module, name, hints.announce))
    here = client_of(worlds[0])
    there = TestClient(_second(worlds[1]), raise_server_exceptions=False)
    try:
        for listener in listeners:
            listener.start()
        _until_heard(worlds[0], worlds[1])
        alice = made(here)
        assert there.get("/v1/jobs", headers=bearer(alice)).status_code == 200
        here.delete(f"/v1/tokens/{alice['id']}", headers=BEARER)
        revoked_at, deadline = time.monotonic(), time.monotonic() + DEADLINE_S
        while there.get("/v1/jobs", headers=bearer(alice)).status_code == 200:
            assert time.monotonic() < deadline, "the other replica was not told"
            time.sleep(0.01)
        print(f"refused at the other replica {1000 * (time.monotonic() - revoked_at):.0f} ms after it was revoked")
    finally:
        for listener, world in zip(listeners, worlds, strict=True):
            listener.stop()
            world.db.close()


def _second(world: World) -> FastAPI:
    """An application over a database that knows the token already."""
    return create_app(State(world.context, world.shelf, world.logs, accounts_of(world), dict))


def _until_heard(here: World, there: World) -> None:
    """Wait until the other listens: what was said before is not heard."""
    deadline = time.monotonic() + DEADLINE_S
    while there.hints.count("are-you-there") == 0:
        assert time.monotonic() < deadline, "the other does not listen"
        with here.db.write() as tx:
            tx.hint("are-you-there")
        time.sleep(0.01)
