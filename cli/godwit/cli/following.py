"""Following a stream for as long as it takes: server-sent events, and a connection that may break in between."""

import json
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from godwit.cli.client import ControlPlane, Refused, Unreachable
from godwit.domain.plain_text import visible_within

PATIENCE_S = 600.0
"""A control plane that is away for longer is not being restarted; then a person must look."""

OUTPUT = "log"
"""The kind of events that hold a job's own output."""

BACKOFF_MIN_S = 0.2
BACKOFF_MAX_S = 5.0


@dataclass(frozen=True)
class StreamEvent:
    """One server-sent event: its kind, its JSON payload, and the cursor from which to read on."""

    kind: str
    data: dict[str, Any]
    cursor: str | None


@dataclass(frozen=True)
class Away:
    """The control plane does not answer; said once per outage."""

    message: str


@dataclass(frozen=True)
class Back:
    """The control plane answers again, `after_s` seconds later."""

    after_s: float


def parse_events(lines: Iterable[str]) -> Iterator[StreamEvent]:
    """Read `text/event-stream` lines, as https://html.spec.whatwg.org/multipage/server-sent-events.html has them.

    Comments are skipped; an event cut short by the end of the stream is dropped, since it will be sent again. Output
    of jobs (kind `log`) is as it was written; of all else, what would steer a terminal is made visible.
    """
    kind, cursor, data = "message", None, list[str]()
    for line in lines:
        if not line:
            if data:
                told = json.loads("\n".join(data))
                yield StreamEvent(kind, told if kind == OUTPUT else visible_within(told), cursor)
            kind, data = "message", []
            continue
        key, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if key == "event":
            kind = value
        elif key == "id":
            cursor = value
        elif key == "data":
            data.append(value)


def follow(
    connect: Callable[[], ControlPlane],
    path: str,
    params: dict[str, str | int | None],
    last_kind: str | None = None,
    monotonic: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[StreamEvent | Away | Back]:
    """Yield the events of a stream, reconnecting where it broke off, until one of `last_kind` came.

    `connect` is called again after each break: a control plane started anew may answer elsewhere. Gives up with the
    last `Unreachable` after `PATIENCE_S` seconds without an answer; a refusal (404, 401) is raised at once.
    """
    cursor = params.get("after")
    outage = Outage(monotonic)
    while True:
        try:
            with connect().stream(path, {**params, "after": cursor}) as lines:
                yield from outage.ended()
                for event in parse_events(lines):
                    cursor = event.cursor or cursor
                    yield event
                    if event.kind == last_kind:
                        return
        except (Unreachable, Refused) as failure:
            yield from outage.goes_on(failure)
        pause(outage.backoff_s())


class Outage:
    """How long nothing has answered, how often it was tried since, and when to give up."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._since: float | None = None
        self._tries = 0

    def ended(self) -> Iterator[Back]:
        """It answers."""
        if self._since is not None:
            yield Back(self._monotonic() - self._since)
        self._since, self._tries = None, 0

    def goes_on(self, failure: Unreachable | Refused) -> Iterator[Away]:
        """It does not answer; raises `failure` when it refuses for good, or after `PATIENCE_S`."""
        if isinstance(failure, Refused) and failure.status < 500:
            raise failure
        now = self._monotonic()
        if self._since is None:
            self._since = now
            yield Away(failure.message)
        if now - self._since > PATIENCE_S:
            raise failure

    def backoff_s(self) -> float:
        """How long to wait before the next try; half of it is random, so that many followers do not come in step."""
        self._tries += 1
        ceiling: float = min(BACKOFF_MAX_S, BACKOFF_MIN_S * 2 ** min(self._tries, 8))
        return ceiling * (0.5 + 0.5 * random.random())  # noqa: S311 - jitter, not a secret
