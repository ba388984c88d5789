"""A flood of connections takes none from those who say something: the one that was idle for longest is closed."""

import resource
import socket
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from godwit.control_plane import crowd as crowds
from godwit.control_plane.brief import among
from godwit.control_plane.crowd import Bounds, Crowd, bounds_of_process
from hypothesis import given
from hypothesis import strategies as st

from tests.control_plane.apis import BEARER, app_of, served
from tests.control_plane.world import World

DEADLINE_S = 60.0
ASKS = b"GET /v1/version HTTP/1.1\r\nHost: x\r\n\r\n"


class Caller:
    """A client of one connection, from an address of its own if wanted."""

    def __init__(self, url: str, address: str = "127.0.0.1") -> None:
        host, port = url.removeprefix("http://").split(":")
        self.socket = socket.create_connection((host, int(port)), DEADLINE_S, source_address=(address, 0))

    def ask(self) -> int:
        """The status that it gets; the connection stays open."""
        self.socket.sendall(ASKS)
        return self.answer()

    def answer(self) -> int:
        found = b""
        while b"\r\n\r\n" not in found:
            piece = self.socket.recv(65_536)
            if not piece:
                raise ConnectionResetError
            found += piece
        return int(found.split(b" ", 2)[1])

    def is_closed(self) -> bool:
        """Whether the server has closed it, which is waited for."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_oldest_idle_one_is_closed_for_one_that_comes(embedded: World) -> None:
    crowd = Crowd(Bounds(4, 4))
    with served(app_of(embedded), among(crowd, None)) as url:
        callers = [Caller(url) for _ in range(4)]
        assert [one.ask() for one in callers] == [200] * 4
        assert callers[0].ask() == 200, "so that the second is idle for longest"
        assert Caller(url).ask() == 200
        assert callers[1].is_closed()
        assert [callers[n].ask() for n in (0, 2, 3)] == [200] * 3


def test_a_flood_from_one_address_leaves_the_others_alone(embedded: World) -> None:
    crowd = Crowd(Bounds(8, 6))
    with served(app_of(embedded), among(crowd, None)) as url:
        agents = [Caller(url, f"127.0.0.{n}") for n in (2, 3)]
        assert [one.ask() for one in agents] == [200] * 2
        flood = [Caller(url) for _ in range(40)]
        assert flood[-1].ask() == 200
        assert len(crowd) == 8
        assert [one.ask() for one in agents] == [200] * 2, "they were never closed"


def test_who_is_closed_or_refused_is_counted(embedded: World) -> None:
    instruments = embedded.context.instruments
    crowd = Crowd(Bounds(1, 1), instruments.connection_ended)
    instruments.connections(lambda: len(crowd))
    with served(app_of(embedded), among(crowd, None)) as url:
        callers = [Caller(url) for _ in range(3)]
        assert callers[-1].ask() == 200
        said = httpx.get(f"{url}/metrics", headers=BEARER, timeout=DEADLINE_S).text
    assert "godwit_connections 1.0" in said
    assert 'godwit_connections_ended_total{outcome="closed"} 3.0' in said
    assert 'godwit_connections_ended_total{outcome="refused"} 0.0' in said


def test_what_is_under_way_is_not_closed_and_who_comes_is_told_to_come_again(embedded: World) -> None:
    embedded.submit("first")
    crowd = Crowd(Bounds(1, 1))
    with (
        served(app_of(embedded), among(crowd, None)) as url,
        httpx.stream("GET", f"{url}/v1/events/stream", headers=BEARER, timeout=DEADLINE_S) as stream,
    ):
        pieces = stream.iter_text()
        next(pieces)
        late = Caller(url)
        assert late.answer() == 503
        assert late.is_closed()
        second = embedded.submit("second")
        assert second in next(pieces)


def test_one_that_left_makes_room(embedded: World) -> None:
    crowd = Crowd(Bounds(2, 2))
    with served(app_of(embedded), among(crowd, None)) as url:
        for _ in range(5):
            caller = Caller(url)
            assert caller.ask() == 200
            caller.socket.close()
            until(lambda: len(crowd) == 0)


STEPS = st.lists(st.tuples(st.sampled_from(["enter", "work", "rest", "leave"]), st.integers(0, 9)), max_size=80)


@given(STEPS, st.integers(1, 5), st.integers(1, 5))
def test_bounds_hold_and_only_the_longest_idle_go(steps: list[tuple[str, int]], in_all: int, of_address: int) -> None:
    crowd = Crowd(Bounds(in_all, of_address))
    there: dict[int, str] = {}
    idle: list[int] = []
    for step, (what, number) in enumerate(steps):
        if what == "enter":
            address = f"10.0.0.{number % 3}"
            own = [one for one in idle if there[one] == address]
            is_full = list(there.values()).count(address) >= of_address
            comes, leaving = crowd.enter(step, address)
            if is_full or len(there) >= in_all:
                wanted = own if is_full else idle
                assert (comes, leaving) == ((True, wanted[0]) if wanted else (False, None))
            else:
                assert (comes, leaving) == (True, None)
            if leaving is not None:
                del there[leaving]
                idle.remove(leaving)
            if comes:
                there[step] = address
                idle.append(step)
        elif there:
            one = sorted(there)[number % len(there)]
            getattr(crowd, what)(one)
            if one in idle and what != "rest":
                idle.remove(one)
            if what == "leave":
                del there[one]
            if what == "rest" and one not in idle:
                idle.append(one)
        assert len(crowd) == len(there) <= in_all
        assert max(Counter(there.values()).values(), default=0) <= of_address


@pytest.mark.parametrize(
    ("files", "in_all"),
    [(65_536, crowds.MOST), (1_024, 768), (256, crowds.LEAST), (resource.RLIM_INFINITY, crowds.MOST)],
)
def test_there_is_room_for_what_open_files_allow(monkeypatch: pytest.MonkeyPatch, files: int, in_all: int) -> None:
    limits: Any = lambda _which: (files, files)  # noqa: E731
    monkeypatch.setattr(resource, "getrlimit", limits)
    bounds = bounds_of_process()
    assert bounds == Bounds(in_all, int(in_all * 0.75))
