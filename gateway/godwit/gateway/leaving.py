"""What has come when a gateway is asked to leave is read first: whoever closes what is unread resets the client.

Connections wait in the kernel to be accepted, and requests to be read, for as long as the loop is busy with others.
"""

import asyncio
import select
import socket
from collections.abc import Iterable, Sequence

SETTLE_S = 2.0
"""At the most; a busy loop reads what there is in milliseconds. After that, more comes than can be read."""

FIRST_S = 0.25
"""For who has connected and not asked yet: a client that connects does so to ask at once."""

TURN_S = 0.002


async def settled(listeners: Sequence[socket.socket], connections: Iterable[asyncio.BaseProtocol]) -> None:
    """Wait until nothing that has arrived is unread, but for what belongs to requests that are under way.

    `connections` is looked at anew with each turn.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    while (waited_s := loop.time() - began) < SETTLE_S:
        resting = [one for one in list(connections) if _rests(one)]
        fresh = any(getattr(one, "cycle", None) is None for one in resting)
        if not _unread([*listeners, *map(_socket, resting)]) and not (fresh and waited_s < FIRST_S):
            return
        await asyncio.sleep(TURN_S)


def _rests(connection: asyncio.BaseProtocol) -> bool:
    """Whether an HTTP connection has no request under way: what is readable then begins one, or ends it."""
    if not hasattr(connection, "cycle"):
        return False  # a WebSocket
    transport, cycle = getattr(connection, "transport", None), connection.cycle
    return transport is not None and not transport.is_closing() and (cycle is None or cycle.response_complete)


def _socket(connection: asyncio.BaseProtocol) -> socket.socket:
    found: socket.socket = connection.transport.get_extra_info("socket")  # type: ignore[attr-defined]  # `_rests`
    return found


def _unread(sockets: Sequence[socket.socket]) -> bool:
    poll = select.poll()
    for one in sockets:
        if one.fileno() >= 0:
            poll.register(one.fileno(), select.POLLIN)
    return bool(poll.poll(0))
