"""One id for everything that is done for one job, from the request to the program: worked out, never stored.

The trace of a job is a hash of its id, so that the API, the planner, an executor and an agent agree about it without
telling each other: each knows the job. What is done for no job belongs to its node, or else to its own subject. Forms
are those of W3C Trace Context (https://www.w3.org/TR/trace-context/, sections 3.2 and 3.3).
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from godwit.domain.errors import InvalidRequest
from godwit.domain.events import Event

HEADER = "traceparent"

ENVIRONMENT = "TRACEPARENT"
"""The variable in which OpenTelemetry's tools look for the same (its specification, "Environment Variables as Context
Propagation Carriers")."""

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")

_PARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_NOTHING = re.compile("0+")
_SAMPLED = 0x01


@dataclass(frozen=True)
class Parent:
    """Where a request says that it comes from: a trace, a span of it, and whether its caller records it."""

    trace_id: str
    span_id: str
    sampled: bool = True

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"


def parsed(header: str | None) -> Parent | None:
    """What a `traceparent` header says; None for none, and for one that is not valid, which is to be ignored."""
    found = _PARENT.fullmatch(header or "")
    if found is None or _NOTHING.fullmatch(found[1]) or _NOTHING.fullmatch(found[2]):
        return None
    return Parent(found[1], found[2], sampled=bool(int(found[3], 16) & _SAMPLED))


def trace_id(subject: str, subject_id: str) -> str:
    """The trace of a job, a node, or whatever else has an id: 32 hex digits."""
    return hashlib.sha256(f"godwit/{subject}/{subject_id}".encode()).hexdigest()[:32]


def of_job(job_id: str) -> str:
    """The trace of a job."""
    return trace_id("job", job_id)


def of_work(job_id: str | None, node_id: str) -> str:
    """The trace of what is done on a node: that of the job for which it is done, else the node's own."""
    return trace_id("node", node_id) if job_id is None else of_job(job_id)


def trace_of(event: Event) -> str:
    """The trace to which an event belongs."""
    if event.job_id is None and event.node_id is None:
        return trace_id(event.subject, event.subject_id)
    return of_work(event.job_id, event.node_id or "")


def root_of(trace: str) -> Parent:
    """The span under which all others of a trace hang; worked out too, so that nobody has to be told of it."""
    return Parent(trace, hashlib.sha256(f"root/{trace}".encode()).hexdigest()[:16])


def exporter(env: Mapping[str, str]) -> str:
    """Where traces go as the standard variables say: "otlp", "console", or "" for nowhere, as without any of them.

    Raises `InvalidRequest` for what there is not.
    """
    if env.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return ""
    kind = env.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    kind = kind or ("otlp" if any(env.get(name) for name in _ENDPOINTS) else "none")
    if kind not in ("otlp", "console", "none"):
        raise InvalidRequest(f"OTEL_TRACES_EXPORTER is {kind!r}; it takes otlp, console or none")
    protocol = next((env[name] for name in _PROTOCOLS if env.get(name)), "http/protobuf")
    if kind == "otlp" and protocol != "http/protobuf":
        raise InvalidRequest(f"traces are sent by http/protobuf, not {protocol!r}; set {_PROTOCOLS[0]}=http/protobuf")
    return "" if kind == "none" else kind
