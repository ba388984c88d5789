"""The control plane over HTTP: wire messages in and out, and every error turned into a sentence and an exit code."""

import json
import re
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, TypeVar
from urllib.parse import quote

import httpx
from godwit.cli.connection import Connection
from godwit.cli.exits import ExitCode, Failure
from godwit.domain.plain_text import visible, visible_within
from godwit.domain.wire.pages import FieldProblem, Message, Page, ProblemDetails
from pydantic import ValidationError

Reply = TypeVar("Reply", bound=Message)
Item = TypeVar("Item", bound=Message)
Scalar = str | int | float | bool | None
Params = Mapping[str, Scalar | Sequence[Scalar]]

TIMEOUT_S = 30.0
"""A control plane that is up answers in milliseconds; half a minute covers a machine that swaps."""

STREAM_SILENCE_S = 35.0
"""Event streams send a comment every 10 s, so three missed ones mean that the connection is dead."""

ATTEMPTS_MAX = 6
BACKOFF_S = 0.5
"""Writes are repeated under their own key: 0.5, 1, 2, 4, 8 s, enough for a control plane to be started again."""

TOO_MANY, WAIT_MAX_S = 429, 30.0
"""Who asks too often waits as long as the answer says, within reason."""

_STEERING = re.compile(rb"\\u00[01789]|\\u20[26]|\\[bfr]|\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8-\xae]|\xe2\x81[\xa6-\xa9]")
"""Where JSON may hold control characters, escaped or not, or what turns the direction of writing."""

PAGE_LIMIT = 100
EXIT_BY_STATUS = {
    400: ExitCode.USAGE, 401: ExitCode.UNREACHABLE, 403: ExitCode.UNREACHABLE, 404: ExitCode.NOT_FOUND,
    409: ExitCode.CONFLICT, 410: ExitCode.CONFLICT, 412: ExitCode.CONFLICT, 413: ExitCode.USAGE, 422: ExitCode.USAGE,
}  # fmt: skip

NOBODY_SERVES = (502, 503, 504)
"""How a proxy says that none of the control planes behind it answered, or one of them that it has no connection to
spare (RFC 9110, sections 15.6.3 to 15.6.5)."""


class Refused(Failure):
    """The control plane answered with an error; `problems` name the fields at fault."""

    def __init__(self, message: str, status: int, problems: list[FieldProblem] | None = None) -> None:
        super().__init__(message, EXIT_BY_STATUS.get(status, ExitCode.FAILED))
        self.status = status
        self.problems = problems or []


class NobodyServes(Refused):
    """A proxy answered and none of the control planes behind it, or one that has no connection to spare."""

    def __init__(self, response: httpx.Response) -> None:
        url = str(response.request.url.copy_with(path="/", query=None)).rstrip("/")
        super().__init__(
            f"no control plane at {url} takes requests now ({response.status_code} {response.reason_phrase}); one that "
            "was just started does in some seconds: ask again, and look at its log if that goes on",
            response.status_code,
        )
        self.code = ExitCode.UNREACHABLE


class Unreachable(Failure):
    """Nothing answers at the control plane's URL."""

    def __init__(self, url: str, cause: Exception) -> None:
        reason = str(cause) or type(cause).__name__
        super().__init__(
            f"the control plane at {url} does not answer ({reason}); start it with `godwit up --detach`, "
            "or set GODWIT_URL and GODWIT_TOKEN",
            ExitCode.UNREACHABLE,
        )


