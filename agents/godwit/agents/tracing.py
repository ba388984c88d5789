"""Attempts as spans of their jobs' traces, where the standard OTEL_* variables name an exporter; else nothing at all.

How ids come about is in `domain/tracing`: the control plane works out the same ones.
"""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import structlog
from godwit.domain import tracing
from godwit.domain.errors import InvalidRequest
from godwit.domain.wire.agents import StartAttempt

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

log = structlog.get_logger()

Trace = Callable[[str, StartAttempt, float, str], None]
"""(name, the attempt's command, when it began in seconds since the epoch, what went wrong): it ended now."""


def nothing(_name: str, _command: StartAttempt, _began_at: float, _error: str) -> None:
    """Record nothing."""


def open_trace(env: Mapping[str, str], node_id: str) -> Trace:
    """What records spans, as the variables say. What they ask for and is not there is logged: the agent works on."""
    try:
        return _asked_for(env, node_id)
    except InvalidRequest as exc:
        log.warning("attempts are not traced", reason=exc.message)
        return nothing


def _asked_for(env: Mapping[str, str], node_id: str) -> Trace:
    kind = tracing.exporter(env)
    if not kind:
        return nothing
    try:
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter  # noqa: PLC0415 - seldom

        if kind == "console":
            return recording(BatchSpanProcessor(ConsoleSpanExporter()), env, node_id)
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - seldom

        return recording(BatchSpanProcessor(OTLPSpanExporter()), env, node_id)
    except ImportError as exc:
        raise InvalidRequest(
            f"traces are configured (OTEL_*), but {exc.name} is not installed; pip install 'godwit[agent,traces]'"
        ) from exc


def recording(processor: "SpanProcessor", env: Mapping[str, str], node_id: str) -> Trace:
    """What records spans with this processor."""
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - only where traces are wanted
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.trace import (  # noqa: PLC0415
        NonRecordingSpan,
        SpanContext,
        SpanKind,
        Status,
        StatusCode,
        TraceFlags,
        set_span_in_context,
    )

    ours = {"service.instance.id": node_id}
    if not env.get("OTEL_SERVICE_NAME") and "service.name" not in env.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        ours["service.name"] = "godwit-agent"
    provider = TracerProvider(resource=Resource.create(ours))
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("godwit.agents")

    def record(name: str, command: StartAttempt, began_at: float, error: str) -> None:
        root = tracing.root_of(tracing.of_job(command.job_id))
        of = SpanContext(int(root.trace_id, 16), int(root.span_id, 16), True, TraceFlags(TraceFlags.SAMPLED))
        told: dict[str, str | int] = {
            "godwit.job": command.job_id, "godwit.attempt": command.attempt_id, "godwit.epoch": command.epoch,
            "godwit.rank": command.rank, "godwit.node": node_id,
        }  # fmt: skip
        parent = set_span_in_context(NonRecordingSpan(of))
        span = tracer.start_span(name, parent, SpanKind.INTERNAL, told, start_time=int(began_at * 1e9))
        if error:
            span.set_status(Status(StatusCode.ERROR, error[:300]))
        span.end(int(time.time() * 1e9))

    return record
