"""What a provider answers over HTTP: JSON, bounded in size and in time, from the address that was asked."""

import json
from collections.abc import Mapping
from typing import Any, Protocol

import httpx
from godwit.control_plane import outward
from godwit.control_plane.login.claims import Reason, Refused

TIMEOUT_S = 10.0
"""For a whole answer: a person waits for it in a browser."""

ANSWER_BYTES_MAX = 512 * 1024


class Fetch(Protocol):
    """Asks a provider. Raises `Refused` when nothing usable comes."""

    def __call__(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, body: str | None = None
    ) -> Mapping[str, Any]: ...


class Fetcher:
    """Asks over HTTP. Redirects are not followed: a provider's addresses are those that it publishes."""

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s

    def __call__(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, body: str | None = None
    ) -> Mapping[str, Any]:
        """One request, once: whoever waits for it in a browser tries again by a click."""
        # Whom the operator named may lie in a private network; never where a cloud keeps its credentials.
        way = outward.Judged(private=True, total_s=self._timeout_s)
        client = httpx.Client(timeout=self._timeout_s, follow_redirects=False, trust_env=False, transport=way)
        sent = {"Accept": "application/json", **(headers or {})}
        try:
            with client, client.stream(method, url, headers=sent, content=body) as answer:
                text = _bounded(answer, url)
                status = answer.status_code
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise Refused(Reason.UNREACHABLE, f"{url} does not answer: {exc or type(exc).__name__}") from exc
        return _parsed(text, status, url)


def _bounded(answer: httpx.Response, url: str) -> bytes:
    text = b""
    for part in answer.iter_bytes():
        text += part
        if len(text) > ANSWER_BYTES_MAX:
            raise Refused(Reason.UNREACHABLE, f"{url} answers with more than {ANSWER_BYTES_MAX} bytes")
    return text


def _parsed(text: bytes, status: int, url: str) -> Mapping[str, Any]:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise Refused(Reason.UNREACHABLE, f"{url} answers {status} and no JSON") from exc
    if not isinstance(said, dict):
        raise Refused(Reason.UNREACHABLE, f"{url} answers {status} and no JSON object")
    if status != httpx.codes.OK:
        # RFC 6749, section 5.2: `error` is a word of a list; what else the answer says may hold what we sent.
        raise Refused(Reason.UNREACHABLE, f"{url} answers {status}, {str(said.get('error', 'no reason'))[:60]!r}")
    return said
