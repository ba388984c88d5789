"""A synthetic replica over real sockets: its capacity, its warm-up and its faults can be set.

Paths: /echo gives back what came; /work takes a slot for a while; /sse streams events; the OpenAI paths count tokens;
/ws echoes messages; /fault/hang, /fault/error, /fault/busy, /fault/break do what they say.
"""

import asyncio
import json
import socket
import time
from dataclasses import dataclass

from aiohttp import WSMsgType, web


@dataclass
class Character:
    """How a replica behaves. Times in seconds; while it warms up it has fewer slots and takes up to twice as long."""

    slots: int = 8
    service_s: float = 0.0
    warm_up_s: float = 0.0


def hold(port: int) -> socket.socket:
    """Keep a port of 127.0.0.1 from others without listening: connections are refused, and its owner may come back."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", port))
    return held


class Replica:
    """One replica on a port of 127.0.0.1; lives in the running event loop."""

    def __init__(self, name: str = "r", character: Character | None = None) -> None:
        self.name = name
        self.character = character or Character()
        self.port = 0
        self.up_since = 0.0
        self.seen = 0
        self.cancelled = 0
        self.working = 0
        self.here = 0
        self.peak = 0
        self._room = asyncio.Condition()
        self._listener: asyncio.Server | None = None
        self._held: socket.socket | None = None
        self._server: web.Server | None = None

    @property
    def url(self) -> str:
        """Where it is, up or not."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> "Replica":
        """Come up, cold; at the port that it had before."""
        self._server = web.Server(self._serve, keepalive_timeout=60.0, handler_cancellation=True)
        self._listener = await asyncio.get_running_loop().create_server(self._server, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]
        if self._held is not None:
            self._held.close()
            self._held = None
        self.up_since = time.monotonic()
        return self

    async def kill(self) -> None:
        """Die: connections are reset, new ones refused."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            self._held = hold(self.port)
        if self._server is not None:
            for connection in self._server.connections:
                if connection.transport is not None:
                    connection.transport.abort()
            await self._server.shutdown(0.1)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen += 1
        self.here += 1
        self.peak = max(self.peak, self.here)
        try:
            return await self._answer(request)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.here -= 1

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if path == "/ws":
            return await _messages(request)
        if path.startswith("/fault/"):
            return await _fault(request)
        if path == "/sse":
            return await _events(request)
        body = await request.content.read()
        if path == "/work":
            await self._work()
        facts = {"replica": self.name, "method": request.method, "target": request.raw_path, "bytes": len(body)}
        if path.startswith("/v1/"):
            facts["usage"] = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
        facts["headers"] = {key.lower(): value for key, value in request.headers.items()}
        return web.Response(body=json.dumps(facts).encode(), content_type="application/json")

    async def _work(self) -> None:
        async with self._room:
            await self._room.wait_for(lambda: self.working < self._slots())
            self.working += 1
        try:
            await asyncio.sleep(self.character.service_s * (2.0 - self._warmth()))
        finally:
            self.working -= 1
            async with self._room:
                self._room.notify_all()

    def _warmth(self) -> float:
        if not self.character.warm_up_s:
            return 1.0
        return min(1.0, (time.monotonic() - self.up_since) / self.character.warm_up_s)

    def _slots(self) -> int:
        return max(1, int(self.character.slots * self._warmth()))


async def _messages(request: web.BaseRequest) -> web.StreamResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(f"echo {message.data}")
        else:
            await socket.send_bytes(message.data)
    return socket


async def _events(request: web.BaseRequest) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for number in range(int(request.query.get("n", "3"))):
        await response.write(f"data: {number}\n\n".encode())
        await asyncio.sleep(float(request.query.get("every_s", "0")))
    await response.write_eof()
    return response


async def _fault(request: web.BaseRequest) -> web.StreamResponse:
    kind = request.path.removeprefix("/fault/")
    if kind == "error":
        return web.Response(status=500, text="broken")
    if kind == "busy":
        return web.Response(status=503, text="enough", headers={"Retry-After": "1"})
    if kind == "silent":
        await asyncio.sleep(3_600)
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b"the beginning")
    if kind == "hang":
        await asyncio.sleep(3_600)
    assert request.transport is not None
    request.transport.abort()
    return response
