"""Heartbeats and polls answered in their connection, however their bytes come, and in their order."""

import re
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from godwit.control_plane import brief
from godwit.control_plane.api.hearing import Hearing
from godwit.control_plane.brief import among
from godwit.control_plane.crowd import Crowd, bounds_of_process
from godwit.control_plane.services import hearing
from godwit.domain.wire.agents import CommandsRequest, HeartbeatRequest

from tests.control_plane.apis import app_of, served
from tests.control_plane.messages import until
from tests.control_plane.world import Agent, World

DEADLINE_S = 60.0
ASKS = b"GET /v1/version HTTP/1.1\r\nHost: x\r\n\r\n"


class Heard(Hearing):
    """Counts what comes to ASGI from here: an agent of a control plane that had this port before may still ask it."""

    def __init__(self, app: Any, state: Any) -> None:
        super().__init__(app, state)
        self.in_asgi = list[str]()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if (b"host", b"x") in scope["headers"]:
            self.in_asgi.append(scope["path"])
        await super().__call__(scope, receive, send)


@pytest.fixture(name="heard")
def _heard(embedded: World) -> Heard:
    app = app_of(embedded)
    return Heard(app, app.state.godwit)


@pytest.fixture(name="crowd")
def _crowd() -> Crowd:
    return Crowd(bounds_of_process())


@pytest.fixture(name="line")
def _line(heard: Heard, crowd: Crowd) -> Iterator[socket.socket]:
    with served(heard, among(crowd, heard)) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), DEADLINE_S) as line:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield line


def heartbeat(world: World, agent: Agent, *headers: str, **more: Any) -> bytes:
    request = HeartbeatRequest(agent_id=agent.agent_id, sent_at=world.clock.now(), attempts=agent.live)
    return sent("heartbeat", agent, request.model_copy(update=more).model_dump_json().encode(), *headers)


def poll(agent: Agent, wait_s: float) -> bytes:
    return sent("commands", agent, CommandsRequest(wait_s=wait_s).model_dump_json().encode())


