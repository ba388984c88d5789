"""A node credential that was stolen reads and changes nothing but its own node's rows, on any route there is."""

import hashlib
import re
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from godwit.control_plane.store import schema
from sqlalchemy import select

from tests.control_plane.apis import app_of
from tests.control_plane.world import Agent, World

DIGEST = hashlib.sha256(b"theirs").hexdigest()


@dataclass
class Theft:
    """The API, the thief's credential, and what belongs to another node."""

    app: FastAPI
    client: TestClient
    thief: Agent
    victim: Agent
    names: dict[str, str]

    @property
    def headers(self) -> dict[str, str]:
        """What the thief presents."""
        return {"Authorization": f"Bearer {self.thief.credential}"}

    def call(self, route: str, body: dict[str, Any] | None = None) -> Any:
        """A request in which every name is the victim's."""
        method, path = route.split()
        path = re.sub(r"\{(\w+)\}", lambda found: self.names.get(found[1], "x"), path)
        return self.client.request(method, path, headers=self.headers, json=body)


@pytest.fixture
def theft(embedded: World) -> Theft:
    _, (thief,) = embedded.run("mine")
    job_id, (victim,) = embedded.run("theirs")
    attempt = embedded.attempt(job_id)
    names = {"job": job_id, "node": victim.node_id, "attempt": attempt.id, "digest": DIGEST, "verb": "drain"}
    app = app_of(embedded)
    return Theft(app, TestClient(app, raise_server_exceptions=False), thief, victim, names)


def rows_of(world: World, node_id: str) -> list[Any]:
    with world.db.read() as conn:
        return [
            conn.execute(select(schema.nodes).where(schema.nodes.c.id == node_id)).all(),
            conn.execute(select(schema.agents).where(schema.agents.c.node_id == node_id)).all(),
            conn.execute(select(schema.attempts).where(schema.attempts.c.slots.contains(node_id))).all(),
            conn.execute(select(schema.intents).where(schema.intents.c.node_id == node_id)).all(),
        ]


def test_on_routes_of_people_and_gateways_it_is_no_credential_at_all(theft: Theft) -> None:
    anybody = {"GET /v1/version", "GET /v1/agent/authorities"}
    for path, methods in theft.app.openapi()["paths"].items():
        for method in methods:
            route = f"{method.upper()} {path}"
            if path.startswith("/v1/agent/") or route in anybody or "login" in path or not path.startswith("/v1/"):
                continue
            answer = theft.call(route)
            # What is let in without a credential, a dead end or a form's mistake, has nothing of anybody.
            # Who logs in has no credential yet: what is sent is looked at, and was nothing.
            assert answer.status_code in {401, 403} or route == "POST /v1/sessions", (route, answer.status_code)
            assert theft.names["job"] not in answer.text, route


def test_on_its_own_routes_it_says_and_hears_nothing_of_another_node(theft: Theft, embedded: World) -> None:
    before = rows_of(embedded, theft.victim.node_id)
    attempt, job_id = {"attempt_id": theft.names["attempt"], "epoch": 1}, theft.names["job"]
    facts = {"hostname": "h", "address": "a", "agent_version": "1", "cpus": 1, "memory_gib": 1.0, "gpus": []}
    stopped = {"type": "attempt-stopped", "seq": 100, "outcome": "succeeded", **attempt}
    beat = {"agent_id": theft.thief.agent_id, "attempts": [attempt], "observations": [stopped]}
    calls: dict[str, tuple[dict[str, Any] | None, set[int]]] = {
        "GET /v1/agent/authorities": (None, {404, 422}),
        "POST /v1/agent/certificate": ({"csr": "x"}, {404}),
        "POST /v1/agent/join": ({"agent_id": theft.victim.agent_id, **facts}, {401}),
        "POST /v1/agent/startup-failure": (None, {401}),
        "POST /v1/agent/heartbeat": (beat, {200}),
        "POST /v1/agent/commands": ({"known": [], "wait_s": 0}, {200}),
        "POST /v1/agent/logs": ({**attempt, "offset": 0, "text": "x"}, {403}),
        "POST /v1/agent/secrets": ({"attempt_id": theft.names["attempt"]}, {403, 404}),
        "GET /v1/agent/archives/{digest}": (None, {403, 404}),
    }
    described = theft.app.openapi()["paths"]
    there = {f"{m.upper()} {path}" for path in described for m in described[path] if path.startswith("/v1/agent/")}
    assert there <= calls.keys(), f"say here what another node's credential gets of {there - calls.keys()}"
    embedded.cancel(job_id)  # so that a command is owed to the victim
    before = rows_of(embedded, theft.victim.node_id)
    for route in sorted(there):
        body, statuses = calls[route]
        answer = theft.call(route, body)
        assert answer.status_code in statuses, (route, answer.text)
        named = [name for name in (job_id, theft.victim.node_id) if name in answer.text]
        assert named == [], route
    assert rows_of(embedded, theft.victim.node_id) == before
    assert embedded.job(job_id).state == "stopping"


def test_it_opens_no_terminal_of_another_node(theft: Theft) -> None:
    from starlette.websockets import WebSocketDisconnect  # noqa: PLC0415 - of this test only

    with (
        pytest.raises(WebSocketDisconnect),
        theft.client.websocket_connect("/v1/agent/terminals/term-x", headers=theft.headers) as line,
    ):
        line.receive()
