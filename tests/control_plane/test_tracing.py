"""What is done for a job is one trace, from the request that made it to the call that bought its machine."""

from dataclasses import replace

import pytest
import structlog
from fastapi.testclient import TestClient
from godwit.control_plane import spans as sdk_spans
from godwit.control_plane import tracing as doing
from godwit.control_plane.executors.launching import Executor
from godwit.control_plane.reconcilers.planning import Planning
from godwit.control_plane.tracing import NOWHERE, Recorded, TracedCalls
from godwit.domain import tracing
from godwit.domain.errors import InvalidRequest
from godwit.domain.events import Event
from godwit.providers.layers import Measured
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.control_plane.apis import client_of
from tests.control_plane.world import World, spec

CALLER = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
SPEC = spec().model_dump(exclude_defaults=True)


class Kept:
    """Keeps every span."""

    def __init__(self) -> None:
        self.spans: list[Recorded] = []

    def record(self, span: Recorded) -> None:
        self.spans.append(span)

    def close(self) -> None:
        """Nothing to send."""

    def of(self, trace_id: str) -> list[str]:
        return [span.name for span in self.spans if span.trace_id == trace_id]


@pytest.fixture
def kept(embedded: World) -> Kept:
    found = Kept()
    calls = TracedCalls()
    measured = {name: Measured(provider, calls) for name, provider in embedded.context.providers.items()}
    embedded.context = replace(embedded.context, spans=found, providers=measured)
    return found


def submitted(client: TestClient, **headers: str) -> str:
    response = client.post("/v1/jobs", json=SPEC, headers=headers)
    assert response.status_code < 300, response.text
    return str(response.json()["id"])


def test_a_job_is_one_trace_from_its_request_over_the_plan_and_the_intent_to_the_provider(
    embedded: World, kept: Kept
) -> None:
    embedded.read_offers()
    client = client_of(embedded)
    job_id = submitted(client, traceparent=CALLER)
    Planning(embedded.context).step()
    executor = Executor(embedded.context)
    for intent_id in executor.due():
        executor.carry_out(intent_id)
    trace_id = tracing.of_job(job_id)
    assert kept.of(trace_id) == ["POST /v1/jobs", "plan BuyNode", "cheap launch", "launch-node"]
    root, *others = (span for span in kept.spans if span.trace_id == trace_id)
    assert root.own == tracing.root_of(trace_id)
    assert root.parent is None
    assert [str(link) for link in root.links] == [CALLER]
    assert client.post(f"/v1/jobs/{job_id}/cancel").status_code < 300
    assert kept.spans[-1].name == "POST /v1/jobs/{job}/cancel"
    assert kept.spans[-1].trace_id == trace_id
    others.append(kept.spans[-1])
    assert {span.parent for span in others} == {tracing.root_of(trace_id)}
    assert all(span.began_at <= span.ended_at for span in kept.spans)


def test_what_makes_no_job_belongs_to_its_callers_trace_and_reading_is_not_recorded(
    embedded: World, kept: Kept
) -> None:
    client = client_of(embedded)
    client.get("/v1/jobs", headers={"traceparent": CALLER})
    client.post("/v1/agent/join", json={})
    assert kept.spans == []
    client.post("/v1/jobs/nobody/cancel", headers={"traceparent": CALLER})
    (span,) = kept.spans
    assert (span.name, span.trace_id, str(span.parent)) == ("POST /v1/jobs/{job}/cancel", "a" * 32, CALLER)


def test_log_lines_carry_the_trace_of_what_is_being_done() -> None:
    with doing.working(NOWHERE, "t" * 32):
        assert structlog.contextvars.get_contextvars()["trace_id"] == "t" * 32
    assert "trace_id" not in structlog.contextvars.get_contextvars()


