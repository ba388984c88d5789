"""A proxy in the test's own process, asked as a connection would ask it; its replicas are real."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, MutableMapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from godwit.domain.wire.routes import KeyRoute, RouteTable, ServiceRoute
from godwit.gateway.exchange import Sender
from godwit.gateway.gate import Gate
from godwit.gateway.proxy import Proxy
from godwit.gateway.regulator.tail import SAMPLES_MIN, Tail
from godwit.gateway.tracing import Traces


@dataclass
class Answer:
    """What a client was answered."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def shed(self) -> str:
        """Why it was refused; empty when it was not."""
        return self.headers.get("x-godwit-shed", "")

    @property
    def facts(self) -> dict[str, Any]:
        """What the replica says in it."""
        found: dict[str, Any] = json.loads(self.body)
        return found


class Inside:
    """A proxy and its clients."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy

    @property
    def gate(self) -> Gate:
        """Of the service `chat`."""
        return self.proxy.gates["p", "chat"]

    def warm(self) -> None:
        """The service is up for long: it does not restart, and most answers take a twentieth of a second."""
        self.gate.regulator.restart.limit = None
        self.gate.tail = Tail(0.05, SAMPLES_MIN)

    def update(self, services: Sequence[ServiceRoute], keys: Sequence[KeyRoute] = ()) -> None:
        """Serve by these routes."""
        self.proxy.update(RouteTable(version=1, services=list(services), keys=list(keys)))

    async def ask(
        self, path: str, method: str = "GET", body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Ask the service `chat`, and wait for the whole answer."""
        found = Answer()
        fixed = {"host": "here"} | ({"content-length": str(len(body))} if body else {}) | dict(headers or {})

        async def receive() -> MutableMapping[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                found.status = message["status"]
                found.headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
            else:
                found.body += message.get("body", b"")

        target, _, query = path.partition("?")
        scope = {
            "type": "http", "method": method, "path": target, "raw_path": target.encode(),
            "query_string": query.encode(), "abort": lambda: None,
            "headers": [(name.lower().encode(), value.encode()) for name, value in fixed.items()],
        }  # fmt: skip
        await self.proxy.serve(scope, receive, send)
        return found


@asynccontextmanager
async def inside(
    services: Sequence[ServiceRoute], keys: Sequence[KeyRoute] = (), traces: Traces | None = None
) -> AsyncIterator[Inside]:
    """A proxy that serves by these routes."""
    loop = asyncio.get_running_loop()
    sender = Sender(loop)
    found = Inside(Proxy(loop, Random(1), sender, access_log=False, traces=traces))
    found.update(services, keys)
    try:
        yield found
    finally:
        found.proxy.carrier.close()
        await sender.close()
