"""Who comes with thousands is let in before giving up."""

import asyncio
import socket
import time

import pytest
import uvloop
from godwit.control_plane import accepting

COMING = 256


async def _turns_until_all_are_in(listeners: list[socket.socket]) -> int:
    """How many turns of the loop it takes to let in all who wait."""
    loop, turns, inside = asyncio.get_running_loop(), 0, list[asyncio.BaseTransport]()

    class Door(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            inside.append(transport)

    servers = [await loop.create_server(Door, sock=one, backlog=accepting.BACKLOG) for one in listeners]
    deadline = time.monotonic() + 30
    while len(inside) < COMING and time.monotonic() < deadline:
        await asyncio.sleep(0)
        turns += 1
    for transport in inside:
        transport.close()
    for server in servers:
        server.close()
        await server.wait_closed()
    assert len(inside) == COMING
    return turns


@pytest.fixture
def waiting() -> socket.socket:
    """A listening socket at whose door many stand."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    listener.listen(accepting.BACKLOG)
    return listener


def test_many_are_let_in_at_each_turn_of_the_loop(waiting: socket.socket) -> None:
    coming = [socket.create_connection(waiting.getsockname()) for _ in range(COMING)]
    turns = uvloop.run(_turns_until_all_are_in(accepting.several(waiting)))
    assert turns < COMING / 4
    for one in coming:
        one.close()


def test_the_port_is_free_once_all_copies_are_closed(waiting: socket.socket) -> None:
    address = waiting.getsockname()
    for one in accepting.several(waiting):
        one.close()
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(address)
        again.listen()