def test_a_call_that_fails_is_an_error_of_its_trace_and_others_are_not_recorded() -> None:
    kept, calls = Kept(), TracedCalls()
    calls.count("cloud", "instances", "ok", 0.1)

    def launch() -> None:
        with doing.carried_out(kept, "launch-node", "t" * 32, {}):
            calls.count("cloud", "launch", "NoCapacity", 0.1)
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        launch()
    assert [(span.name, span.error) for span in kept.spans] == [
        ("cloud launch", "NoCapacity"),
        ("launch-node", "ValueError"),
    ]
    assert calls.calls()["cloud", "launch", "NoCapacity"] == 1


def test_the_sdk_sends_spans_with_the_ids_that_were_worked_out() -> None:
    memory = InMemorySpanExporter()
    sent = sdk_spans.made(SimpleSpanProcessor(memory), "here", "1", {})
    trace_id = tracing.of_job("job-1")
    root = tracing.root_of(trace_id)
    caller = tracing.parsed(CALLER)
    assert caller is not None
    sent.record(Recorded("request", "server", trace_id, None, 1.0, 2.0, root, {"a": 1}, (caller,)))
    sent.record(Recorded("launch", "client", trace_id, root, 3.0, 4.5, error="NoCapacity"))
    first, second = memory.get_finished_spans()
    assert first.context is not None
    assert (f"{first.context.trace_id:032x}", f"{first.context.span_id:016x}") == (trace_id, root.span_id)
    assert first.parent is None
    assert f"{first.links[0].context.trace_id:032x}" == "a" * 32
    assert second.context is not None
    assert second.parent is not None
    assert f"{second.parent.span_id:016x}" == root.span_id
    assert f"{second.context.trace_id:032x}" == trace_id
    assert second.context.span_id != first.context.span_id
    assert (second.start_time, second.end_time) == (3_000_000_000, 4_500_000_000)
    assert second.status.description == "NoCapacity"
    assert first.resource.attributes["service.name"] == "godwit-control-plane"


@pytest.mark.parametrize(
    ("env", "kind"),
    [
        ({}, ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, "otlp"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "true"}, ""),
        ({"OTEL_TRACES_EXPORTER": "console"}, "console"),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, ""),
    ],
)
def test_traces_go_where_the_standard_variables_say_and_else_nowhere(env: dict[str, str], kind: str) -> None:
    assert tracing.exporter(env) == kind
    if not kind:
        assert doing.open_spans(env, "here") is NOWHERE


@pytest.mark.parametrize(
    "env", [{"OTEL_TRACES_EXPORTER": "zipkin"}, {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}]
)
def test_an_exporter_that_there_is_not_is_refused_by_its_variable(env: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest, match="OTEL_"):
        tracing.exporter(env)


@given(st.text(max_size=80))
def test_a_header_is_taken_as_it_stands_or_not_at_all(header: str) -> None:
    found = tracing.parsed(header)
    assert found is None or tracing.parsed(str(found)) == found


@pytest.mark.parametrize(
    "bad", ["", "00-" + "0" * 32 + "-" + "b" * 16 + "-01", "01" + CALLER[2:], CALLER[:-1], CALLER.upper()]
)
def test_a_header_that_is_not_valid_is_ignored(bad: str) -> None:
    assert tracing.parsed(bad) is None
    assert tracing.parsed(CALLER) == tracing.Parent("a" * 32, "b" * 16, sampled=True)


def test_events_belong_to_the_trace_of_their_job_or_else_of_their_node() -> None:
    def trace(**of: str | None) -> str:
        return tracing.trace_of(Event(0.0, "x.y", "x", "x-1", "", "", **of))  # type: ignore[arg-type]

    assert trace(job_id="job-1", node_id="node-1") == tracing.of_job("job-1")
    assert trace(node_id="node-1") == tracing.of_work(None, "node-1")
    assert trace() == tracing.trace_id("x", "x-1")
    assert len({trace(), trace(job_id="job-1"), trace(node_id="node-1"), trace(job_id="node-1")}) == 4
