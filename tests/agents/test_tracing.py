"""Attempts are spans of their jobs' traces, under ids that the control plane works out too."""

import json
import sys
from pathlib import Path
from subprocess import run

from godwit.agents import tracing as agent_tracing
from godwit.agents.runtime import ray_cluster
from godwit.agents.runtime.folder import AttemptFolder
from godwit.domain import tracing
from godwit.domain.wire.agents import Peer, StartAttempt
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


def command(**changes: object) -> StartAttempt:
    fields = {
        "intent_id": "intent-1", "job_id": "job-1", "job_name": "digits", "attempt_id": "attempt-1", "epoch": 3,
        "rank": 0, "peers": [Peer(rank=0, node_id="node-1", address="127.0.0.1")], "gpus": [0], "port": 7000,
        "ray_token": "0" * 64, "run": "true", "setup": None, "workdir_digest": None, "env": {},
        "store": "file:///checkpoints",
    }  # fmt: skip
    return StartAttempt.model_validate(fields | changes)


def test_an_attempt_is_a_span_under_the_first_one_of_its_jobs_trace() -> None:
    memory = InMemorySpanExporter()
    record = agent_tracing.recording(SimpleSpanProcessor(memory), {}, "node-1")
    record("start attempt", command(), 1_700_000_000.0, "")
    record("attempt", command(), 1_700_000_000.0, "exit code 1")
    first, second = memory.get_finished_spans()
    root = tracing.root_of(tracing.of_job("job-1"))
    for span in (first, second):
        assert span.context is not None
        assert span.parent is not None
        assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (root.trace_id, root.span_id)
        assert span.start_time == 1_700_000_000_000_000_000
    assert first.status.is_unset
    assert second.status.description == "exit code 1"
    assert dict(first.attributes or {})["godwit.epoch"] == 3


def test_the_program_is_told_of_its_trace_unless_its_owner_says_otherwise(tmp_path: Path) -> None:
    folder = AttemptFolder(tmp_path, "attempt-1")
    said = ray_cluster.given(command(), folder)["TRACEPARENT"]
    assert tracing.parsed(said) == tracing.root_of(tracing.of_job("job-1"))
    own = ray_cluster.given(command(env={"TRACEPARENT": "mine"}), folder)["TRACEPARENT"]
    assert own == "mine"


def test_without_an_exporter_nothing_is_recorded_and_nothing_of_opentelemetry_is_imported() -> None:
    assert agent_tracing.open_trace({}, "node-1") is agent_tracing.nothing
    wrong = {"OTEL_TRACES_EXPORTER": "zipkin"}
    assert agent_tracing.open_trace(wrong, "node-1") is agent_tracing.nothing, "no agent ends for its traces"
    script = (
        "import json, sys; from godwit.agents import tracing; tracing.open_trace({}, 'n');"
        "print(json.dumps([name for name in sys.modules if name.startswith('opentelemetry')]))"
    )
    told = run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(told.stdout) == []
