"""What both sides of the proxy know of HTTP: which headers go through, and what a refusal looks like."""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from typing import Any

from godwit.gateway import openai
from godwit.gateway.regulator.sheds import MEANINGS, Refusal

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
"""RFC 9110, section 9.2.2."""

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""RFC 9110, section 7.6.1: of one connection, not of the request."""

IDEMPOTENCY_KEY = b"idempotency-key"
"""By it a client says that its request may be sent twice (draft-ietf-httpapi-idempotency-key-header-07, section 2)."""

REQUEST_ID = b"x-request-id"
REQUEST_ID_MAX = 128


def passed_on(headers: Sequence[tuple[bytes, bytes]], without: frozenset[bytes] = HOP_BY_HOP) -> Headers:
    """The headers that go through; those that Connection names are of one connection too."""
    named = {
        token.strip().lower() for name, value in headers if name.lower() == b"connection" for token in value.split(b",")
    }
    left = without | named if named else without
    return [(name, value) for name, value in headers if name.lower() not in left]


def first(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str:
    """The first header of this name (in small letters), empty when there is none."""
    for key, value in headers:  # a generator would cost three times as much, several times for each request
        if key == name:
            return value.decode("latin-1")
    return ""


async def answer(send: Send, status: int, body: bytes, headers: Headers, kind: bytes = b"application/json") -> None:
    """Send a whole answer of the gateway's own."""
    fixed = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
    await send({"type": "http.response.body", "body": body})


async def refuse(send: Send, refusal: Refusal, headers: Headers) -> None:
    """Say that a request is not served, why, and when to try again."""
    more = [(b"retry-after", refusal.retry_after.encode()), (b"x-godwit-shed", refusal.reason.value.encode())]
    message = f"{MEANINGS[refusal.reason]}; try again after {refusal.retry_after} s"
    body = openai.problem(refusal.status, refusal.reason.value, message)
    await answer(send, refusal.status, body, [*more, *headers])
