"""What is done for one job is one trace: a request, a plan's action, an intent and the calls to its provider.

Nothing is recorded, and nothing of OpenTelemetry is imported, unless the standard OTEL_* variables name an exporter.
Log lines carry the same id either way. How ids come about is in `domain/tracing`.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog
from godwit.control_plane.version import VERSION
from godwit.domain import tracing
from godwit.domain.errors import InvalidRequest
from godwit.domain.tracing import Parent
from godwit.providers.layers import CallMetrics


@dataclass(frozen=True)
class Recorded:
    """A span that ended. Instants are seconds since the epoch; `links` are traces that belong to it.

    `own` is set where the span's id is known beforehand; `parent` None makes it the first of its trace.
    """

    name: str
    kind: str
    trace_id: str
    parent: Parent | None
    began_at: float
    ended_at: float
    own: Parent | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    links: tuple[Parent, ...] = ()
    error: str = ""


class Spans(Protocol):
    """Takes spans that ended. Callable from any thread; never blocks, never raises."""

    def record(self, span: Recorded) -> None:
        """Send it, sooner or later."""

    def close(self) -> None:
        """Send what was not sent yet; may block for seconds."""


class Nowhere:
    """Takes no spans."""

    def record(self, span: Recorded) -> None:
        """Let it go."""

    def close(self) -> None:
        """Nothing is left to send."""


NOWHERE = Nowhere()


@dataclass
class Work:
    """What this thread does now, for which trace.

    `job_id` is noted where only the doing shows which job it is for; `is_first`: it made that job.
    """

    spans: Spans
    trace_id: str
    job_id: str | None = None
    is_first: bool = False


_work: ContextVar[Work | None] = ContextVar("godwit_work", default=None)


def note_job(job_id: str, *, made: bool = False) -> None:
    """Say that what is done now is about this job; if it was `made` now, its trace begins with it."""
    work = _work.get()
    if work is not None and work.job_id is None:
        work.job_id, work.is_first = job_id, made


@contextmanager
def working(spans: Spans, trace_id: str) -> Iterator[Work]:
    """Until the end of the block this thread works for a trace, and its log lines say so."""
    work = Work(spans, trace_id)
    token = _work.set(work)
    with structlog.contextvars.bound_contextvars(trace_id=trace_id):
        try:
            yield work
        finally:
            _work.reset(token)


@contextmanager
def carried_out(spans: Spans, name: str, trace_id: str, attributes: Mapping[str, Any]) -> Iterator[None]:
    """As `working`, recorded as a span below the trace's first one."""
    began_at, error = time.time(), ""
    with working(spans, trace_id):
        try:
            yield
        except Exception as exc:
            error = type(exc).__name__
            raise
        finally:
            parent = tracing.root_of(trace_id)
            spans.record(
                Recorded(name, "internal", trace_id, parent, began_at, time.time(), None, attributes, (), error)
            )


class TracedCalls(CallMetrics):
    """Counts calls to providers as ever, and records those that are made for a trace."""

    def count(self, provider: str, method: str, outcome: str, seconds: float) -> None:
        """One call ended, on this thread."""
        super().count(provider, method, outcome, seconds)
        work = _work.get()
        if work is None:
            return
        ended_at, is_fine = time.time(), outcome == "ok"
        attributes = {"godwit.provider": provider, "godwit.outcome": outcome}
        parent = tracing.root_of(work.trace_id)
        work.spans.record(
            Recorded(
                f"{provider} {method}", "client", work.trace_id, parent, ended_at - seconds, ended_at, None, attributes,
                (), "" if is_fine else outcome,
            )
        )  # fmt: skip


def open_spans(env: Mapping[str, str], name: str) -> Spans:
    """Where spans go as the variables say; `name` tells this process from others. Raises `InvalidRequest`."""
    kind = tracing.exporter(env)
    if not kind:
        return NOWHERE
    try:
        from godwit.control_plane import spans  # noqa: PLC0415 - only here, since it imports OpenTelemetry

        return spans.exporting(kind, name, VERSION, env)
    except ImportError as exc:
        raise InvalidRequest(
            f"traces are configured (OTEL_*), but {exc.name} is not installed; pip install 'godwit[server,traces]'"
        ) from exc
