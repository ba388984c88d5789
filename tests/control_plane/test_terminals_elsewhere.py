"""A terminal whose person, and whose node, reach other control planes than the one at which it waits."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from godwit.agents.dev.relaying import Terminals as Lines
from godwit.agents.link import Link
from godwit.control_plane import embedded, peers
from godwit.control_plane.api import relays
from godwit.control_plane.api import terminals as terminals_api
from godwit.control_plane.api.app import create_app
from godwit.control_plane.api.state import State
from godwit.control_plane.services.terminals import Terminals
from godwit.control_plane.settings import Settings
from godwit.domain.wire.agents import CommandsRequest
from structlog.testing import capture_logs
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.agents.dev.desks import Running
from tests.control_plane.apis import BEARER, accounts_of, app_of, served
from tests.control_plane.world import Agent, World

BYTES = 300_000
PATIENCE_S = 120.0
"""On a machine that is many times slower than it should be."""


class Planes:
    """Three control planes on one database, an environment with a real desk, and the agent of its node."""

    def __init__(self, world: World, folder: Path, urls: list[str]) -> None:
        self.world, self.urls, self._node_dir = world, urls, folder / "node"
        self.job_id, (self.agent,) = world.run("box", kind="dev", run=":")
        self.desk = Running(self._node_dir / "attempts" / world.attempt(self.job_id).id)

    def opened(self, at: str, *argv: str) -> dict[str, Any]:
        """A terminal that was asked for at one of them."""
        asked = {"argv": list(argv), "tty": False}
        answer = httpx.post(f"{at}/v1/jobs/{self.job_id}/terminals", json=asked, headers=BEARER, timeout=PATIENCE_S)
        answer.raise_for_status()
        return dict(answer.json())

    def told(self, at: str, agent: Agent | None = None) -> list[str]:
        """The terminals that the node hears of when it asks this one."""
        headers = {"Authorization": f"Bearer {(agent or self.agent).credential}"}
        answer = httpx.post(
            f"{at}/v1/agent/commands", json={"known": [], "wait_s": 0}, headers=headers, timeout=PATIENCE_S
        )
        return [one["intent_id"] for one in answer.raise_for_status().json()["terminals"]]

    def polling(self, at: str, over: threading.Event) -> threading.Thread:
        """The agent's own code, which asks this one and dials where it asks."""
        link = Link(at, self.agent.credential)
        lines = Lines(self._node_dir, at, self.agent.credential)

        def poll() -> None:
            while not over.wait(0.05):  # the world's clock stands still: a poll that waits would wait for ever
                lines.take(link.commands(CommandsRequest(known=lines.known(), wait_s=0)).terminals)

        return threading.Thread(target=poll)


def dialled(at: str, opened: dict[str, Any]) -> ClientConnection:
    headers = {"Authorization": f"Bearer {opened['token']}"}
    return connect(
        f"{at}/v1/terminals/{opened['id']}".replace("http", "ws", 1),
        additional_headers=headers,
        open_timeout=PATIENCE_S,
    )


def output(line: ClientConnection) -> tuple[bytes, int]:
    """All that comes, and the exit code at its end."""
    found = b""
    for message in line:
        if isinstance(message, str):
            return found, int(json.loads(message)["exit"])
        found += message
    raise AssertionError("the line was cut")


@pytest.fixture
def planes(embedded: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Planes]:
    for module, name in ((relays, "DIAL_S"), (relays, "ASK_S"), (terminals_api, "JOIN_S")):
        monkeypatch.setattr(module, name, PATIENCE_S)
    app_of(embedded)  # its token is known from here on
    with ExitStack() as stack:
        urls = []
        for _ in range(3):
            terminals = Terminals()
            state = State(
                embedded.context, embedded.shelf, embedded.logs, accounts_of(embedded), dict, terminals=terminals
            )
            terminals.url = stack.enter_context(served(create_app(state)))
            urls.append(terminals.url)
        planes = Planes(embedded, tmp_path, urls)
        yield planes
        planes.desk.process.kill()
        planes.desk.process.wait()


