"""Bodies and heads that are too large, too slow or too deep: one clear answer, and nothing is kept in memory."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from godwit.control_plane.api import bodies
from godwit.control_plane.connection import Connection
from starlette.types import Message, Receive, Scope, Send

from tests.control_plane.apis import client_of, served
from tests.control_plane.world import World


@pytest.fixture
def client(embedded: World) -> TestClient:
    """The API."""
    return client_of(embedded)


def chunks(size: int) -> Iterator[bytes]:
    yield from (b" " * 1_000 for _ in range(size // 1_000))


def test_a_body_that_says_it_is_too_large_is_not_read(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_BYTES_MAX", 10_000)
    answer = client.post("/v1/jobs", content=b" " * 10_001)
    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")
    assert answer.headers["connection"] == "close"


def test_a_body_without_a_length_is_read_to_the_bound_and_no_further(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "BODY_BYTES_MAX", 10_000)
    answer = client.post("/v1/jobs", content=chunks(11_000), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert "10000 bytes" in answer.json()["detail"]


def test_what_an_agent_may_say_in_one_heartbeat_fits() -> None:
    assert bodies.AGENT_BYTES_MAX > 256 * 50 * 2_048


@pytest.mark.parametrize(
    "body",
    [b"[" * 500_000, b'{"a":' * 200_000, b"1" * 1_000_000, b'"\xff\xfe"', b'{"name": NaN}', b"\x00", b"{}" * 100_000],
    ids=["lists", "mappings", "number", "no text", "no number", "nothing", "twice"],
)
def test_json_that_would_exhaust_a_reader_is_refused(client: TestClient, body: bytes) -> None:
    answer = client.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in {400, 422}
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.content) < 10_000


def test_answers_are_what_they_say_and_no_cache_keeps_them(client: TestClient) -> None:
    answer = client.get("/v1/jobs")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


class Drip:
    """A sender that gives a byte each 10 s of a clock that only it moves."""

    def __init__(self) -> None:
        self.at, self.given = 0.0, 0

    async def __call__(self) -> Message:
        self.at += 10.0
        self.given += 1
        return {"type": "http.request", "body": b" ", "more_body": True}


def test_a_body_that_drips_is_given_up_after_half_a_minute() -> None:
    drip, sent = Drip(), list[Message]()

    async def reads(_scope: object, receive: object, _send: object) -> None:
        while True:
            await receive()  # type: ignore[operator]

    async def send(message: Message) -> None:
        sent.append(message)

    async def run() -> None:
        scope = {"type": "http", "path": "/v1/jobs", "headers": []}
        await bodies.Bodies(reads, now=lambda: drip.at)(scope, drip, send)

    with pytest.raises(Exception, match="slower than"):
        asyncio.run(run())
    assert drip.given <= 4


class Impatient(Connection):
    """The same bounds, reached sooner."""

    head_s, head_bytes_max = 0.3, 4_096


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server whose heads are bounded so; what it serves does not matter."""

    async def answers(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    with served(answers, http=Impatient) as found:
        yield found


def connected(url: str) -> socket.socket:
    host, _, port = url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=60.0)


def said(url: str, *pieces: bytes) -> bytes:
    """Everything that the server says until it closes; fails when it does not close."""
    answer = b""
    with connected(url) as connection, contextlib.suppress(ConnectionResetError, BrokenPipeError):
        for piece in pieces:
            connection.sendall(piece)
        while block := connection.recv(65_536):
            answer += block
    return answer


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        ((b"",), b"408"),
        ((b"GET /v1/ver",), b"408"),
        ((b"GET /v1/version HTTP/1.1\r\nHost: a\r\nX: ",), b"408"),
        ((b"GET /" + b"a" * 5_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",), b"431"),
        ((b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 700,), b"431"),
        ((b"GET / HTTP/1.1\r\nX: ", b"y" * 5_000), b"431"),
        ((b"GET /v1/version HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /v1/version HTTP/1.1\r\nX:"), b"408"),
        ((b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /" + b"a" * 5_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",), b"431"),
        (
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nX: " + b"y" * 3_000, b"y" * 2_000 + b"\r\n\r\n"),
            b"431",
        ),
        ((b"nonsense\r\n\r\n",), b"400"),
        ((b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",), b"400"),
        ((b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",), b"400"),
        ((b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",), b"400"),
    ],
    ids=[
        "nothing",
        "half a line",
        "half a header",
        "target",
        "headers",
        "one header",
        "the second one",
        "behind another",
        "behind another, in pieces",
        "no HTTP",
        "two ends",
        "two lengths",
        "a space that proxies read otherwise",
    ],
)
def test_a_head_that_is_too_long_or_never_ends_is_refused(url: str, pieces: tuple[bytes, ...], status: bytes) -> None:
    assert b"HTTP/1.1 " + status in said(url, *pieces)


def test_a_connection_that_idles_between_requests_is_left_open(url: str) -> None:
    with connected(url) as connection:
        for _ in range(2):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
            time.sleep(Impatient.head_s * 1.5)  # longer than a head may take


def test_what_stands_before_a_head_is_none_of_it(url: str) -> None:
    body = b"b" * 8_000  # twice what a head may have
    asked = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%bGET / HTTP/1.1\r\nHo" % (len(body), body)
    with connected(url) as connection:
        connection.sendall(asked)
        connection.sendall(b"st: a\r\n\r\n")
        answers = b""
        while answers.count(b"HTTP/1.1") < 2:
            answers += connection.recv(65_536)
    assert answers.count(b"HTTP/1.1 200") == 2
