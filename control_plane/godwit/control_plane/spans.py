"""Spans as OpenTelemetry's SDK sends them; only imported where an exporter is configured."""

import threading
from collections.abc import Mapping

from godwit.control_plane.tracing import Recorded
from godwit.domain.tracing import Parent
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

_KINDS = {"server": SpanKind.SERVER, "client": SpanKind.CLIENT, "internal": SpanKind.INTERNAL}


class GivenIds(RandomIdGenerator):
    """Ids that were worked out beforehand, for the span that this thread begins next; random ones otherwise."""

    def __init__(self) -> None:
        self._given = threading.local()

    def give(self, own: Parent | None) -> None:
        """The next span of this thread has these ids."""
        self._given.ids = own

    def generate_trace_id(self) -> int:
        own: Parent | None = getattr(self._given, "ids", None)
        return super().generate_trace_id() if own is None else int(own.trace_id, 16)

    def generate_span_id(self) -> int:
        own: Parent | None = getattr(self._given, "ids", None)
        return super().generate_span_id() if own is None else int(own.span_id, 16)


class SentSpans:
    """Hands spans to the SDK, which samples, batches and sends them from a thread of its own."""

    def __init__(self, provider: TracerProvider, ids: GivenIds) -> None:
        self._provider, self._ids = provider, ids
        self._tracer = provider.get_tracer("godwit.control_plane")

    def record(self, span: Recorded) -> None:
        """Send it, sooner or later; of too many at once the SDK drops some."""
        parent = Context() if span.parent is None else set_span_in_context(NonRecordingSpan(_context(span.parent)))
        links = [Link(_context(link)) for link in span.links]
        self._ids.give(span.own)
        try:
            sent = self._tracer.start_span(
                span.name, parent, _KINDS[span.kind], dict(span.attributes), links, int(span.began_at * 1e9)
            )
        finally:
            self._ids.give(None)
        if span.error:
            sent.set_status(Status(StatusCode.ERROR, span.error))
        sent.end(int(span.ended_at * 1e9))

    def close(self) -> None:
        """Send what was not sent yet; the SDK waits for 30 s at most."""
        self._provider.shutdown()


def exporting(kind: str, name: str, version: str, env: Mapping[str, str]) -> SentSpans:
    """Spans that go where the OTEL_* variables say, in batches."""
    return made(BatchSpanProcessor(ConsoleSpanExporter() if kind == "console" else _otlp()), name, version, env)


def made(processor: SpanProcessor, name: str, version: str, env: Mapping[str, str]) -> SentSpans:
    """Spans for this processor; the sampler and the rest of the resource are what the variables say."""
    ours = {"service.instance.id": name, "service.version": version}
    if not env.get("OTEL_SERVICE_NAME") and "service.name" not in env.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        ours["service.name"] = "godwit-control-plane"
    ids = GivenIds()
    provider = TracerProvider(resource=Resource.create(ours), shutdown_on_exit=False, id_generator=ids)
    provider.add_span_processor(processor)
    return SentSpans(provider, ids)


def _otlp() -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - may be missing

    return OTLPSpanExporter()


def _context(of: Parent) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if of.sampled else TraceFlags.DEFAULT)
    return SpanContext(int(of.trace_id, 16), int(of.span_id, 16), is_remote=True, trace_flags=flags)
