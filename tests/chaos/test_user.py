"""Who asks gateways all the time goes to the other one when one does not answer, and notes what must not be."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.chaos.gateways import WORD, User
from tests.chaos.work import Client
from tests.ports import lasting_port

ANSWERS: dict[str, tuple[int, dict[str, str], str]] = {
    "well": (200, {}, WORD),
    "sheds": (503, {"X-Godwit-Shed": "no-replica", "Retry-After": "1"}, "{}"),
    "forgot": (404, {}, "no such service"),
    "refuses without a word": (503, {}, ""),
    "mixes up": (200, {}, "something else"),
}


class Gateway(BaseHTTPRequestHandler):
    """Answers as it is told to."""

    says = "well"

    def do_GET(self) -> None:
        """One of the answers above."""
        status, headers, body = ANSWERS[Gateway.says]
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_args: object) -> None:
        """Nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    """That of a gateway."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def asked(says: str, *ports: int) -> User:
    """Who asked once."""
    Gateway.says = says
    user = User({str(number): port for number, port in enumerate(ports)}, Client("http://127.0.0.1:9", ""))
    user._ask(ports)
    return user


def test_a_gateway_that_does_not_answer_is_no_matter_while_another_one_does(port: int) -> None:
    user = asked("well", lasting_port(), port)
    assert (user.answered, user.went_on, user.wrong) == (1, 1, [])


def test_what_is_refused_with_a_word_and_may_be_asked_again_is_no_matter(port: int) -> None:
    user = asked("sheds", port)
    assert (user.answered, dict(user.refused), user.wrong) == (0, {"no-replica": 1}, [])


@pytest.mark.parametrize("says", ["forgot", "refuses without a word", "mixes up"])
def test_any_other_answer_is_wrong(port: int, says: str) -> None:
    user = asked(says, port)
    assert (user.answered, user.refused.total(), len(user.wrong)) == (0, 0, 1)


def test_it_is_wrong_that_nobody_answers() -> None:
    assert "no gateway answered" in asked("well", lasting_port(), lasting_port()).wrong[0]
