"""The application: finds the service that a request means, whether its key may have it, and has it carried there."""

import asyncio
import time
from random import Random
from typing import Any

import structlog
from godwit.domain.wire.routes import KeyRoute, RouteTable
from godwit.gateway import finding, openai
from godwit.gateway.carrying import Carrier
from godwit.gateway.exchange import Sender
from godwit.gateway.finding import Denied
from godwit.gateway.gate import Gate
from godwit.gateway.http import (
    REQUEST_ID,
    REQUEST_ID_MAX,
    Headers,
    Receive,
    Scope,
    Send,
    answer,
    first,
    refuse,
)
from godwit.gateway.meters import Meters
from godwit.gateway.regulator.sheds import Refusal, Shed, spread
from godwit.gateway.request import BUFFER_BYTES, ClientLeft, Request, TooLarge, body, whole
from godwit.gateway.table import Index, Ref
from godwit.gateway.tracing import Traces, id_of

log = structlog.get_logger("godwit.gateway.access")


class Proxy:
    """All services of one gateway. `update` gives it routes, `serve` a request."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        rng: Random,
        sender: Sender,
        *,
        access_log: bool,
        traces: Traces | None = None,
    ) -> None:
        self.loop, self.rng, self.sender, self.access_log, self.traces = loop, rng, sender, access_log, traces
        self.index = Index(RouteTable(version=0))
        self.gates: dict[Ref, Gate] = {}
        self.meters = Meters()
        self.carrier = Carrier(loop, sender, self.meters)
        self.leaving = False

    def update(self, table: RouteTable) -> None:
        """Serve by these routes from now on."""
        self.index = Index(table)
        for ref, route in self.index.services.items():
            if ref in self.gates:
                self.gates[ref].update(route)
            else:
                self.gates[ref] = Gate(route, self.rng, self.loop)
        for gone in self.gates.keys() - self.index.services.keys():
            self.gates.pop(gone).close()
        self.meters.keep({key.id for key in table.keys})

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request to its end, whatever that is."""
        headers: Headers = scope["headers"]
        given = first(headers, REQUEST_ID)
        usable = 0 < len(given) <= REQUEST_ID_MAX and given.isprintable() and given.isascii()
        request_id = given if usable else f"{self.rng.getrandbits(64):016x}"
        request = Request(scope, receive, send, request_id, self.loop.time(), headers)
        if self.traces is not None:
            request.trace = self.traces.begin(scope["method"], scope["path"], headers)
        try:
            await self._serve(request)
        except (asyncio.CancelledError, ClientLeft):
            request.status = 499  # nginx's number for a client that left
            self._abandon(request)
        except TooLarge:
            request.status = 413
            if request.exchange.began:
                self._abandon(request)
            else:
                await self._say(request, 413, "too-large", "the body is larger than this service takes")
        finally:
            if self.access_log or request.trace is not None:
                self._tell(request)

    async def _serve(self, request: Request) -> None:
        try:
            request.key = finding.key(self.index, request.headers, time.time())
            asked = await self._ask(request)
            if asked is None:
                return
            found = request.found = finding.service(self.index, request.scope, request.headers, request.key, asked)
        except Denied as denied:
            request.status = denied.status
            await self._say(request, denied.status, denied.code, denied.message)
            return
        except openai.Unreadable as error:
            request.status = 400
            await self._say(request, 400, "invalid-body", str(error))
            return
        gate = self.gates[found.route.project, found.route.name]
        gate.tally.requests += 1
        refusal = self.metered(request.key, gate)
        if refusal is None and request.body is None:
            request.body = await body(request, found.route.limits.body_bytes_max)
        if refusal is None:
            refusal = await self.carrier.carry(request, gate, found)
        if refusal is not None:
            gate.tally.shed += 1
            request.status, request.shed = refusal.status, refusal.reason
            await refuse(request.send, refusal, request.own)

    async def _ask(self, request: Request) -> openai.Ask | bytes | None:
        """What the request's path or body says of a model; None where the answer is given already."""
        path: str = request.scope["path"]
        if path == openai.MODELS:
            await answer(request.send, 200, finding.models(self.index, request.key), request.own)
            request.status = 200
            return None
        if path not in openai.PATHS or finding.by_host(self.index, request.headers) is not None:
            return b""
        largest = max((one.limits.body_bytes_max for one in self.index.table.services), default=BUFFER_BYTES)
        request.body = text = await whole(request, largest)
        return openai.read(text)

    def metered(self, key: KeyRoute | None, gate: Gate) -> Refusal | None:
        """Why a key may not send one more now; counts it otherwise."""
        if self.leaving:
            return gate.regulator.refuse(Shed.LEAVING, self.loop.time())
        if key is None:
            return None
        short = self.meters.of(key, self.loop.time()).ask(self.loop.time())
        if short is None:
            return None
        gate.regulator.sheds[short[0]] += 1
        return Refusal(short[0], spread(short[1], self.rng))

    def _abandon(self, request: Request) -> None:
        route = request.found.route if request.found is not None else None
        gate = self.gates.get((route.project, route.name)) if route is not None else None
        if gate is not None:
            gate.tally.abandoned += 1
        request.scope["abort"]()

    async def _say(self, request: Request, status: int, code: str, message: str) -> None:
        # Of a body that is not read to its end, the rest is not to be taken for a request.
        more = {413: [(b"connection", b"close")], 503: [(b"retry-after", b"1")]}.get(status, [])
        own = [*request.own, *more]
        await answer(request.send, status, openai.problem(status, code, message), own)

    def _tell(self, request: Request) -> None:
        """To the access log and the request's trace: what became of it."""
        status = request.status or request.exchange.status
        facts = _facts(request)
        if request.trace is not None:
            request.trace.end(status, facts)
        if not self.access_log:
            return
        trace = request.trace.id if request.trace is not None else id_of(request.headers)
        log.info(
            "request",
            id=request.id,
            method=request.scope["method"],
            path=request.scope["path"],
            status=status,
            total_s=round(self.loop.time() - request.began, 4),
            **facts,
            **({"trace": trace} if trace else {}),
        )


def _facts(request: Request) -> dict[str, Any]:
    found, exchange = request.found, request.exchange
    facts: dict[str, Any] = {
        "tries": request.tries,
        "waited_s": round(request.delay_s, 4),
        "latency_s": round(exchange.latency_s, 4),
    }
    if request.scope.get("client"):
        facts["client"] = request.scope["client"][0]
    if found is not None:
        facts["service"] = f"{found.route.project}/{found.route.name}"
    if request.key is not None:
        facts["key"] = request.key.id
    if request.shed:
        facts["shed"] = str(request.shed)
    if exchange.why:
        facts["why"] = exchange.why[:300]
    return facts
