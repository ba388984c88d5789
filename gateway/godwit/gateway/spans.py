"""Requests as OpenTelemetry's spans: one for each, and one below it for each exchange with a replica.

Names and attributes are those of the semantic conventions for HTTP spans (opentelemetry.io, HTTP spans, stable since
2023); what is godwit's own begins with `godwit.`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from godwit.gateway.exchange import Exchange, Outgoing
from godwit.gateway.http import Headers
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, format_trace_id, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_PROPAGATED = frozenset({b"traceparent", b"tracestate"})
_W3C = TraceContextTextMapPropagator()


class SpanTrace:
    """One request. `id` is its trace's, in hexadecimal digits."""

    def __init__(self, tracer: Tracer, method: str, path: str, parent: Context) -> None:
        self._tracer = tracer
        self._span = tracer.start_span(method, parent, SpanKind.SERVER)
        self._method = method
        self._span.set_attributes({"http.request.method": method, "url.path": path})
        self._context = set_span_in_context(self._span, parent)
        self.id = format_trace_id(self._span.get_span_context().trace_id)

    @contextmanager
    def exchange(self, outgoing: Outgoing, replica: str, url: str, exchange: Exchange) -> Iterator[Outgoing]:
        """A span of one exchange; what it gives is sent in place of `outgoing`."""
        span = self._tracer.start_span(self._method, self._context, SpanKind.CLIENT)
        carried: dict[str, str] = {}
        _W3C.inject(carried, set_span_in_context(span, self._context))
        kept = [one for one in outgoing.headers if one[0].lower() not in ("traceparent", "tracestate")]
        try:
            yield Outgoing(outgoing.method, outgoing.target, [*kept, *carried.items()], outgoing.body)
        finally:
            _tell(span, replica, url, exchange)
            span.end()

    def end(self, status: int, facts: Mapping[str, Any]) -> None:
        """The request is over; `facts` are godwit's own."""
        span = self._span
        service = facts.get("service")
        if service:
            span.update_name(f"{self._method} {service}")
        span.set_attribute("http.response.status_code", status)
        span.set_attributes({f"godwit.{name}": value for name, value in facts.items()})
        if status >= 500:
            span.set_status(Status(StatusCode.ERROR, str(facts.get("why") or facts.get("shed") or "")))
        span.end()


class SpanTraces:
    """All traces of a gateway, through one provider."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("godwit.gateway")

    def begin(self, method: str, path: str, headers: Headers) -> SpanTrace:
        """A request came; it is part of its client's trace where it names one."""
        carried = {name.decode(): value.decode("latin-1") for name, value in headers if name in _PROPAGATED}
        return SpanTrace(self._tracer, method, path, _W3C.extract(carried, Context()))

    def close(self) -> None:
        """Send what was not sent yet; the SDK waits for 30 s at most."""
        self._provider.shutdown()


def exporting(kind: str, name: str, env: Mapping[str, str]) -> SpanTraces:
    """Traces that go where the OTEL_* variables say, in batches, from a thread of their own."""
    return made(BatchSpanProcessor(ConsoleSpanExporter() if kind == "console" else _otlp()), name, env)


def made(processor: SpanProcessor, name: str, env: Mapping[str, str]) -> SpanTraces:
    """Traces for this processor; the sampler and the rest of the resource are what the variables say."""
    ours = {"service.instance.id": name}
    if not env.get("OTEL_SERVICE_NAME") and "service.name" not in env.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        ours |= {"service.name": "godwit-gateway"}
    provider = TracerProvider(resource=Resource.create(ours), shutdown_on_exit=False)
    provider.add_span_processor(processor)
    return SpanTraces(provider)


def _otlp() -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - may be missing

    return OTLPSpanExporter()


def _tell(span: Span, replica: str, url: str, exchange: Exchange) -> None:
    """What became of an exchange."""
    address = urlsplit(url)
    span.set_attributes(
        {
            "server.address": address.hostname or "",
            "server.port": address.port or 0,
            "godwit.replica": replica,
            "godwit.outcome": exchange.said.value,
            "godwit.head_s": exchange.latency_s,
        }
    )
    if exchange.status:
        span.set_attribute("http.response.status_code", exchange.status)
    if exchange.why:
        span.set_attribute("error.type", exchange.why.partition(":")[0])
        span.set_status(Status(StatusCode.ERROR, exchange.why[:300]))
    elif exchange.status >= 500:
        span.set_status(Status(StatusCode.ERROR))