def sent(route: str, agent: Agent, body: bytes, *headers: str) -> bytes:
    own = [f"Authorization: Bearer {agent.credential}", "Content-Type: application/json", *headers]
    head = [f"POST /v1/agent/{route} HTTP/1.1", "Host: x", *own, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(head).encode() + body


def answers(line: socket.socket, count: int) -> list[tuple[int, bytes]]:
    """Status and body of so many answers, in their order."""
    found, said = list[tuple[int, bytes]](), b""
    while len(found) < count:
        head, end, rest = said.partition(b"\r\n\r\n")
        length = int(match[1]) if (match := re.search(rb"content-length: (\d+)", head)) else 0
        if end and len(rest) >= length:
            found.append((int(head.split(b" ", 2)[1]), rest[:length]))
            said = rest[length:]
            continue
        piece = line.recv(65_536)
        assert piece, (found, said)
        said += piece
    assert said == b""
    return found


def test_one_connection_carries_many_and_none_comes_to_asgi(
    line: socket.socket, heard: Heard, crowd: Crowd, embedded: World
) -> None:
    _, (agent,) = embedded.run()
    for _ in range(3):
        embedded.clock.advance(1)
        line.sendall(heartbeat(embedded, agent))
        ((status, body),) = answers(line, 1)
        assert status == 200
        assert b'"lease_s":15.0' in body
        assert embedded.node(agent.node_id).lease_until == embedded.clock.now() + 15.0
    assert heard.in_asgi == []
    assert len(crowd._idle) == 1, "it is as idle as one that ASGI has answered"


def test_the_pieces_in_which_it_comes_make_no_difference(line: socket.socket, heard: Heard, embedded: World) -> None:
    _, (agent,) = embedded.run()
    whole = heartbeat(embedded, agent)
    for at in (1, 40, whole.index(b"{"), len(whole) - 1):
        line.sendall(whole[:at])
        time.sleep(0.05)  # two packets; were they one, the test would show less and be as right
        line.sendall(whole[at:])
        assert answers(line, 1)[0][0] == 200
    assert heard.in_asgi == []


def test_answers_come_in_the_order_of_what_was_asked(line: socket.socket, heard: Heard, embedded: World) -> None:
    _, (agent,) = embedded.run()
    line.sendall(heartbeat(embedded, agent) + ASKS + heartbeat(embedded, agent) + heartbeat(embedded, agent) + ASKS)
    found = answers(line, 5)
    assert [status for status, _ in found] == [200] * 5
    assert [b"lease_s" in body for _, body in found] == [True, False, True, True, False]
    assert heard.in_asgi == ["/v1/version"] * 2


@pytest.mark.parametrize("said", ["another attempt", "no good credential", "no heartbeat", "too much"])
def test_what_says_more_is_answered_in_asgi_as_it_came(
    line: socket.socket, heard: Heard, embedded: World, said: str
) -> None:
    _, (agent,) = embedded.run()
    whole, wanted = heartbeat(embedded, agent), 422
    if said == "another attempt":
        whole, wanted = heartbeat(embedded, agent, attempts=[]), 200
    elif said == "no good credential":
        agent.credential += "x"
        whole, wanted = heartbeat(embedded, agent), 401
    elif said == "no heartbeat":
        whole = whole.replace(b"agent_id", b"agent_no")
    else:
        filler = b" " * 200_000
        whole = re.sub(rb"Content-Length: (\d+)", lambda m: b"Content-Length: %d" % (int(m[1]) + 200_000), whole)
        whole, wanted = whole + filler, 200
    line.sendall(whole)
    assert answers(line, 1)[0][0] == wanted
    assert heard.in_asgi == ["/v1/agent/heartbeat"]


def test_what_says_more_is_asked_of_one_group_only(
    line: socket.socket, embedded: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, (agent,) = embedded.run()
    asked, renew = list[int](), hearing.renew

    def counting(context: Any, placed: Any, beats: Any) -> Any:
        asked.append(len(beats))
        return renew(context, placed, beats)

    monkeypatch.setattr(hearing, "renew", counting)
    line.sendall(heartbeat(embedded, agent, attempts=[]))
    assert answers(line, 1)[0][0] == 200
    assert asked == [1]


def test_when_the_group_fails_it_goes_through_asgi(
    line: socket.socket, heard: Heard, embedded: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, (agent,) = embedded.run()

    def failing(*_about: Any) -> Any:
        raise OSError

    monkeypatch.setattr(hearing, "renew", failing)
    line.sendall(heartbeat(embedded, agent))
    assert answers(line, 1)[0][0] == 503
    assert heard.in_asgi == ["/v1/agent/heartbeat"]


def test_who_wants_the_connection_closed_has_it_closed(line: socket.socket, embedded: World) -> None:
    _, (agent,) = embedded.run()
    line.sendall(heartbeat(embedded, agent, "Connection: close"))
    said = b""
    while piece := line.recv(65_536):
        said += piece
    assert b"connection: close" in said
    assert b"lease_s" in said


def test_who_leaves_before_the_answer_harms_nobody(line: socket.socket, crowd: Crowd, embedded: World) -> None:
    _, (agent,) = embedded.run()
    embedded.clock.advance(2)
    line.sendall(heartbeat(embedded, agent))
    line.close()
    until(lambda: len(crowd) == 0, "it left")
    until(lambda: embedded.node(agent.node_id).lease_until == embedded.clock.now() + 15.0, "it was heard")


def test_a_body_that_drips_is_left_to_asgi(
    line: socket.socket, heard: Heard, embedded: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brief, "BODY_S", 0.1)
    _, (agent,) = embedded.run()
    whole = heartbeat(embedded, agent)
    line.sendall(whole[:-1])
    until(lambda: heard.in_asgi, "it is left to ASGI")
    line.sendall(whole[-1:])
    assert answers(line, 1)[0][0] == 200


def test_a_poll_to_which_nothing_is_owed_waits_and_ends_without_asgi(
    line: socket.socket, heard: Heard, embedded: World
) -> None:
    _, (agent,) = embedded.run()
    began = time.monotonic()
    line.sendall(poll(agent, 0.5) + ASKS)
    assert [status for status, _ in answers(line, 2)] == [200, 200]
    assert time.monotonic() - began >= 0.5
    line.sendall(poll(agent, 0.0))
    assert answers(line, 1) == [(200, b'{"commands":[],"terminals":[]}')]
    assert heard.in_asgi == ["/v1/version"]
    assert_none_waits(heard, embedded)


def test_a_poll_that_waits_is_passed_on_when_something_is_owed(
    line: socket.socket, heard: Heard, embedded: World
) -> None:
    job_id, (agent,) = embedded.run()
    line.sendall(poll(agent, 20.0))
    until(lambda: heard._polls._held, "it is held")
    for _ in range(100):  # hints without reason, faster than it is looked
        embedded.hints.announce(f"commands/{agent.node_id}")
    until(lambda: heard._polls._held, "it is held again")
    assert heard.in_asgi == []
    embedded.cancel(job_id)
    ((status, body),) = answers(line, 1)
    assert status == 200
    assert b"stop-attempt" in body
    assert heard.in_asgi == ["/v1/agent/commands"]
    assert_none_waits(heard, embedded)


def test_who_hung_up_is_not_waited_for(line: socket.socket, heard: Heard, embedded: World) -> None:
    _, (agent,) = embedded.run()
    line.sendall(poll(agent, 20.0))
    until(lambda: heard._polls._held, "it is held")
    line.close()
    until(lambda: not heard._polls._held, "nobody waits")
    assert_none_waits(heard, embedded)


def test_a_server_that_ends_answers_polls_at_once(heard: Heard, crowd: Crowd, embedded: World) -> None:
    _, (agent,) = embedded.run()
    with served(heard, among(crowd, heard)) as url:
        host, port = url.removeprefix("http://").split(":")
        line = socket.create_connection((host, int(port)), DEADLINE_S)
        line.sendall(poll(agent, 20.0))
        until(lambda: heard._polls._held, "it is held")
    said = b""
    while piece := line.recv(65_536):
        said += piece
    line.close()
    assert b'{"commands":[],"terminals":[]}' in said
    assert b"connection: close" in said


@pytest.mark.parametrize("said", ["no good credential", "no poll", "too many"])
def test_a_poll_that_is_not_understood_is_the_routes_to_refuse(
    line: socket.socket, heard: Heard, embedded: World, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    _, (agent,) = embedded.run()
    whole, wanted = poll(agent, 0.0), 200
    if said == "no good credential":
        agent.credential += "x"
        whole, wanted = poll(agent, 0.0), 401
    elif said == "no poll":
        whole, wanted = whole.replace(b"wait_s", b"wait_x"), 422
    else:
        monkeypatch.setattr(heard._polls.groups, "_waiting_max", 0)
    line.sendall(whole)
    assert answers(line, 1)[0][0] == wanted
    assert heard.in_asgi == ["/v1/agent/commands"]


def assert_none_waits(heard: Heard, world: World) -> None:
    assert not heard._polls._held
    assert not world.hints._waiters
