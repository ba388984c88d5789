"""From a request to a replica's answer: its turn, its exchanges, a second one when the first is late, and copies."""

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from functools import partial
from typing import Any

from godwit.domain.wire.routes import KeyRoute, ServiceRoute
from godwit.gateway import openai
from godwit.gateway.exchange import Exchange, Outgoing, Sender
from godwit.gateway.finding import Found
from godwit.gateway.gate import Gate
from godwit.gateway.hedging import Race, Run
from godwit.gateway.http import HOP_BY_HOP, IDEMPOTENCY_KEY, IDEMPOTENT, REQUEST_ID, first, passed_on
from godwit.gateway.meters import Meters
from godwit.gateway.regulator.queue import BATCH, INTERACTIVE, Waiting
from godwit.gateway.regulator.replicas import Outcome
from godwit.gateway.regulator.sheds import Refusal, Shed
from godwit.gateway.request import Request

_OURS = HOP_BY_HOP | {b"expect", REQUEST_ID}
_OURS_AND_KEY = _OURS | {b"authorization", b"x-api-key"}

NOBODY = "http://127.0.0.1:1"

COPY_S = 600.0
"""A copy has an end, whatever its answer is."""


class Carrier:
    """Carries requests to replicas. `copies` are those under way whose answers nobody is shown."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sender: Sender, meters: Meters) -> None:
        self.loop, self.sender, self.meters = loop, sender, meters
        self.copies: set[asyncio.Task[None]] = set()

    async def carry(self, request: Request, gate: Gate, found: Found) -> Refusal | None:
        """Take it to replicas until one answers; a refusal when none may be asked any more."""
        outgoing = _outgoing(request, found)
        replayable = not isinstance(request.body, AsyncIterator)
        twice = _may_be_sent_twice(request, gate)
        waiting = Waiting(request.began, rank(request.key, found.route), found.affinity)
        while True:
            verdict = await gate.admit(waiting, again=request.tries > 0)
            if isinstance(verdict, Refusal):
                return verdict
            if gate.regulator.shadows.parts and replayable and not request.tries:
                self._copy(gate, outgoing)
            may_repeat = replayable and request.tries < found.route.limits.retries
            if not request.tries:
                request.delay_s = self.loop.time() - request.began
            asked = [verdict.replica]
            exchange = request.exchange = self._exchange(request, gate, verdict.replica, may_repeat=may_repeat)
            late_s = gate.tail.late_s if gate.is_hedged and twice and replayable else None
            if late_s is None:
                await self._send(request, gate, verdict.replica, outgoing, exchange)
            else:
                exchange = await self._race(request, gate, outgoing, asked, late_s)
            if request.fault is not None:
                raise request.fault
            if exchange.whole:
                self._account(request, gate, found)
                return None
            if exchange.began:
                gate.tally.failed += 1
                request.scope["abort"]()
                return None
            if not (may_repeat and (twice or exchange.outcome is not Outcome.FAILED)):
                gate.tally.failed += 1
                return gate.regulator.refuse(Shed.REPLICA_FAILED, self.loop.time())
            gate.tally.retried += 1
            waiting = Waiting(request.began, waiting.rank, found.affinity, waiting.exclude | {*asked})

    def close(self) -> None:
        """Give up what nobody waits for."""
        for copy in self.copies:
            copy.cancel()

    def _exchange(self, request: Request, gate: Gate, replica: str, *, may_repeat: bool) -> Exchange:
        usage = openai.UsageReader() if request.found is not None and request.found.model else None
        return Exchange(retriable=may_repeat, usage=usage, extra=request.own, on_head=partial(gate.headed, replica))

    async def _race(
        self, request: Request, gate: Gate, outgoing: Outgoing, asked: list[str], late_s: float
    ) -> Exchange:
        """Send it to the replica that was `asked`; and to one more, which is added there, once it is late."""
        exchange = request.exchange

        def second() -> tuple[Exchange, Run] | None:
            granted = gate.hedge(asked[0])
            if granted is None:
                return None
            gate.tally.hedged += 1
            asked.append(granted.replica)
            other = self._exchange(request, gate, granted.replica, may_repeat=exchange.retriable)
            return other, partial(self._send, request, gate, granted.replica, outgoing)

        send = partial(self._send, request, gate, asked[0], outgoing)
        counts = request.exchange = await Race().run(exchange, send, late_s, second)
        gate.tally.hedges_won += counts is not exchange and counts.began
        return counts

    async def _send(self, request: Request, gate: Gate, replica: str, outgoing: Outgoing, exchange: Exchange) -> None:
        request.tries += 1
        try:
            # A replica may leave the routes between a grant and this line; then there is nobody to connect to.
            url = gate.urls.get(replica, NOBODY)
            if request.trace is None:
                await self.sender.send(url, outgoing, gate.route.limits, request.send, exchange)
            else:
                with request.trace.exchange(outgoing, replica, url, exchange) as traced:
                    await self.sender.send(url, traced, gate.route.limits, request.send, exchange)
        finally:
            gate.ended(replica, request.outcome(exchange), None if exchange.began else exchange.latency_s)

    def _copy(self, gate: Gate, outgoing: Outgoing) -> None:
        for replica in gate.copies():
            gate.tally.copied += 1
            task = self.loop.create_task(self._send_copy(gate, replica, outgoing))
            self.copies.add(task)
            task.add_done_callback(self.copies.discard)

    async def _send_copy(self, gate: Gate, replica: str, outgoing: Outgoing) -> None:
        marked = Outgoing(
            outgoing.method, outgoing.target, [*outgoing.headers, ("x-godwit-shadow", "1")], outgoing.body
        )
        exchange = Exchange(on_head=partial(gate.headed, replica))
        try:
            async with asyncio.timeout(COPY_S):
                url = gate.urls.get(replica, NOBODY)
                await self.sender.send(url, marked, gate.route.limits, _throw_away, exchange)
        except TimeoutError:
            pass  # an answer without an end; what it says of the replica is in `exchange`
        finally:
            gate.ended(replica, exchange.said, None if exchange.began else exchange.latency_s)

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


async def _throw_away(_message: MutableMapping[str, Any]) -> None:
    """Where the answers to copies go."""


def rank(key: KeyRoute | None, route: ServiceRoute) -> int:
    """Whose turn it is first: batch where the service or the key is of that class."""
    return BATCH if route.priority == "batch" or (key is not None and key.priority == "batch") else INTERACTIVE


def _may_be_sent_twice(request: Request, gate: Gate) -> bool:
    """Whether its method, its client or its service says that nothing more happens by the second time."""
    if request.scope["method"] in IDEMPOTENT or gate.route.hedge == "always":
        return True
    return bool(first(request.headers, IDEMPOTENCY_KEY))


def _outgoing(request: Request, found: Found) -> Outgoing:
    scope = request.scope
    kept = passed_on(request.headers, _OURS_AND_KEY if request.key is not None else _OURS)
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in kept]
    headers.append(("x-request-id", request.id))
    if scope.get("client"):
        headers.append(("x-forwarded-for", scope["client"][0]))
    query = scope["query_string"]
    target = found.target + ("?" + query.decode("latin-1") if query else "")
    return Outgoing(scope["method"], target, headers, request.body or None)
