"""A connection to the control plane: uvicorn's, with bounds on the head of a request, in bytes and in time.

Where it is one of TLS that ends here, requests know the client's certificate, which uvicorn does not tell by itself.

uvicorn waits for a request's head for as long as a client likes, and takes one of any size. The gateway bounds its own
in the same way; the two meet over HTTP only.
"""

import asyncio
import ssl
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

HEAD_BYTES_MAX = 32 * 1024
"""The target and all headers; nginx takes 4 buffers of 8 KiB by default (large_client_header_buffers)."""

HEAD_S = 10.0
"""From the first byte to the last of a head, and from the connection to its first: one packet, on any link."""


class Connection(HttpToolsProtocol):
    """One client."""

    head_bytes_max = HEAD_BYTES_MAX
    head_s = HEAD_S

    _head_bytes = 0
    _chunk_bytes = _began_in_bytes = 0
    _owes_head = False
    _head_timer: asyncio.TimerHandle | None = None
    _in_message = False
    _refused = False
    _tls: dict[object, object] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client came; it owes a head."""
        super().connection_made(transport)
        self._tls = tls_of(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """It left."""
        self._head_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes came. A header of any length is one event to the parser, so bytes are counted before it sees them."""
        if self._refused:
            return
        self._chunk_bytes = len(data)
        if not self._in_message:
            self._owes_head = True  # whatever begins here
        if self._owes_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if not self._owes_head or self._refused:
            return
        if self._head_bytes > self.head_bytes_max:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif self._head_timer is None:  # most heads come whole, and need none
            self._await_head()

    def on_message_begin(self) -> None:
        """The first bytes of a request, which may stand behind another one."""
        super().on_message_begin()
        if self._tls is not None:
            self.scope["extensions"] = {"tls": self._tls}
        self._in_message = self._owes_head = True
        self._began_in_bytes = self._chunk_bytes

    def on_headers_complete(self) -> None:
        """The head is there."""
        # Of what came since, and of where it began behind another one, it is a part: mostly far from the bound.
        is_long = self._head_bytes + self._began_in_bytes > self.head_bytes_max
        self._head_came()
        if self._refused:
            return
        if (
            is_long
            and len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > self.head_bytes_max
        ):
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._in_message = False
        if not self._refused:
            super().on_message_complete()

    def _await_head(self) -> None:
        self._owes_head = True
        self._head_timer = self.loop.call_later(self.head_s, self._refuse, HTTPStatus.REQUEST_TIMEOUT)

    def _head_came(self) -> None:
        self._owes_head, self._head_bytes = False, 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, status: HTTPStatus) -> None:
        self._refused = True
        self._head_came()
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        self.transport.write(head.encode())
        self.transport.close()


class Line(WebSocketsSansIOProtocol):
    """A WebSocket: uvicorn's, which says by which certificate its client is known."""

    async def run_asgi(self) -> None:
        """Hand it to the application."""
        if (tls := tls_of(self.transport)) is not None:
            self.scope["extensions"] = {**(self.scope.get("extensions") or {}), "tls": tls}
        await super().run_asgi()


def tls_of(transport: asyncio.BaseTransport) -> dict[object, object] | None:
    """What ASGI's TLS extension (0.2) calls the client's certificate, which TLS verified; None without TLS."""
    found: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    if found is None:
        return None
    certificate = found.getpeercert(binary_form=True)
    return {"client_cert_chain": [ssl.DER_cert_to_PEM_cert(certificate)] if certificate else []}
