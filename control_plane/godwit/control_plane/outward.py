"""How this process dials out for others: judged addresses, no proxies, an end in time.

    httpx.Client(transport=outward.Judged(private=False), trust_env=False)

A client with this transport looks a name up once, refuses it when any of its addresses is not allowed (`addresses`),
and dials the one that was judged: a name that points elsewhere a moment later changes nothing. The certificate is
still checked against the name. Redirects are not followed unless the client is told to, and are judged like any other.
"""

import socket
import ssl
import threading
from collections.abc import Iterator
from functools import cache
from typing import Any

import httpx
from godwit.control_plane import addresses
from godwit.control_plane.addresses import Lookup

TOTAL_S = 20.0
"""For one request with its answer: twice what one step of it may take. Timeouts of the client are for each step, and
who sends a byte now and then would hold it for ever."""

_PORTS = {"https": 443, "http": 80}


class NotDialled(httpx.ConnectError):
    """Nothing was sent: the address is not allowed, or the name has none."""


class Judged(httpx.BaseTransport):
    """A transport to one service. `private`: it may lie in a private network or on this machine.

    Raises `NotDialled` for what is not allowed, and what httpx raises. Not for several names at one address: their
    connections would be taken for each other's.
    """

    def __init__(self, *, private: bool, lookup: Lookup = addresses.resolve, total_s: float = TOTAL_S) -> None:
        self._private, self._lookup, self._total_s = private, lookup, total_s
        self._inner = httpx.HTTPTransport(verify=_trusted(), trust_env=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; its answer ends within `total_s`."""
        host, port = request.url.host, request.url.port or _PORTS[request.url.scheme]
        try:
            address = addresses.allowed(host, port, private=self._private, lookup=self._lookup)
        except addresses.Forbidden as forbidden:
            raise NotDialled(str(forbidden), request=request) from forbidden
        except (OSError, ValueError) as exc:
            raise NotDialled(f"{host} has no address ({type(exc).__name__})", request=request) from exc
        ending = _Ending(self._total_s)
        dialled = httpx.Request(
            request.method,
            request.url.copy_with(host=address, fragment=None),
            headers=request.headers,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": host, "trace": ending.note},
        )
        try:
            answer = self._inner.handle_request(dialled)
        except BaseException:
            ending.cancel()
            raise
        return httpx.Response(
            answer.status_code,
            headers=answer.headers,
            stream=_Ended(answer.stream, ending),  # type: ignore[arg-type]  # a client without async has such a stream
            extensions=answer.extensions,
        )

    def close(self) -> None:
        """Let go of its connections."""
        self._inner.close()


class _Ending:
    """Cuts the connection when time is up; whoever reads from it gets an error then."""

    def __init__(self, total_s: float) -> None:
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(total_s, self._cut)
        self._timer.daemon = True
        self._timer.start()

    def note(self, event: str, info: dict[str, Any]) -> None:
        """What httpcore tells: which connection was made, with or without TLS."""
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            self._socket = info["return_value"].get_extra_info("socket")

    def cancel(self) -> None:
        """It came to its end by itself."""
        self._timer.cancel()

    def _cut(self) -> None:
        try:
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it was closed meanwhile


class _Ended(httpx.SyncByteStream):
    """A body whose end is also that of its time."""

    def __init__(self, stream: httpx.SyncByteStream, ending: _Ending) -> None:
        self._stream, self._ending = stream, ending

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream

    def close(self) -> None:
        """The answer was read, or is of no interest any more."""
        self._ending.cancel()
        self._stream.close()


@cache
def _trusted() -> ssl.SSLContext:
    return ssl.create_default_context()
