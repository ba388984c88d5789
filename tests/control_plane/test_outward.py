"""Whoever names an address that the control plane dials reaches no private network by it, and cannot hold it."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from godwit.control_plane import addresses, outward, prometheus
from godwit.control_plane.outward import Judged, NotDialled
from godwit.control_plane.prometheus import NoNumber


@contextmanager
def answering(*pieces: bytes, every_s: float = 0.0, for_ever: bool = False) -> Iterator[tuple[int, list[bytes]]]:
    """A server on loopback that says this to whoever connects; yields its port, and what it was asked."""
    listener, heard = socket.create_server(("127.0.0.1", 0)), list[bytes]()

    def talk(connection: socket.socket) -> None:
        with connection:
            heard.append(connection.recv(65_536))
            try:
                for piece in pieces:
                    connection.sendall(piece)
                while for_ever:
                    connection.sendall(b"x")
                    time.sleep(every_s)
            except OSError:
                return

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1], heard
    listener.close()


def get(url: str, way: Judged) -> httpx.Response:
    with httpx.Client(transport=way, trust_env=False, timeout=60.0) as client:
        return client.get(url)


def test_a_name_is_looked_up_once_and_dialled_where_it_was_judged() -> None:
    looked = list[str]()

    def rebinding(host: str, _port: int) -> list[str]:
        looked.append(host)
        return ["127.0.0.1"] if len(looked) == 1 else ["169.254.169.254"]

    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi") as (port, heard):
        answer = get(f"http://issuer.example:{port}/x?y=1", Judged(private=True, lookup=rebinding))
    assert (answer.text, looked) == ("hi", ["issuer.example"])
    assert f"Host: issuer.example:{port}".lower().encode() in heard[0].lower()


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"]
)
def test_no_way_to_write_this_machine_is_dialled_without_leave(host: str) -> None:
    with pytest.raises((NotDialled, httpx.InvalidURL)):
        get(f"http://{host}:9/", Judged(private=False))


@pytest.mark.parametrize("host", ["2852039166", "0xa9fea9fe", "169.254.169.254", "[fd00:ec2::254]", "100.100.100.200"])
def test_the_metadata_service_is_not_dialled_even_with_leave(host: str) -> None:
    with pytest.raises(NotDialled, match="link-local"):
        get(f"http://{host}/latest/meta-data/", Judged(private=True))


def test_a_redirect_to_the_metadata_service_is_not_followed() -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"
    with answering(head) as (port, _):
        url = f"http://hook.example:{port}/"
        answer = get(url, Judged(private=True, lookup=lambda *_: ["127.0.0.1"]))
        assert answer.status_code == 302
        with (
            httpx.Client(transport=Judged(private=True), follow_redirects=True, trust_env=False) as client,
            pytest.raises(NotDialled),
        ):
            client.get(f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize("begun", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n"])
def test_who_drips_its_answer_is_cut_off(begun: bytes) -> None:
    with answering(begun, every_s=0.02, for_ever=True) as (port, _), pytest.raises(httpx.HTTPError):
        get(f"http://127.0.0.1:{port}/", Judged(private=True, total_s=0.5))


def test_an_answer_that_came_is_not_cut_off_later() -> None:
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi") as (port, _):
        assert get(f"http://127.0.0.1:{port}/", Judged(private=True, total_s=3_600.0)).text == "hi"
    assert not any(
        isinstance(thread, threading.Timer) and not thread.finished.is_set() for thread in threading.enumerate()
    )


def test_a_prometheus_whose_name_came_to_mean_the_metadata_service_is_not_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(addresses, "resolve", lambda *_: ["169.254.169.254"])
    monkeypatch.setattr(outward.Judged.__init__, "__kwdefaults__", {"lookup": addresses.resolve, "total_s": 5.0})
    with pytest.raises(NoNumber, match="link-local"):
        prometheus.ask("http://prometheus.example:9090", "up")
