"""The light client counts what was answered, and takes nothing for an answer that is none."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks import keep_alive

Serve = Callable[[int, bytes], int]


@contextmanager
def _server(status: int, body: bytes) -> Iterator[int]:
    class Answering(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join(10)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server on loopback that answers every GET with this status and body; returns its port."""
    with ExitStack() as running:
        yield lambda status, body: running.enter_context(_server(status, body))


def test_every_answer_of_a_window_is_counted(serve: Serve) -> None:
    asked = keep_alive.request("GET", "/", "token", 200)
    sent = list[keep_alive.Request]()

    def following() -> keep_alive.Request:
        sent.append(asked)
        return asked

    window = keep_alive.press(serve(200, b"ok"), following, 0.1)
    assert window.answers == len(sent) >= keep_alive.CONNECTIONS
    assert window.last_body == b"ok"
    assert window.seconds >= 0.1


def test_a_refusal_is_an_error_and_not_an_answer(serve: Serve) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)200 expected.*busy"):
        keep_alive.send(serve(503, b"busy"), [keep_alive.request("GET", "/", "token", 200)])
