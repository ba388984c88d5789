"""What a node of the gang may ask another for: copies of this job's checkpoints, and nothing beside them."""

import http.client
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from godwit.agents.checkpoints.peers import Server
from godwit.agents.checkpoints.store import Store

TOKEN = "t" * 32
AUTH = {"Authorization": f"Bearer {TOKEN}"}


class Fetched:
    """Which copies were fetched."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, name: str, _rank: int) -> None:
        self.names.append(name)


@pytest.fixture
def fetched() -> Fetched:
    return Fetched()


@pytest.fixture
def port(tmp_path: Path, fetched: Fetched) -> Iterator[int]:
    """A server over a folder of copies, beside which lies something that is nobody's business."""
    (tmp_path / "copies" / "manifests").mkdir(parents=True)
    (tmp_path / "copies" / "manifests" / "a.json").write_text("{}")
    (tmp_path / "copies" / "way").symlink_to(tmp_path)
    (tmp_path / "secret").write_text("theirs")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    server = Server("127.0.0.1", number, TOKEN, Store(str(tmp_path / "copies"), {}), fetched)
    yield number
    server.close()


def answered(port: int, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, body, {**AUTH, **headers})
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_a_copy_is_served(port: int) -> None:
    assert answered(port, "GET", "/files?path=manifests/a.json") == (200, b"{}")
    assert answered(port, "GET", "/names/manifests") == (200, b'["a.json"]')


@pytest.mark.parametrize(
    "path",
    [
        "/files?path=../secret", "/files?path=%2e%2e%2fsecret", "/files?path=/etc/passwd", "/files?path=way/secret",
        "/files?path=file:///etc/passwd", "/files?path=manifests/../../secret", "/files?path=", "/files",
        "/files?path=%00", "/names/..", "/names/../", "/names/%2e%2e", "/names/way", "/names//etc",
    ],
)  # fmt: skip
def test_nothing_beside_the_copies_is_served(port: int, path: str) -> None:
    status, body = answered(port, "GET", path)
    assert b"theirs" not in body
    assert b"root:" not in body
    assert b"secret" not in body
    assert status == 404 or body in {b"[]", b'["manifests", "way"]'}


@pytest.mark.parametrize("name", ["..", ".", "", "../../etc", "a.json", "e1-s1.json", "/"])
def test_what_is_no_manifests_name_is_not_fetched(port: int, fetched: Fetched, name: str) -> None:
    """The folder of its data is emptied first: two dots would have meant all copies of this node."""
    assert answered(port, "POST", "/copies", b'{"manifest": "%s", "rank": 1}' % name.encode())[0] == 409
    assert fetched.names == []


def test_a_manifest_is_fetched(port: int, fetched: Fetched) -> None:
    name = b"e000001-s000000000010.json"
    assert answered(port, "POST", "/copies", b'{"manifest": "%s", "rank": 1}' % name)[0] == 201
    assert fetched.names == [name.decode()]


@pytest.mark.parametrize("length", ["-1", "many", "99999999999", "70000", "1e3"])
def test_a_length_that_is_none_is_refused_and_ends_the_connection(port: int, length: str) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(
            f"POST /copies HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {length}\r\n\r\n".encode()
        )
        said = b""
        while block := connection.recv(65_536):
            said += block
    assert said.startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("token", ["", "Bearer", "Bearer wrong", TOKEN])
def test_who_does_not_know_the_token_gets_nothing(port: int, token: str) -> None:
    assert answered(port, "GET", "/names/manifests", Authorization=token) == (401, b"")
