"""The application: finds the service that a request means, waits for its turn, and carries it to a replica."""

import asyncio
import time
from collections.abc import AsyncIterator
from functools import partial
from random import Random
from typing import Any

import structlog
from godwit.domain.wire.routes import KeyRoute, RouteTable
from godwit.gateway import finding, openai
from godwit.gateway.exchange import Exchange, Outgoing, Sender
from godwit.gateway.finding import Denied, Found
from godwit.gateway.gate import Gate
from godwit.gateway.http import (
    HOP_BY_HOP,
    IDEMPOTENT,
    REQUEST_ID,
    REQUEST_ID_MAX,
    Headers,
    Receive,
    Scope,
    Send,
    answer,
    first,
    passed_on,
    refuse,
)
from godwit.gateway.meters import Meters
from godwit.gateway.regulator.queue import BATCH, INTERACTIVE, Waiting
from godwit.gateway.regulator.replicas import Outcome
from godwit.gateway.regulator.service import Granted
from godwit.gateway.regulator.sheds import Refusal, Shed, spread
from godwit.gateway.request import BUFFER_BYTES, ClientLeft, Request, TooLarge, body, whole
from godwit.gateway.table import Index, Ref

log = structlog.get_logger("godwit.gateway.access")

_OURS = HOP_BY_HOP | {b"expect", REQUEST_ID}
_OURS_AND_KEY = _OURS | {b"authorization", b"x-api-key"}


NOBODY = "http://127.0.0.1:1"


class Proxy:
    """All services of one gateway. `update` gives it routes, `serve` a request."""

    def __init__(self, loop: asyncio.AbstractEventLoop, rng: Random, sender: Sender, *, access_log: bool) -> None:
        self.loop, self.rng, self.sender, self.access_log = loop, rng, sender, access_log
        self.index = Index(RouteTable(version=0))
        self.gates: dict[Ref, Gate] = {}
        self.meters = Meters()
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
            if self.access_log:
                self._log(request)

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
            refusal = await self._carry(request, gate, found)
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

    async def _carry(self, request: Request, gate: Gate, found: Found) -> Refusal | None:
        """Take it to replicas until one answers; a refusal when none may be asked any more."""
        outgoing = self._outgoing(request, found)
        replayable = not isinstance(request.body, AsyncIterator)
        rank = BATCH if request.key is not None and request.key.priority == "batch" else INTERACTIVE
        waiting = Waiting(request.began, rank, found.affinity)
        limits = found.route.limits
        while True:
            verdict = await gate.admit(waiting, again=request.tries > 0)
            if isinstance(verdict, Refusal):
                return verdict
            may_repeat = replayable and request.tries < limits.retries
            exchange = await self._exchange(request, gate, verdict, outgoing, may_repeat=may_repeat)
            if request.fault is not None:
                raise request.fault
            if exchange.whole:
                self._account(request, gate, found)
                return None
            safe = exchange.outcome is not Outcome.FAILED or outgoing.method in IDEMPOTENT
            if exchange.began:
                gate.tally.failed += 1
                request.scope["abort"]()
                return None
            if not (may_repeat and safe):
                gate.tally.failed += 1
                return gate.regulator.refuse(Shed.REPLICA_FAILED, self.loop.time())
            gate.tally.retried += 1
            waiting = Waiting(request.began, rank, found.affinity, waiting.exclude | {verdict.replica})

    async def _exchange(
        self, request: Request, gate: Gate, granted: Granted, outgoing: Outgoing, *, may_repeat: bool
    ) -> Exchange:
        if not request.tries:
            request.delay_s = self.loop.time() - request.began
        request.tries += 1
        usage = openai.UsageReader() if request.found is not None and request.found.model else None
        exchange = request.exchange = Exchange(retriable=may_repeat, usage=usage, extra=request.own)
        exchange.on_head = partial(gate.headed, granted.replica)
        try:
            # A replica may leave the routes between a grant and this line; then there is nobody to connect to.
            url = gate.urls.get(granted.replica, NOBODY)
            await self.sender.send(url, outgoing, gate.route.limits, request.send, exchange)
        finally:
            gate.ended(granted.replica, request.outcome, None if exchange.began else exchange.latency_s)
        return exchange

    def _outgoing(self, request: Request, found: Found) -> Outgoing:
        scope = request.scope
        kept = passed_on(request.headers, _OURS_AND_KEY if request.key is not None else _OURS)
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in kept]
        headers.append(("x-request-id", request.id))
        if scope.get("client"):
            headers.append(("x-forwarded-for", scope["client"][0]))
        query = scope["query_string"]
        target = found.target + ("?" + query.decode("latin-1") if query else "")
        return Outgoing(scope["method"], target, headers, request.body or None)

    def _account(self, request: Request, gate: Gate, found: Found) -> None:
        exchange = request.exchange
        request.status = exchange.status
        gate.tally.answered(exchange.status, exchange.latency_s, request.delay_s)
        gate.tally.failed += exchange.status >= 500
        if exchange.usage is None:
            return
        came, made = exchange.usage.tokens()
        gate.tally.tokens_in[found.model] += came
        gate.tally.tokens_out[found.model] += made
        if request.key is not None:
            self.meters.of(request.key, self.loop.time()).spent(came + made)

    def _abandon(self, request: Request) -> None:
        route = request.found.route if request.found is not None else None
        gate = self.gates.get((route.project, route.name)) if route is not None else None
        if gate is not None:
            gate.tally.abandoned += 1
        request.scope["abort"]()

    async def _say(self, request: Request, status: int, code: str, message: str) -> None:
        # Of a body that is not read to its end, the rest is not to be taken for a request.
        own = [*request.own, (b"connection", b"close")] if status == 413 else request.own
        await answer(request.send, status, openai.problem(status, code, message), own)

    def _log(self, request: Request) -> None:
        found, exchange = request.found, request.exchange
        facts: dict[str, Any] = {"client": request.scope["client"][0]} if request.scope.get("client") else {}
        if found is not None:
            facts |= {"service": f"{found.route.project}/{found.route.name}"}
        if request.key is not None:
            facts |= {"key": request.key.id}
        if request.shed:
            facts |= {"shed": str(request.shed)}
        if exchange.why:
            facts |= {"why": exchange.why[:300]}
        log.info(
            "request",
            id=request.id,
            method=request.scope["method"],
            path=request.scope["path"],
            status=request.status or exchange.status,
            tries=request.tries,
            waited_s=round(request.delay_s, 4),
            latency_s=round(exchange.latency_s, 4),
            total_s=round(self.loop.time() - request.began, 4),
            **facts,
        )
