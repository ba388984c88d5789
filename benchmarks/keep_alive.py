"""A client light enough to share two cores with the server it measures: raw HTTP/1.1 on connections that stay open."""

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

CONNECTIONS = 8
GRACE_S = 30.0
"""How long after the end of a window the last answers may take before the measurement is given up."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Request:
    """Bytes to send, and the status that the answer must have."""

    content: bytes
    status: int


@dataclass(frozen=True)
class Window:
    """What came back within `seconds`: how many answers, the last body, and the CPU seconds of this client."""

    answers: int
    seconds: float
    last_body: bytes
    client_cpu_s: float

    @property
    def per_second(self) -> float:
        """Answers per second."""
        return self.answers / self.seconds


def request(method: str, path: str, token: str, status: int, body: bytes = b"", **headers: str) -> Request:
    """An HTTP request with a bearer token; `headers` are written with underscores for dashes."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {token}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return Request("\r\n".join([*lines, "", ""]).encode() + body, status)


def press(port: int, following: Callable[[], Request], seconds: float) -> Window:
    """Send one request after the other on each connection for `seconds`, each made by `following`.

    Every answer counts, since the window closes with the last one. Raises `RuntimeError` with the answer when its
    status is not the expected one, and `TimeoutError` when the server stops answering.
    """
    return asyncio.run(_press(port, following, seconds))


def send(port: int, requests: list[Request]) -> None:
    """Send these requests, one after the other on one connection."""

    async def one_by_one() -> None:
        async with asyncio.timeout(GRACE_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                for each in requests:
                    await _exchange(reader, writer, each)
            finally:
                writer.close()
                await writer.wait_closed()

    asyncio.run(one_by_one())


async def _press(port: int, following: Callable[[], Request], seconds: float) -> Window:
    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CONNECTIONS)]
    began, cpu = time.monotonic(), time.process_time()
    answers, last_body = 0, b""

    async def keep_asking(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answers, last_body
        while time.monotonic() < began + seconds:
            last_body = await _exchange(reader, writer, following())
            answers += 1

    try:
        async with asyncio.timeout(seconds + GRACE_S):
            await asyncio.gather(*(keep_asking(*connection) for connection in connections))
        took_s, cpu_s = time.monotonic() - began, time.process_time() - cpu
    finally:
        for _, writer in connections:
            writer.close()
            await writer.wait_closed()
    return Window(answers, took_s, last_body, cpu_s)


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, each: Request) -> bytes:
    writer.write(each.content)
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    if length is None:
        raise RuntimeError(f"an answer without its length: {head.decode(errors='replace')}")
    body = await reader.readexactly(int(length[1]))
    if int(head[9:12]) != each.status:
        raise RuntimeError(f"{each.status} expected, got: {(head + body).decode(errors='replace')}")
    return body
