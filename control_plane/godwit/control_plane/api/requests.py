"""Each request that changes something is a span: of the job that it makes or is about, else of its caller's trace.

What agents and gateways ask each second, and what people only read, would hide the rest; their log lines carry an id
all the same.
"""

import secrets
import time
from typing import Any

from godwit.control_plane import tracing as doing
from godwit.control_plane.metrics.timing import HasContext, template
from godwit.control_plane.tracing import Recorded
from godwit.domain import tracing
from godwit.domain.tracing import Parent
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_CHANGES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_BY_MACHINES = ("/v1/agent/", "/v1/routes")
_HEADER = tracing.HEADER.encode()
SERVER_ERROR = 500


class Tracing:
    """ASGI middleware: binds the trace to log lines, and records what changes something."""

    def __init__(self, app: ASGIApp, state: HasContext) -> None:
        self._app, self._state = app, state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, under its trace."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        caller = tracing.parsed(dict(scope["headers"]).get(_HEADER, b"").decode("latin-1"))
        trace_id = secrets.token_hex(16) if caller is None else caller.trace_id
        began_at, statuses = time.time(), list[int]()

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
            await send(message)

        spans = self._state.context.spans
        with doing.working(spans, trace_id) as work:
            try:
                await self._app(scope, receive, noting)
            finally:
                if scope["method"] in _CHANGES and not scope["path"].startswith(_BY_MACHINES):
                    span = _span(scope, caller, work, began_at, (statuses or [SERVER_ERROR])[0])
                    spans.record(span)


def _span(scope: Any, caller: Parent | None, work: doing.Work, began_at: float, status: int) -> Recorded:
    route, method = template(scope), scope["method"]
    attributes = {"http.request.method": method, "http.route": route, "http.response.status_code": status}
    error = str(status) if status >= SERVER_ERROR else ""
    name, ended_at = f"{method} {route}", time.time()
    if work.job_id is None:
        return Recorded(name, "server", work.trace_id, caller, began_at, ended_at, None, attributes, (), error)
    # A job's trace begins with the request that made it, whoever called; the caller's is a link of it.
    root = tracing.root_of(tracing.of_job(work.job_id))
    links = () if caller is None else (caller,)
    attributes["godwit.job"] = work.job_id
    parent, own = (None, root) if work.is_first else (root, None)
    return Recorded(name, "server", root.trace_id, parent, began_at, ended_at, own, attributes, links, error)
