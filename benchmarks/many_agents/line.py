"""A connection to the control plane that costs its client little: raw HTTP/1.1, one request at a time."""

import asyncio
import re

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_RETRY = re.compile(rb"\r\nretry-after: *(\d+)", re.IGNORECASE)


class Refused(Exception):
    """An answer that is not a success; `after_s` is what it asks to wait."""

    def __init__(self, status: int, body: bytes, after_s: float) -> None:
        super().__init__(f"{status}: {body[:300].decode(errors='replace')}")
        self.status, self.after_s = status, after_s


class Line(asyncio.Protocol):
    """Opened by the first `ask`, and again after it broke."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._transport: asyncio.Transport | None = None
        self._read = b""
        self._answer: asyncio.Future[bytes] | None = None

    async def ask(self, path: str, token: str, body: bytes, timeout_s: float) -> bytes:
        """The body of the answer to a POST. Raises `Refused`, or `OSError` when it does not come."""
        loop = asyncio.get_running_loop()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        try:
            async with asyncio.timeout(timeout_s):
                if self._transport is None:
                    await loop.create_connection(lambda: self, "127.0.0.1", self.port)
                if self._transport is None:
                    raise ConnectionResetError("the control plane hung up at once")
                self._answer = loop.create_future()
                self._transport.write(head.encode() + body)
                return await self._answer
        except Refused:
            raise
        except BaseException:
            self.close()  # whatever still comes on it is the answer to this, and not to the next
            raise
        finally:
            self._answer = None

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._read = transport, b""

    def connection_lost(self, _exc: Exception | None) -> None:
        """The connection is gone; who waits for an answer hears it."""
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError("the control plane hung up"))

    def data_received(self, data: bytes) -> None:
        """A part of an answer."""
        self._read += data
        head, ended, body = self._read.partition(b"\r\n\r\n")
        length = _LENGTH.search(head) if ended else None
        if length is None or len(body) < int(length[1]):
            return
        self._read = b""
        if self._answer is None or self._answer.done():
            return
        status = int(head[9:12])
        if status == 200:
            self._answer.set_result(body)
        else:
            after = _RETRY.search(head)
            self._answer.set_exception(Refused(status, body, float(after[1]) if after else 0.0))
