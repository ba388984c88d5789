"""What agents ask over HTTP, answered in front of the routes or by them: no agent can tell which it was."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from godwit.control_plane.api import hearing
from godwit.control_plane.api.hearing import Hearing
from godwit.control_plane.brief import among
from godwit.control_plane.crowd import Crowd, bounds_of_process
from godwit.control_plane.services import agents
from godwit.domain.wire.agents import HeartbeatReply, HeartbeatRequest

from tests.control_plane.apis import app_of, served
from tests.control_plane.world import Agent, World

WAIT_S = 30.0


@pytest.fixture(params=["in ASGI", "in the connection"])
def url(request: pytest.FixtureRequest, embedded: World) -> Iterator[str]:
    """A real server over the world, since a poll that waits needs a loop that lives on."""
    app = app_of(embedded)
    heard = Hearing(app, app.state.godwit)
    is_brief = request.param == "in the connection"
    with served(heard, among(Crowd(bounds_of_process()), heard if is_brief else None)) as address:
        yield address


def post(url: str, path: str, agent: Agent, body: dict[str, Any]) -> httpx.Response:
    headers = {"Authorization": f"Bearer {agent.credential}"}
    return httpx.post(f"{url}/v1/agent/{path}", headers=headers, json=body, timeout=WAIT_S)


def beat(url: str, world: World, agent: Agent, **more: Any) -> httpx.Response:
    request = HeartbeatRequest(agent_id=agent.agent_id, sent_at=world.clock.now(), attempts=agent.live)
    return post(url, "heartbeat", agent, json.loads(request.model_dump_json()) | more)


def answered_by_routes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The credentials of heartbeats that came to the route."""
    seen, kept = list[str](), agents.heartbeat

    def noting(context: Any, credential: str, request: HeartbeatRequest) -> HeartbeatReply:
        seen.append(credential)
        return kept(context, credential, request)

    monkeypatch.setattr(agents, "heartbeat", noting)
    return seen


def test_a_heartbeat_that_says_nothing_new_renews_the_lease_and_never_comes_to_its_route(
    url: str, embedded: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, (agent,) = embedded.run()
    seen = answered_by_routes(monkeypatch)
    embedded.clock.advance(2)
    reply = beat(url, embedded, agent)
    assert (reply.status_code, reply.json()["lease_s"]) == (200, 15.0)
    assert set(reply.json()) == {"lease_s", "heartbeat_s", "acknowledged_seq", "fenced"}
    assert embedded.node(agent.node_id).lease_until == embedded.clock.now() + 15.0
    assert seen == []


def test_steps_of_a_program_never_come_to_their_route(
    url: str, embedded: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id, (agent,) = embedded.run()
    seen = answered_by_routes(monkeypatch)
    assert beat(url, embedded, agent, observations=[_step(agent, 7)]).json()["acknowledged_seq"] == agent.seq + 1
    assert _progress(embedded, job_id) == 7
    assert seen == []


def test_all_others_come_to_their_route_as_they_were_sent(
    url: str, embedded: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id, (agent,) = embedded.run()
    seen = answered_by_routes(monkeypatch)
    runs = {**_step(agent, 0), "type": "attempt-running", "seq": agent.seq + 2}
    told = [_step(agent, 7), {name: runs[name] for name in ("type", "seq", "attempt_id", "epoch")}]
    assert beat(url, embedded, agent, observations=told).json()["acknowledged_seq"] == agent.seq + 2
    assert _progress(embedded, job_id) == 7
    assert beat(url, embedded, agent, attempts=[{"attempt_id": "a", "epoch": 1}]).json()["fenced"] == ["a"]
    assert len(seen) == 2
    assert beat(url, embedded, agent, agent_id=3).status_code == 422
    agent.credential += "x"
    assert beat(url, embedded, agent).status_code == 401


def test_a_poll_that_waits_hears_of_a_command_at_once(url: str, embedded: World) -> None:
    job_id, (agent,) = embedded.run()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(post, url, "commands", agent, {"known": [], "wait_s": 20.0})
        _until_held(embedded, agent)
        embedded.cancel(job_id)
        (command,) = asked.result(WAIT_S).json()["commands"]
    assert command["type"] == "stop-attempt"


def test_a_poll_whose_hint_was_lost_hears_of_its_command_all_the_same(
    url: str, embedded: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id, (agent,) = embedded.run()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(post, url, "commands", agent, {"known": [], "wait_s": 25.0})
        _until_held(embedded, agent)
        with monkeypatch.context() as lost:
            lost.setattr(embedded.db, "_announce", lambda _topic: None)
            embedded.cancel(job_id)
        assert asked.result(WAIT_S).json()["commands"]


def test_a_poll_to_which_nothing_is_owed_ends_in_its_time_with_nothing(url: str, embedded: World) -> None:
    _, (agent,) = embedded.run()
    assert post(url, "commands", agent, {"known": [], "wait_s": 0.0}).json() == {"commands": [], "terminals": []}


def test_beyond_what_is_under_way_agents_are_asked_to_come_back(
    url: str, embedded: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, (agent,) = embedded.run()
    let_go, kept, came = threading.Event(), agents.heartbeat, threading.Event()

    def slow(context: Any, credential: str, request: HeartbeatRequest) -> HeartbeatReply:
        came.set()
        assert let_go.wait(WAIT_S)
        return kept(context, credential, request)

    monkeypatch.setattr(agents, "heartbeat", slow)
    monkeypatch.setattr(hearing, "UNDER_WAY_MAX", 1)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(beat, url, embedded, agent, attempts=[])
        assert came.wait(WAIT_S)
        second = beat(url, embedded, agent, attempts=[])
        assert beat(url, embedded, agent).status_code == 200, "what says nothing new needs no turn"
        let_go.set()
        assert first.result(WAIT_S).status_code == 200
    assert second.status_code == 503
    assert second.headers["content-type"] == "application/problem+json"
    assert 1 <= int(second.headers["retry-after"]) <= 3


def test_bodies_that_drip_take_no_turns_from_agents(url: str, embedded: World, monkeypatch: pytest.MonkeyPatch) -> None:
    _, (agent,) = embedded.run()
    monkeypatch.setattr(hearing, "UNDER_WAY_MAX", 1)
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=WAIT_S) as stranger:
        stranger.sendall(b"POST /v1/agent/join HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{")
        for _ in range(3):  # by then its head was read
            assert httpx.get(f"{url}/v1/version", timeout=WAIT_S).status_code == 200
        assert beat(url, embedded, agent, attempts=[]).status_code == 200


def _until_held(world: World, agent: Agent) -> None:
    """Wait until the poll of this node waits for its hint."""
    topic = f"commands/{agent.node_id}"
    deadline = time.monotonic() + WAIT_S
    while topic not in world.hints._waiters:
        assert time.monotonic() < deadline, "the poll is not held"
        time.sleep(0.01)


def _step(agent: Agent, step: int) -> dict[str, Any]:
    live = agent.live[0]
    return {
        "type": "job-progress", "seq": agent.seq + 1, "attempt_id": live.attempt_id, "epoch": live.epoch, "at": 1.0,
        "step": step,
    }  # fmt: skip


def _progress(world: World, job_id: str) -> int | None:
    progress = world.job(job_id).progress
    return None if progress is None else progress.step
