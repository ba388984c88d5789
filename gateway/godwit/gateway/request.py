"""A request on its way through the gateway, and its body as the client sends it."""

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from godwit.domain.wire.routes import KeyRoute
from godwit.gateway.exchange import Exchange
from godwit.gateway.finding import Found
from godwit.gateway.http import REQUEST_ID, Headers, Receive, Scope, Send, first
from godwit.gateway.regulator.replicas import Outcome
from godwit.gateway.tracing import Trace

BUFFER_BYTES = 1024 * 1024
"""A body up to so long is read whole, so that it can be sent again; a longer one goes by piece by piece."""


class TooLarge(Exception):
    """The body of a request is larger than its service takes."""


class ClientLeft(Exception):
    """The client left, or was silent for too long, in the middle of its request."""


@dataclass(slots=True)
class Request:
    """One request on its way through. Times are the loop's."""

    scope: Scope
    receive: Receive
    send: Send
    id: str
    began: float
    headers: Headers
    key: KeyRoute | None = None
    found: Found | None = None
    body: bytes | AsyncIterator[bytes] | None = None
    delay_s: float = 0.0
    tries: int = 0
    status: int = 0
    shed: str = ""
    exchange: Exchange = field(default_factory=Exchange)
    fault: Exception | None = None
    trace: Trace | None = None

    @property
    def own(self) -> Headers:
        """What the gateway adds to every answer."""
        return [(REQUEST_ID, self.id.encode())]

    def outcome(self, exchange: Exchange) -> Outcome:
        """What an exchange says of its replica; a client that sent too much, or left, says nothing of it."""
        return Outcome.ABANDONED if self.fault is not None else exchange.said


async def body(request: Request, most: int) -> bytes | AsyncIterator[bytes]:
    """A request's body: whole where it is short, and can then be sent again; else piece by piece. Sizes in bytes.

    Raises `TooLarge` and `ClientLeft`, the iterator too.
    """
    length = first(request.headers, b"content-length")
    chunked = bool(first(request.headers, b"transfer-encoding"))
    if length.isdigit() and int(length) > most:
        raise TooLarge
    if not chunked and (not length or int(length) <= BUFFER_BYTES):
        return await whole(request, most) if length else b""
    return _pieces(request, most)


async def whole(request: Request, most: int) -> bytes:
    """A request's body, whole, whatever its size up to `most` bytes."""
    return b"".join([piece async for piece in _pieces(request, most)])


async def _pieces(request: Request, most: int) -> AsyncIterator[bytes]:
    seen, idle_s = 0, request.found.route.limits.idle_s if request.found else 30.0
    while True:
        message = await _message(request, idle_s)
        piece: bytes = message.get("body", b"")
        seen += len(piece)
        if seen > most:
            request.fault = TooLarge()
            raise request.fault
        if piece:
            yield piece
        if not message.get("more_body", False):
            return


async def _message(request: Request, idle_s: float) -> MutableMapping[str, Any]:
    """The next piece of a request's body; a client that is silent for too long counts as one that left."""
    try:
        async with asyncio.timeout(idle_s):
            message = await request.receive()
    except TimeoutError:
        message = {"type": "http.disconnect"}
    if message["type"] == "http.disconnect":
        # Kept, since the one who sends the body on wraps it in an error that looks like the replica's.
        request.fault = ClientLeft()
        raise request.fault
    return message
