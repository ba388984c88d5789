"""One request at one replica: sent, answered, passed back; what is known at the end is its outcome."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import lru_cache

import aiohttp
import yarl
from godwit.domain.wire.routes import Limits
from godwit.gateway.http import Headers, Send, passed_on
from godwit.gateway.openai import UsageReader
from godwit.gateway.regulator.replicas import Outcome

_UNSENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_BROKEN = (aiohttp.ClientError, TimeoutError, OSError, ValueError)

COARSE = 0.05
"""The part of `idle_s` by which a stream may be cut off early; moving the deadline for each piece costs as much as
reading it."""

_REFUSALS = frozenset({429, 503})


@dataclass(slots=True)
class Outgoing:
    """A request as a replica gets it. `body` is bytes where it was read whole, so that it can be sent again."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes | AsyncIterator[bytes] | None


@dataclass(slots=True)
class Exchange:
    """What became of a request at one replica. `began`: the client has the head of the answer.

    `latency_s` is until the head of the answer. `why` says what broke, for the log. `retriable`: a replica's own
    refusal is not shown to the client, since another replica may be asked. `on_head` is told when the head is there.
    `claim` is asked then whether this answer is the one that the client is to have; None: there is no other.
    """

    outcome: Outcome = Outcome.ABANDONED
    latency_s: float = 0.0
    status: int = 0
    began: bool = False
    whole: bool = False
    retriable: bool = False
    why: str = ""
    usage: UsageReader | None = None
    extra: Headers = field(default_factory=list)
    on_head: Callable[[float], None] = field(default=lambda _latency_s: None)
    claim: Callable[[], bool] | None = None

    @property
    def said(self) -> Outcome:
        """What it says of its replica; a client that left in the middle of an answer says nothing of it."""
        return Outcome.ABANDONED if self.began and not self.whole and not self.why else self.outcome


class Sender:
    """Sends requests to replicas over connections that it keeps."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # Below the 5 s after which uvicorn and Node.js close a silent connection, so that this side closes first.
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=4.0, ttl_dns_cache=10)
        self.session = aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            timeout=aiohttp.ClientTimeout(total=None),
            trust_env=False,
        )

    async def close(self) -> None:
        """Let all connections go."""
        await self.session.close()

    async def send(self, url: str, request: Outgoing, limits: Limits, send: Send, exchange: Exchange) -> None:
        """Send a request to the replica at `url` and its answer to the client.

        Never raises but for cancellation; `exchange` says how it went, also then.
        """
        began = self._loop.time()
        try:
            await self._exchange(url, request, limits, send, exchange, began)
        except _UNSENT as error:
            exchange.outcome, exchange.why = Outcome.UNREACHABLE, f"{type(error).__name__}: {error}"
        except _BROKEN as error:
            exchange.outcome, exchange.why = Outcome.FAILED, f"{type(error).__name__}: {error}"
        finally:
            if not exchange.began:
                exchange.latency_s = self._loop.time() - began

    async def _exchange(
        self, url: str, request: Outgoing, limits: Limits, send: Send, exchange: Exchange, began: float
    ) -> None:
        async with asyncio.timeout(limits.first_byte_s) as deadline:
            async with self.session.request(
                request.method,
                yarl.URL(url + request.target, encoded=True),
                headers=request.headers,
                data=request.body,
                allow_redirects=False,
                timeout=_connecting(limits.connect_s),
            ) as response:
                exchange.latency_s = self._loop.time() - began
                exchange.status = response.status
                exchange.outcome = outcome_of(response.status)
                if exchange.outcome is Outcome.REFUSED and exchange.retriable:
                    return
                if exchange.claim is not None and not exchange.claim():
                    return
                await self._pass_on(response, limits.idle_s, send, exchange, deadline)
                exchange.whole = True

    async def _pass_on(
        self,
        response: aiohttp.ClientResponse,
        idle_s: float,
        send: Send,
        exchange: Exchange,
        deadline: asyncio.Timeout,
    ) -> None:
        content, moved = response.content, self._loop.time()
        if not content.is_eof():
            deadline.reschedule(moved + idle_s)
        exchange.began = True
        if exchange.outcome is Outcome.ANSWERED:
            exchange.on_head(exchange.latency_s)
        head = passed_on(response.raw_headers)
        await send({"type": "http.response.start", "status": response.status, "headers": head + exchange.extra})
        async for chunk in content.iter_any():
            if exchange.usage is not None:
                exchange.usage.see(chunk)
            is_last = content.at_eof()
            await send({"type": "http.response.body", "body": chunk, "more_body": not is_last})
            if is_last:
                return
            if (now := self._loop.time()) > moved + idle_s * COARSE:
                moved = now
                deadline.reschedule(now + idle_s)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


@lru_cache(maxsize=64)
def _connecting(connect_s: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, sock_connect=connect_s)


def outcome_of(status: int) -> Outcome:
    """What the status of an answer says of its replica: an error of the client's (4xx) is none of the replica's."""
    if status in _REFUSALS:
        return Outcome.REFUSED
    return Outcome.FAILED if status >= 500 else Outcome.ANSWERED
