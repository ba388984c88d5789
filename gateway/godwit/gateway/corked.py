"""A transport that sends what is written in one turn of the loop with one call to the system.

uvicorn writes the head of an answer and its body one after the other, and each write of a transport goes out at once:
for a small answer, the second one costs a tenth of all that the gateway does for it.
"""

import asyncio
from typing import Any


class Corked:
    """Stands in for a client's transport; all that it does not know is the transport's own."""

    __slots__ = ("_call_soon", "_pieces", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._call_soon = transport, loop.call_soon
        self._pieces: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send it at the end of this turn, with all that is written until then."""
        if not data:
            return
        if not self._pieces:
            self._call_soon(self._flush)
        self._pieces.append(data)

    def is_closing(self) -> bool:
        """Whether it is closed or about to be."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Send what is written, then close."""
        self._flush()
        self._transport.close()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """What is written is the old one's."""
        self._flush()
        self._transport.set_protocol(protocol)

    def _flush(self) -> None:
        if self._pieces:
            pieces, self._pieces = self._pieces, []
            self._transport.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))
