"""WebSockets: a connection on each side, and whatever one says goes to the other."""

import asyncio
import time
from typing import Any

import aiohttp
from godwit.gateway import finding
from godwit.gateway.carrying import rank
from godwit.gateway.finding import Denied
from godwit.gateway.gate import Gate
from godwit.gateway.http import HOP_BY_HOP, Headers, Receive, Scope, Send, passed_on
from godwit.gateway.proxy import Proxy
from godwit.gateway.regulator.queue import Waiting
from godwit.gateway.regulator.replicas import Outcome
from godwit.gateway.regulator.service import Granted

MESSAGE_BYTES_MAX = 16 * 1024 * 1024
"""As uvicorn has it for what clients send."""

POLICY, TRY_AGAIN, BROKEN = 1008, 1013, 1011
"""Codes of a close: RFC 6455, section 7.4.1, and 1013 of the registry that it set up."""

_OWN = HOP_BY_HOP | {b"host", b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-extensions"}


async def serve(proxy: Proxy, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one WebSocket to its end. It counts as one request for as long as it lasts."""
    await receive()
    headers: Headers = scope["headers"]
    try:
        key = finding.key(proxy.index, headers, time.time())
        found = finding.service(proxy.index, scope, headers, key, b"")
    except Denied:
        await send({"type": "websocket.close", "code": POLICY})
        return
    gate = proxy.gates[found.route.project, found.route.name]
    gate.tally.requests += 1
    short = proxy.metered(key, gate)
    verdict = short or await gate.admit(Waiting(proxy.loop.time(), rank(key, found.route), found.affinity))
    if not isinstance(verdict, Granted):
        gate.tally.shed += 1
        await send({"type": "websocket.close", "code": TRY_AGAIN, "reason": verdict.reason.value})
        return
    query = scope["query_string"].decode("latin-1")
    url = gate.urls.get(verdict.replica, "") + found.target + ("?" + query if query else "")
    await _carry(proxy, gate, verdict, url, passed_on(headers, _OWN), receive, send, scope.get("subprotocols") or [])


async def _carry(
    proxy: Proxy,
    gate: Gate,
    granted: Granted,
    url: str,
    headers: Headers,
    receive: Receive,
    send: Send,
    protocols: list[str],
) -> None:
    outcome, latency_s, began = Outcome.ABANDONED, None, proxy.loop.time()
    try:
        async with proxy.sender.session.ws_connect(
            url,
            headers=[(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers],
            protocols=protocols,
            max_msg_size=MESSAGE_BYTES_MAX,
            timeout=aiohttp.ClientWSTimeout(ws_close=5.0),
        ) as upstream:
            gate.headed(granted.replica, proxy.loop.time() - began)
            outcome = Outcome.ANSWERED
            await send({"type": "websocket.accept", "subprotocol": upstream.protocol})
            await _pump(upstream, receive, send)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        refused = isinstance(error, aiohttp.ClientConnectorError)
        outcome = Outcome.UNREACHABLE if refused else Outcome.FAILED
        gate.tally.failed += 1
        await send({"type": "websocket.close", "code": BROKEN})
    finally:
        gate.ended(granted.replica, outcome, latency_s)


async def _pump(upstream: aiohttp.ClientWebSocketResponse, receive: Receive, send: Send) -> None:
    """Carry messages both ways until one side closes, then close the other."""
    inward = asyncio.create_task(_inward(upstream, receive))
    try:
        async for message in upstream:
            what: dict[str, Any] = {"type": "websocket.send"}
            what["text" if message.type is aiohttp.WSMsgType.TEXT else "bytes"] = message.data
            await send(what)
        if not inward.done():
            await send({"type": "websocket.close", "code": upstream.close_code or BROKEN})
    finally:
        inward.cancel()
        await asyncio.gather(inward, return_exceptions=True)


async def _inward(upstream: aiohttp.ClientWebSocketResponse, receive: Receive) -> None:
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            await upstream.close(code=message.get("code") or 1000)
            return
        if message.get("text") is not None:
            await upstream.send_str(message["text"])
        else:
            await upstream.send_bytes(message.get("bytes") or b"")
