"""Refuses who asks too often, before anything is looked up: 429, with the seconds to wait.

A credential has a bucket by its hash: one that is stolen, or a program that runs wild, slows only itself. What comes
without one has its address's. A credential that nobody knows counts against the address it came from, so that guessing
keeps neither the database busy nor those who share the address out: what was accepted before goes on.
"""

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from http import HTTPStatus

from godwit.control_plane.api.access import COOKIE
from godwit.control_plane.api.errors import problem
from godwit.control_plane.rates import KEPT_MAX, Buckets, Limits
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TRY_AGAIN_LATER = 1013
"""The WebSocket close code of the registry that RFC 6455, section 11.7, began."""

_AGENTS = "/v1/agent/"


class Limiting:
    """ASGI middleware. `now` is any clock that only goes forward, in seconds."""

    def __init__(self, app: ASGIApp, limits: Limits, now: Callable[[], float] = time.monotonic) -> None:
        self._app, self._now = app, now
        self._people, self._agents, self._failed = map(Buckets, (limits.people, limits.agents, limits.failed))
        self._accepted: OrderedDict[str, None] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        address, key = _address(scope), _key(scope)
        pause_s = self._pause_s(scope["path"], address, key)
        if pause_s > 0.0:
            await _refuse(scope, receive, send, pause_s)
            return

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._note(message["status"], _of(scope["path"], address), key)
            await send(message)

        await self._app(scope, receive, noting)

    def _pause_s(self, path: str, address: str, key: str | None) -> float:
        now = self._now()
        if key not in self._accepted and (pause_s := self._failed.look(_of(path, address), now)) > 0.0:
            return pause_s
        buckets = self._agents if path.startswith(_AGENTS) else self._people
        return buckets.take(key or address, now)

    def _note(self, status: int, stranger: str, key: str | None) -> None:
        if status == HTTPStatus.UNAUTHORIZED:
            self._failed.take(stranger, self._now())
            self._accepted.pop(key or "", None)
        elif key is not None and status < HTTPStatus.BAD_REQUEST:
            self._accepted[key] = None
            self._accepted.move_to_end(key)
            if len(self._accepted) > KEPT_MAX:
                self._accepted.popitem(last=False)


def _of(path: str, address: str) -> str:
    """Who guesses people's tokens keeps no agent of the same address out, nor the other way round."""
    return f"{_AGENTS if path.startswith(_AGENTS) else ''}{address}"


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else ""


def _key(scope: Scope) -> str | None:
    """What tells credentials apart, without keeping one; None where there is none."""
    found = _first(scope["headers"], b"authorization")
    if found is None:
        cookies = cookie_parser((_first(scope["headers"], b"cookie") or b"").decode("latin-1"))
        found = cookies.get(COOKIE, "").encode()
    return hashlib.sha256(found).hexdigest() if found else None


def _first(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    return next((value for key, value in headers if key == name), None)


async def _refuse(scope: Scope, receive: Receive, send: Send, pause_s: float) -> None:
    if scope["type"] == "websocket":
        await receive()  # the request to connect
        await send({"type": "websocket.close", "code": TRY_AGAIN_LATER, "reason": "too many requests"})
        return
    seconds = max(1, math.ceil(pause_s))
    detail = (
        f"too many requests by this token or from this address; wait {seconds} s. "
        "An administrator sets how many with `limits` in config.yaml"
    )
    response = problem(HTTPStatus.TOO_MANY_REQUESTS, "too-many-requests", detail)
    response.headers["Retry-After"] = str(seconds)
    await response(scope, receive, send)