class ControlPlane:
    """A control plane to ask. Not shared between threads: each follower makes its own."""

    def __init__(
        self,
        connection: Connection,
        transport: httpx.BaseTransport | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = connection.url
        self._pause = pause
        loopback = connection.url.startswith("http://")
        self._http = httpx.Client(
            base_url=connection.url,
            headers={"Authorization": f"Bearer {connection.token}"} if connection.token else {},
            timeout=httpx.Timeout(TIMEOUT_S, connect=5.0),
            transport=transport,
            # Loading the machine's certificates takes 20 ms of CPU; over plain HTTP an empty set will do.
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if loopback else True,
            # A proxy from the environment must not see loopback traffic.
            trust_env=not loopback,
        )

    def get(self, path: str, reply: type[Reply], params: Params | None = None) -> Reply:
        """Read one thing."""
        return _parse(self._send("GET", path, params=_set(params)), reply)

    def get_text(self, path: str, params: Params | None = None) -> str:
        """Read plain text, whole."""
        return self._send("GET", path, params=_set(params)).text

    def pages(self, path: str, item: type[Item], params: Params | None = None) -> Iterator[Item]:
        """Read a list to its end, page by page."""
        cursor: str | None = None
        while True:
            page = self.get(path, Page[item], {"limit": PAGE_LIMIT, **(params or {}), "cursor": cursor})  # type: ignore[valid-type]
            yield from page.items
            cursor = page.next_cursor
            if cursor is None:
                return

    def post(self, path: str, body: Message | None, reply: type[Reply], key: str | None = None) -> Reply:
        """Write. With an idempotency `key` a lost answer is asked for again, with the same key."""
        sent = {} if body is None else {"json": body.model_dump(mode="json", exclude_unset=True)}
        headers = {"Idempotency-Key": key} if key else {}
        if key is None:
            return _parse(self._send("POST", path, headers=headers, **sent), reply)
        return _parse(self._repeat(lambda: self._send("POST", path, headers=headers, **sent)), reply)

    def replace(self, path: str, body: Message, reply: type[Reply]) -> Reply:
        """Write the thing at `path` as it should be. Asked once: a version in `body` is used up by the first."""
        return _parse(self._send("PUT", path, json=body.model_dump(mode="json", exclude_unset=True)), reply)

    def delete(self, path: str) -> None:
        """Remove the thing at `path`; a DELETE may always be repeated."""
        self._repeat(lambda: self._send("DELETE", path))

    def has(self, path: str) -> bool:
        """Whether the thing at `path` exists."""
        try:
            self._repeat(lambda: self._send("HEAD", path))
        except Refused as refused:
            if refused.status == 404:
                return False
            raise
        return True

    def put(self, path: str, content: BinaryIO, size_bytes: int, content_type: str, reply: type[Reply]) -> Reply:
        """Upload a file; a PUT may always be repeated."""

        def once() -> httpx.Response:
            content.seek(0)
            headers = {"Content-Type": content_type, "Content-Length": str(size_bytes)}
            return self._send("PUT", path, headers=headers, content=content)

        return _parse(self._repeat(once), reply)

    @contextmanager
    def stream(self, path: str, params: Params | None = None) -> Iterator[Iterator[str]]:
        """Open an event stream; yields its lines. Raises `Unreachable` when the connection breaks."""
        timeout = httpx.Timeout(STREAM_SILENCE_S, connect=5.0)
        try:
            with self._http.stream("GET", path, params=_set(params), timeout=timeout) as response:
                if response.is_error:
                    response.read()
                    raise _refusal(response)
                yield _lines(response.iter_text())
        except httpx.TransportError as exc:
            raise Unreachable(self.url, exc) from exc

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        for attempt in range(ATTEMPTS_MAX):
            try:
                response = self._http.request(method, path, **request)
            except httpx.TransportError as exc:
                raise Unreachable(self.url, exc) from exc
            # Whoever is told to wait was not served, so anything may be sent again; but for a file, which was read.
            pause_s = None if "content" in request else _told_to_wait_s(response)
            if pause_s is None or attempt == ATTEMPTS_MAX - 1:
                break
            self._pause(pause_s)
        if response.is_error:
            raise _refusal(response)
        return response

    def _repeat(self, call: Callable[[], httpx.Response]) -> httpx.Response:
        for attempt in range(ATTEMPTS_MAX):
            try:
                return call()
            except (Unreachable, Refused) as failure:
                passing = isinstance(failure, Unreachable) or failure.status in (429, 502, 503, 504)
                if not passing or attempt == ATTEMPTS_MAX - 1:
                    raise
            self._pause(BACKOFF_S * 2**attempt)
        raise AssertionError("the loop returns or raises")


def path_of(collection: str, name: str, *rest: str) -> str:
    """The path of one thing of a collection; whatever a person typed as its name stays one segment."""
    return "/".join((collection, quote(name, safe=""), *rest))


def _set(params: Params | None) -> dict[str, Scalar | Sequence[Scalar]]:
    return {key: value for key, value in (params or {}).items() if value is not None}


def _lines(pieces: Iterable[str]) -> Iterator[str]:
    """Lines that end with a line feed, as event streams are written; httpx would also split at what text may hold."""
    begun = ""
    for piece in pieces:
        *whole, begun = (begun + piece).split("\n")
        yield from (line.removesuffix("\r") for line in whole)


def _tamed(content: bytes) -> bytes:
    """JSON whose texts steer no terminal: names and reasons are by users, nodes and providers. Most needs no change."""
    if _STEERING.search(content) is None:
        return content
    try:
        return json.dumps(visible_within(json.loads(content))).encode()
    except ValueError:
        return content  # no JSON: what reads it next says so


def _parse(response: httpx.Response, reply: type[Reply]) -> Reply:
    try:
        return reply.model_validate_json(_tamed(response.content))
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Failure(
            f"the answer of {response.request.url.path} is not understood ({where}: {first['msg']}); "
            "`godwit version` shows whether this command and the control plane are of one version"
        ) from exc


def _told_to_wait_s(response: httpx.Response) -> float | None:
    told = response.headers.get("Retry-After", "")
    if response.status_code != TOO_MANY or not told.isdecimal():
        return None
    return min(float(told[:6]), WAIT_MAX_S)


def _refusal(response: httpx.Response) -> Refused:
    status = response.status_code
    try:
        details = ProblemDetails.model_validate_json(_tamed(response.content))
    except ValidationError:
        if status in NOBODY_SERVES:
            return NobodyServes(response)
        words = visible(response.text.strip()[:200]) or response.reason_phrase
        return Refused(f"the control plane answered {status}: {words}", status)
    meant = next((problem.did_you_mean for problem in details.problems if problem.did_you_mean), None)
    message = (details.detail or details.title) + (f"; did you mean {meant}?" if meant else "")
    return Refused(message, status, details.problems)
