"""A cloud's REST API, called once: what went wrong is sorted by what the caller of `Provider` does next.

Nothing is repeated here (`layers.retries` does that for calls that are safe to repeat), and neither credentials nor
request bodies get into errors or logs.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import httpx
from godwit.domain import errors

Parsed = TypeVar("Parsed")
Refuse = Callable[[int, Any, httpx.Headers], errors.ProviderError | None]
"""A cloud's own table: (status, body, headers) to an error, or None to sort it by the status alone.

The body is JSON, or a text where it is plain text, else None."""

_BEFORE_SENDING = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
"""With these no byte of the request was sent, so nothing happened."""

MAX_PAGES = 1_000
"""A listing longer than this is a cursor that turns in a circle."""


class Rest:
    """One account at one API. Safe to call from several threads.

    Each call takes `timeout_s` at the most to connect and as long again to be answered. `trust_env` False ignores the
    environment's proxies, as loopback addresses must.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        auth: httpx.Auth | None = None,
        refuse: Refuse = lambda _status, _body, _headers: None,
        timeout_s: float = 10.0,
        transport: httpx.BaseTransport | None = None,
        trust_env: bool = True,
    ) -> None:
        self.name, self.url = name, url
        self._refuse = refuse
        self._http = httpx.Client(
            base_url=url, headers=headers, auth=auth, timeout=timeout_s, transport=transport, trust_env=trust_env
        )

    def __repr__(self) -> str:
        return f"Rest({self.name!r}, {self.url!r})"

    def close(self) -> None:
        """Close the connections; it cannot be used afterwards."""
        self._http.close()

    def ask(
        self,
        method: str,
        path: str,
        *,
        launching: bool = False,
        missing_is_fine: bool = False,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
        refuse: Refuse | None = None,
    ) -> Any:
        """One call; returns the JSON of the answer, None when it has no body or is a 404 that is fine.

        Raises a `ProviderError`; `launching` says that an answer that never came may have bought a machine. `refuse`
        is asked before the cloud's own table, where a status means something else for this call.
        """
        try:
            response = self._http.request(method, path, json=json, params=params)
        except _BEFORE_SENDING as exc:
            raise errors.ProviderUnavailable(f"{self.name} cannot be reached: {_named(exc)}") from exc
        except httpx.HTTPError as exc:
            raise self._in_doubt(f"did not answer {method} {path}: {_named(exc)}", launching=launching) from exc
        if response.status_code == httpx.codes.NOT_FOUND and missing_is_fine:
            return None
        if response.is_success:
            return self.parse(lambda: response.json() if response.content else None, launching=launching)
        raise self._refusal(response, refuse, launching=launching)

    def parse(self, read: Callable[[], Parsed], *, launching: bool = False) -> Parsed:
        """Read an answer; what is missing or malformed is the cloud's fault, and a launch behind it is in doubt."""
        try:
            return read()
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as exc:
            message = f"sent an answer that cannot be read: {_named(exc)}"
            raise self._in_doubt(message, launching=launching) from exc

    def pages(self, ask: Callable[[Any], tuple[list[Parsed], Any]]) -> list[Parsed]:
        """Every item of a paged list: `ask(cursor)` answers one page and the next cursor, None at the end."""
        found: list[Parsed] = []
        cursor: Any = None
        for _ in range(MAX_PAGES):
            items, cursor = ask(cursor)
            found += items
            if cursor is None:
                return found
        raise errors.ProviderUnavailable(f"{self.name}: a list of more than {MAX_PAGES} pages does not end")

    def _in_doubt(self, what: str, *, launching: bool) -> errors.ProviderError:
        message = f"{self.name} {what}"
        return errors.UnknownOutcome(message) if launching else errors.ProviderUnavailable(message)

    def _refusal(self, response: httpx.Response, refuse: Refuse | None, *, launching: bool) -> errors.ProviderError:
        try:
            body = response.json()
        except ValueError:
            plain = response.headers.get("Content-Type", "").startswith("text/plain")
            body = response.text if plain else None
        for table in (refuse, self._refuse):
            own = self._own_refusal(table, response, body) if table else None
            if own is not None:
                return own
        return self._by_status(response, body, launching=launching)

    def _own_refusal(self, table: Refuse, response: httpx.Response, body: Any) -> errors.ProviderError | None:
        try:
            return table(response.status_code, body, response.headers)
        except (KeyError, TypeError, AttributeError, IndexError, ValueError):
            return None  # not the shape that this cloud's errors have: something in front of it answered

    def _by_status(self, response: httpx.Response, body: Any, *, launching: bool) -> errors.ProviderError:
        status = response.status_code
        message = f"{self.name} answered {status}: {said(body)}"
        if status == httpx.codes.TOO_MANY_REQUESTS:
            return errors.RateLimited(message, retry_after_s(response.headers) or 1.0)
        if status >= httpx.codes.INTERNAL_SERVER_ERROR:
            # Behind a 5xx a launch may have taken effect; only a cloud's own table may promise otherwise.
            return errors.UnknownOutcome(message) if launching else errors.ProviderUnavailable(message)
        if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            return errors.CredentialsRejected(message)
        return errors.RequestRejected(message)


def said(body: Any, limit: int = 300) -> str:
    """What an error body says, in one bounded line: the first message-like text in it."""
    if isinstance(body, Mapping):
        for key in ("message", "msg", "detail", "error", "error_reason", "title", "code"):
            if body.get(key):
                return said(body[key], limit)
    if isinstance(body, str):
        return " ".join(body.split())[:limit]
    return "no reason given"


def retry_after_s(headers: httpx.Headers) -> float | None:
    """Retry-After in seconds, None when there is none or it is a date."""
    try:
        return max(0.0, float(headers["Retry-After"]))
    except (KeyError, ValueError):
        return None


def instant_of(text: str) -> float:
    """Seconds since the epoch of an ISO 8601 text; one without a zone is in UTC. Raises `ValueError`."""
    told = datetime.fromisoformat(text)
    return (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp()


def _named(exc: Exception) -> str:
    return f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__
