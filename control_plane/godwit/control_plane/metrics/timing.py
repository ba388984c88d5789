"""Times each request to the head of its answer, under the template of its route."""

import time
from typing import Any, Protocol

from godwit.control_plane.context import Context
from starlette.types import ASGIApp, Message, Receive, Scope, Send

UNMATCHED = "unmatched"
"""Stands for every path that no route has: strangers make paths up, and labels must not."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SERVER_ERROR = 500


class HasContext(Protocol):
    """What routes are handed; asked for its context when the first request comes."""

    @property
    def context(self) -> Context:
        """The context of services."""


class Timing:
    """ASGI middleware; websockets pass it untimed, since they last as long as people stay."""

    def __init__(self, app: ASGIApp, state: HasContext) -> None:
        self._app, self._state = app, state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and note when its answer began."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, head = time.perf_counter(), list[tuple[float, int]]()

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                head.append((time.perf_counter() - began, message["status"]))
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            took_s, code = head[0] if head else (time.perf_counter() - began, SERVER_ERROR)
            method = scope["method"] if scope["method"] in METHODS else "other"
            self._state.context.instruments.answered(template(scope), method, code, took_s)


def template(scope: Any) -> str:
    """The template of the route that took the request; the router leaves it in the scope."""
    return getattr(scope.get("route"), "path", UNMATCHED)
