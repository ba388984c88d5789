"""Whether requests are traced, which the standard OTEL_* variables say; nothing of OpenTelemetry is imported otherwise.

W3C Trace Context is what goes in and out (w3.org/TR/trace-context): a traceparent of the client's is taken, or one is
made, and each replica is sent the one of its own exchange. Without traces, headers go through as they came.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from importlib.util import find_spec
from typing import Any, Protocol

from godwit.domain import tracing
from godwit.domain.errors import InvalidRequest
from godwit.gateway.exchange import Exchange, Outgoing
from godwit.gateway.http import Headers, first

TRACEPARENT = b"traceparent"

_LENGTH = 55
"""Of a traceparent of version 00: two digits, 32, 16 and two, with hyphens between them."""


class Trace(Protocol):
    """One request as a span."""

    id: str
    """The trace's, 32 hexadecimal digits."""

    def exchange(
        self, outgoing: Outgoing, replica: str, url: str, exchange: Exchange
    ) -> AbstractContextManager[Outgoing]:
        """A span below it for one replica; gives the request as that is sent, with the traceparent of this span."""

    def end(self, status: int, facts: Mapping[str, Any]) -> None:
        """The request is over."""


class Traces(Protocol):
    """Makes a trace of each request."""

    def begin(self, method: str, path: str, headers: Headers) -> Trace:
        """A request came."""

    def close(self) -> None:
        """Send what was not sent yet; may block for seconds."""


def asked(env: Mapping[str, str]) -> str:
    """The kind of exporter that is configured, "otlp" or "console"; empty for none, which is what no variable means.

    Raises `InvalidRequest` for one that there is not, or whose package is missing.
    """
    kind = tracing.exporter(env)
    if not kind:
        return ""
    needed = "opentelemetry.exporter.otlp.proto.http" if kind == "otlp" else "opentelemetry.sdk"
    if not _is_there(needed):
        raise InvalidRequest("traces are configured (OTEL_*), but not installed; pip install 'godwit[gateway,traces]'")
    return kind


def open_traces(env: Mapping[str, str], name: str) -> Traces | None:
    """What makes traces, None where no exporter is configured; `name` is the gateway's. Raises as `asked`."""
    kind = asked(env)
    if not kind:
        return None
    from godwit.gateway import spans  # noqa: PLC0415 - only here, since it imports OpenTelemetry

    return spans.exporting(kind, name, env)


def id_of(headers: Headers) -> str:
    """The trace that a client says its request is part of; empty when it says nothing that can be read."""
    given = first(headers, TRACEPARENT)
    return given[3:35] if len(given) >= _LENGTH and given[2] == given[35] == "-" else ""


def _is_there(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        return False