def test_the_person_asks_at_one_dials_another_and_the_node_comes_to_a_third(planes: Planes) -> None:
    asked_at, dialled_at, of_node = planes.urls
    over = threading.Event()
    polling = planes.polling(of_node, over)
    polling.start()
    try:
        opened = planes.opened(asked_at, "sh", "-c", "cat; exit 5")
        with dialled(dialled_at, opened) as line:
            for _ in range(BYTES // 10_000):
                line.send(b"x" * 10_000)
            line.send(json.dumps({"end": True}))
            found, code = output(line)
        assert (len(found), code) == (BYTES, 5)
    finally:
        over.set()
        polling.join()


def test_only_its_own_node_hears_of_it_and_nobody_is_told_what_was_asked_for(planes: Planes) -> None:
    asked_at, other, _ = planes.urls
    _, (stranger,) = planes.world.run("digits")
    opened = planes.opened(asked_at, "a secret")
    assert planes.told(other) == planes.told(asked_at) == [opened["id"]]
    assert planes.told(other, stranger) == []
    with planes.world.db.read() as conn:
        rows = conn.exec_driver_sql("SELECT * FROM lines").all()
    assert "secret" not in str(rows)


def test_a_line_is_carried_with_its_own_token_only(planes: Planes) -> None:
    asked_at, other, _ = planes.urls
    opened = planes.opened(asked_at, "true")
    with pytest.raises(InvalidStatus):
        dialled(other, {**opened, "token": "wrong"})
    with pytest.raises(InvalidStatus):
        dialled(other, {**opened, "id": "term-unknown"})


def test_what_was_carried_once_is_not_carried_on(planes: Planes) -> None:
    asked_at, other, _ = planes.urls
    opened = planes.opened(asked_at, "true")
    headers = {"Authorization": f"Bearer {opened['token']}", "X-Godwit-Carried": "1"}
    with pytest.raises(InvalidStatus):
        connect(
            f"{other}/v1/terminals/{opened['id']}".replace("http", "ws", 1),
            additional_headers=headers,
            open_timeout=PATIENCE_S,
        )


def test_a_control_plane_that_is_gone_keeps_nobody_waiting(planes: Planes) -> None:
    _, other, _ = planes.urls
    with planes.world.db.write() as tx:
        node_id, now = planes.agent.node_id, planes.world.clock.now()
        values = ("term-gone", node_id, "http://127.0.0.1:9", now)
        tx.conn.exec_driver_sql("INSERT INTO lines (terminal_id, node_id, url, asked_at) VALUES (?, ?, ?, ?)", values)
    assert planes.told(other) == []
    with pytest.raises(InvalidStatus):
        dialled(other, {"id": "term-gone", "token": "any"})


def test_an_address_is_what_is_given_or_where_it_listens() -> None:
    assert peers.own_url("127.0.0.1", 7461) == "http://127.0.0.1:7461"
    assert peers.own_url("10.0.0.7", 7461) == "http://10.0.0.7:7461"
    assert peers.own_url("0.0.0.0", 7461, "http://pod:7461") == "http://pod:7461"
    host = urlsplit(peers.own_url("0.0.0.0", 7461)).hostname or ""
    assert host.count(".") == 3
    assert host != "0.0.0.0"
    socket.create_server((host, 0)).close()  # it is an address of this machine


@pytest.mark.parametrize(
    ("named", "outgoing", "best"),
    [
        ("10.0.0.7", "10.9.9.9", "10.0.0.7"),  # a container, or a machine with a good /etc/hosts
        ("127.0.1.1", "10.0.0.7", "10.0.0.7"),  # Debian
        ("127.0.0.1", "10.0.0.7", "10.0.0.7"),
        ("", "10.0.0.7", "10.0.0.7"),
        ("127.0.1.1", "", "127.0.1.1"),
        ("127.0.1.1", "0.0.0.0", "127.0.1.1"),
        ("127.0.1.1", "169.254.1.1", "127.0.1.1"),
        ("", "", "127.0.0.1"),
    ],
)
def test_of_every_address_it_is_one_that_another_machine_may_reach(named: str, outgoing: str, best: str) -> None:
    assert peers.best_of(named, outgoing) == best


def test_two_machines_that_are_themselves_by_name_do_not_have_one_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostbyname", lambda _name: "127.0.1.1")
    monkeypatch.setattr(peers, "_outgoing", lambda: "10.0.0.7")
    assert peers.own_url("0.0.0.0", 7461) == "http://10.0.0.7:7461"


@pytest.mark.parametrize(
    ("settings", "is_warned"),
    [
        ({"replica": "a"}, True),
        ({"replica": "a", "listen": "0.0.0.0"}, True),
        ({"replica": "a", "listen": "10.0.0.7"}, False),
        ({"replica": "a", "peer_url": "http://10.0.0.7:7461"}, False),
        ({}, False),
    ],
)
def test_a_control_plane_with_a_name_and_no_address_for_others_says_so(
    settings: dict[str, str], is_warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "_named", lambda: "127.0.1.1")
    monkeypatch.setattr(peers, "_outgoing", lambda: "")
    with capture_logs() as said, socket.create_server(("127.0.0.1", 0)) as listener:
        embedded._own_url(Settings(Path("home"), **settings), listener)  # type: ignore[arg-type]
    assert ["GODWIT_PEER_URL" in str(one["event"]) for one in said] == [True] * is_warned
