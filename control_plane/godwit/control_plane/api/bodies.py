"""Bounds on the body of a request, in bytes and in time, whoever sends it; and what every answer's head says.

The framework reads a body whole before it asks who sent it, and waits for it as long as the sender likes.
"""

import asyncio
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import NoReturn

from godwit.control_plane.api.errors import problem
from godwit.control_plane.services.archives import MAX_BYTES
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_BYTES_MAX = 8 << 20
"""The largest specification (256 variables of 4,096 characters and three scripts of 65,536) in UTF-8, with room."""

AGENT_BYTES_MAX = 32 << 20
"""256 observations with 50 lines of 2,048 characters, which is the most that a heartbeat may hold."""

_LARGER = (("/v1/archives/", MAX_BYTES), ("/v1/agent/", AGENT_BYTES_MAX))

BEGIN_S = 30.0
BYTES_PER_S_MIN = 16 * 1024
"""A body has half a minute, and a second more for each of these that came: less is not a link but a slow attack."""

_HEAD = ((b"x-content-type-options", b"nosniff"),)
_PRIVATE = (b"cache-control", b"no-store")
"""Answers of the API are for whoever asked, and no cache on the way keeps them (RFC 9111, section 5.2.2.5)."""


class Bodies:
    """ASGI middleware. `now` is any clock that only goes forward, in seconds."""

    def __init__(self, app: ASGIApp, now: Callable[[], float] = time.monotonic) -> None:
        self._app, self._now = app, now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a body that ends."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = next((size for prefix, size in _LARGER if scope["path"].startswith(prefix)), BODY_BYTES_MAX)
        sending = _heading(scope["path"], send)
        if _declared(scope) > most:
            response = problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-large", _too_large(most))
            response.headers["Connection"] = "close"
            await response(scope, receive, sending)
            return
        await self._app(scope, _Bounded(receive, most, self._now), sending)


class _Bounded:
    """The body as it comes; an answer with a status ends what has gone on too long."""

    def __init__(self, receive: Receive, most: int, now: Callable[[], float]) -> None:
        self._receive, self._most, self._now = receive, most, now
        self._began_at, self._size, self._ended = now(), 0, False

    async def __call__(self) -> Message:
        if self._ended:  # what comes now is that the caller left, whenever that is
            return await self._receive()
        left_s = self._began_at + BEGIN_S + self._size / BYTES_PER_S_MIN - self._now()
        if left_s <= 0.0:
            self._too_slow()
        try:
            async with asyncio.timeout(left_s):
                message = await self._receive()
        except TimeoutError:
            self._too_slow()
        self._size += len(message.get("body", b""))
        self._ended = not message.get("more_body", False)
        if self._size > self._most:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _too_large(self._most))
        return message

    def _too_slow(self) -> NoReturn:
        self._refuse(HTTPStatus.REQUEST_TIMEOUT, f"the body came slower than {BYTES_PER_S_MIN} bytes per second")

    def _refuse(self, status: HTTPStatus, why: str) -> NoReturn:
        # Not an error of ours: the framework makes 400 of anything else that is raised while it reads.
        raise HTTPException(status, why, {"Connection": "close"})


def _too_large(most: int) -> str:
    return f"the body is larger than the {most} bytes that are taken here; send less"


def _declared(scope: Scope) -> int:
    told = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    return int(told) if told.isdigit() and len(told) < 20 else 0


def _heading(path: str, send: Send) -> Send:
    own = (*_HEAD, _PRIVATE) if path.startswith("/v1/") else _HEAD

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            said = {name.lower() for name, _ in headers}
            message = {**message, "headers": [*headers, *(pair for pair in own if pair[0] not in said)]}
        await send(message)

    return sending
