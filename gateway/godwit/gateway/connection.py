"""A client's connection: uvicorn's, with bounds on the head of a request, and an end that ends its request.

uvicorn waits for a request's head for as long as the client likes, and takes heads of any size; both are what slow and
huge senders live on. It tells an application that its client left only when it asks; here the task is cancelled, so
that a replica does not work on for nobody.
"""

import asyncio
from http import HTTPStatus
from typing import Any

from godwit.gateway.corked import Corked
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


def bounded(header_bytes_max: int, header_s: float) -> type[HttpToolsProtocol]:
    """The class of connections with these bounds."""
    return type("BoundedConnection", (Connection,), {"header_bytes_max": header_bytes_max, "header_s": header_s})


class Connection(HttpToolsProtocol):
    """One client. Sizes in bytes, times in seconds."""

    header_bytes_max = 32 * 1024
    header_s = 10.0

    _head_bytes = 0
    _raw_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None
    _refused = False
    _task: "asyncio.Task[None] | None" = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client came; it owes a head."""
        super().connection_made(Corked(transport, self.loop))  # type: ignore[arg-type]  # all that uvicorn asks of one
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """It left: so does what was done for it."""
        self._head_came()
        super().connection_lost(exc)
        if self._task is not None:
            self._task.cancel()
        for cycle, _app in self.pipeline:
            cycle.disconnected = True

    def on_message_begin(self) -> None:
        """The first bytes of a request."""
        super().on_message_begin()
        self._head_bytes = self._raw_bytes = 0
        if self._head_timer is None:
            self._await_head()
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]
        scope["abort"] = self._abort

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        if self._fits(len(url), HTTPStatus.REQUEST_URI_TOO_LONG):
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        if self._fits(len(name) + len(value), HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE):
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._head_came()
        if not self._refused:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        if not self._refused:
            super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Bytes came. One header of any length is a single event to the parser, so bytes are counted here too."""
        if self._refused:
            return
        if self._head_timer is None and (self.cycle is None or self.cycle.response_complete):
            self._await_head()  # an empty line begins no request, and ends uvicorn's own wait for one
        super().data_received(data)
        self._raw_bytes += len(data)
        if self._head_timer is not None and self._raw_bytes > self.header_bytes_max:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        # As the base class, which keeps no hold of the task.
        self._task = self.loop.create_task(cycle.run_asgi(app))
        self._task.add_done_callback(self.tasks.discard)
        self.tasks.add(self._task)

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self.header_s, self._refuse, HTTPStatus.REQUEST_TIMEOUT)

    def _head_came(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _fits(self, size: int, otherwise: HTTPStatus) -> bool:
        self._head_bytes += size
        if self._head_bytes > self.header_bytes_max and not self._refused:
            self._refuse(otherwise)
        return not self._refused

    def _refuse(self, status: HTTPStatus) -> None:
        self._refused = True
        self._head_came()
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        self.transport.write(head.encode())
        self.transport.close()

    def _abort(self) -> None:
        """End the connection in the middle of an answer: a clean end would pass for a whole one."""
        self.transport.abort()
