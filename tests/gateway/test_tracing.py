"""A request is one trace from its client to its replica, where the standard variables ask for traces."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import web
from godwit.domain.errors import InvalidRequest
from godwit.domain.wire.routes import Regulation
from godwit.gateway import spans, tracing
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, format_span_id, format_trace_id

from benchmarks.gateway.replica import Replica
from tests.gateway.inside import Answer, inside
from tests.gateway.process import running, service

ECHO = "/services/p/chat/echo"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GIVEN = {"Traceparent": f"00-{TRACE}-{PARENT}-01", "Tracestate": "theirs=1"}


def ask(
    *replicas: Replica,
    headers: dict[str, str] | None = None,
    env: dict[str, str] | None = None,
    law: Regulation | None = None,
) -> tuple[Answer, tuple[ReadableSpan, ...]]:
    """One request through a proxy in front of these replicas, of which some may be dead; its answer and its spans."""
    kept = InMemorySpanExporter()
    traces = spans.made(SimpleSpanProcessor(kept), "g-1", env or {})

    async def play() -> Answer:
        for replica in replicas:
            await replica.start()
            if replica.name == "dead":
                await replica.kill()
        routes = service(replicas, regulation=law or Regulation())
        async with inside([routes], traces=traces) as proxy:
            found = await proxy.ask(ECHO, headers=headers)
        for replica in replicas:
            await replica.kill()
        return found

    answer = asyncio.run(play())
    traces.close()
    return answer, kept.get_finished_spans()


def test_a_replica_is_part_of_the_trace_that_its_client_began() -> None:
    answer, (exchange, request) = ask(Replica("r1"), headers=GIVEN)
    assert request.context is not None
    assert exchange.context is not None
    assert format_trace_id(request.context.trace_id) == TRACE
    assert request.parent is not None
    assert format_span_id(request.parent.span_id) == PARENT
    assert exchange.parent is not None
    assert exchange.parent.span_id == request.context.span_id
    sent = answer.facts["headers"]
    assert sent["traceparent"] == f"00-{TRACE}-{format_span_id(exchange.context.span_id)}-01"
    assert sent["tracestate"] == "theirs=1"
    assert (request.kind, request.name) == (SpanKind.SERVER, "GET p/chat")
    assert (exchange.kind, (exchange.attributes or {})["godwit.replica"]) == (SpanKind.CLIENT, "r1")
    assert (request.attributes or {})["http.response.status_code"] == 200


def test_without_one_a_trace_is_made_and_says_whose_it_is() -> None:
    answer, (_, request) = ask(Replica("r1"))
    assert request.parent is None
    assert request.context is not None
    assert format_trace_id(request.context.trace_id) in answer.facts["headers"]["traceparent"]
    assert request.resource.attributes["service.name"] == "godwit-gateway"
    assert request.resource.attributes["service.instance.id"] == "g-1"


def test_each_exchange_has_a_span_of_its_own() -> None:
    _answer, (first, *_) = ask(Replica("dead"), law=Regulation(queue_wait_s=0.01))
    assert (first.attributes or {})["godwit.outcome"] == "unreachable"
    assert first.status.status_code is StatusCode.ERROR
    assert (first.attributes or {})["error.type"] == "ClientConnectorError"


def test_a_refusal_is_an_error_with_its_reason() -> None:
    answer, (request,) = ask(law=Regulation(queue_wait_s=0.01))
    assert answer.status == 503
    assert request.status.status_code is StatusCode.ERROR
    assert (request.attributes or {})["godwit.shed"] == "no-replica"


@pytest.mark.parametrize(
    ("env", "kind"),
    [
        ({}, ""),
        ({"OTEL_SERVICE_NAME": "x"}, ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, "otlp"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, "otlp"),
        ({"OTEL_TRACES_EXPORTER": "console"}, "console"),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, ""),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, ""),
    ],
)
def test_only_an_exporter_that_is_configured_makes_traces(env: dict[str, str], kind: str) -> None:
    assert tracing.asked(env) == kind


def test_an_exporter_that_there_is_not_is_refused_with_what_there_is() -> None:
    with pytest.raises(InvalidRequest, match="it takes otlp, console or none"):
        tracing.asked({"OTEL_TRACES_EXPORTER": "zipkin"})
    with pytest.raises(InvalidRequest, match="http/protobuf"):
        tracing.asked({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})


def test_nothing_of_opentelemetry_is_imported_where_nothing_is_traced() -> None:
    look = "import sys, godwit.gateway.main as gateway; gateway.tracing.open_traces({}, 'g');"
    look += "print('opentelemetry' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, timeout=120, check=True)
    assert found.stdout.strip() == "False"


def test_untraced_headers_go_through_as_they_came() -> None:
    async def play() -> None:
        replica = await Replica("r1").start()
        async with inside([service([replica])]) as proxy:
            sent = (await proxy.ask(ECHO, headers=GIVEN)).facts["headers"]
        assert (sent["traceparent"], sent["tracestate"]) == (GIVEN["Traceparent"], "theirs=1")
        await replica.kill()

    asyncio.run(play())


def test_a_gateway_sends_its_traces_where_it_is_told_and_names_them_in_its_log(tmp_path: Path) -> None:
    async def play() -> None:
        came = list[tuple[str, bytes]]()

        async def collect(request: web.BaseRequest) -> web.Response:
            came.append((request.path, await request.read()))
            return web.Response(content_type="application/x-protobuf")

        collector = web.Server(collect)
        listener = await asyncio.get_running_loop().create_server(collector, "127.0.0.1", 0)
        endpoint = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        replica = await Replica("r1").start()
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_SERVICE_NAME": "front-door"}
        async with running(tmp_path, [service([replica])], env=env) as gateway:
            async with gateway.client.get(f"{gateway.chat}/echo", headers=GIVEN) as got:
                assert TRACE in (await got.json())["headers"]["traceparent"]
            assert await gateway.stop() == 0
            lines = [json.loads(line) for line in gateway.log.splitlines()]
            assert [line["trace"] for line in lines if line["event"] == "request"] == [TRACE]
        assert {path for path, _ in came} == {"/v1/traces"}
        assert any(bytes.fromhex(TRACE) in body and b"front-door" in body for _, body in came)
        listener.close()
        await collector.shutdown()
        await replica.kill()

    asyncio.run(play())
