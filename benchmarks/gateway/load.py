"""Load for proxies, and the quick server behind them: as little work as possible, since the proxy is measured."""

import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import cast

BODY = b"x" * 64
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 64\r\n\r\n" + BODY


@dataclass
class Measured:
    """What clients saw: latencies of good answers in seconds, and how many were bad, over `lasted_s`."""

    latencies_s: list[float] = field(default_factory=list)
    bad: int = 0
    lasted_s: float = 0.0

    @property
    def per_s(self) -> float:
        """Good answers per second."""
        return len(self.latencies_s) / self.lasted_s if self.lasted_s else 0.0

    def percentile_s(self, part: float) -> float:
        """The latency that `part` of the answers did not exceed."""
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else float("inf")


class Client(asyncio.Protocol):
    """One connection that asks again as soon as it is told to."""

    def __init__(self, measured: Measured, request: bytes, free: Callable[["Client"], None]) -> None:
        self._measured, self._request, self._free = measured, request, free
        self._transport: asyncio.Transport | None = None
        self._came = b""
        self._since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready to ask."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by class

    def ask(self, since: float) -> None:
        """Send the request; its latency counts from `since`."""
        assert self._transport is not None
        self._since = since
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """The answer ends with the body that is expected; answers of another kind end with a brace."""
        self._came += data
        if self._came.endswith(BODY) or (self._came.endswith(b"0\r\n\r\n") and BODY in self._came):
            self._measured.latencies_s.append(time.perf_counter() - self._since)
        elif self._came.endswith(b"}"):
            self._measured.bad += 1
        else:
            return
        self._came = b""
        self._free(self)

    def close(self) -> None:
        """Leave."""
        if self._transport is not None:
            self._transport.close()


async def closed_loop(port: int, path: str, *, connections: int, lasts_s: float) -> Measured:
    """So many clients, each asking again as soon as it was answered."""
    measured = Measured()
    until = time.perf_counter() + lasts_s

    def again(client: Client) -> None:
        if time.perf_counter() < until:
            client.ask(time.perf_counter())

    clients = await _connect(port, path, connections, measured, again)
    began = time.perf_counter()
    for client in clients:
        client.ask(began)
    await asyncio.sleep(lasts_s)
    measured.lasted_s = time.perf_counter() - began
    for client in clients:
        client.close()
    return measured


async def open_loop(port: int, path: str, *, per_s: float, lasts_s: float, rng: Random) -> Measured:
    """So many requests a second, at random instants (Poisson), whether or not earlier ones were answered."""
    measured, free = Measured(), list[Client]()
    clients = await _connect(port, path, 64, measured, free.append)
    free.extend(clients)
    began = due = time.perf_counter()
    while due < began + lasts_s:
        now = time.perf_counter()
        while due <= now and free:
            free.pop().ask(due)
            due += rng.expovariate(per_s)
        await asyncio.sleep(0.0005)
    measured.lasted_s = time.perf_counter() - began
    for client in clients:
        client.close()
    return measured


async def _connect(
    port: int, path: str, connections: int, measured: Measured, free: Callable[[Client], None]
) -> list[Client]:
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    loop = asyncio.get_running_loop()
    made = [
        loop.create_connection(lambda: Client(measured, request, free), "127.0.0.1", port) for _ in range(connections)
    ]
    return [client for _transport, client in await asyncio.gather(*made)]


class _Quick(asyncio.Protocol):
    """Answers each head that it sees; requests without bodies only."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._came = cast(asyncio.Transport, transport), b""

    def data_received(self, data: bytes) -> None:
        self._came += data
        *whole, self._came = self._came.split(b"\r\n\r\n")
        for _head in whole:
            self._transport.write(ANSWER)


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Quick, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(_serve(int(sys.argv[1])))
