"""Which events are told, and what is written of them. Pure."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from godwit.control_plane.notifying.targets import Kind, Target, Topic
from godwit.domain import lifecycle
from godwit.domain.events import Event
from godwit.domain.health import IncidentState
from godwit.domain.jobs import JobState

REASON_CHARACTERS_MAX = 1_000

BUDGETS = ("budget.alert", "budget.spent", "job.idle")
"""What is told because it costs: shares of budgets, and jobs whose GPUs do nothing."""

KINDS = ("incident.state", "breaker.tripped", "breaker.reset", "job.state", *BUDGETS)
"""Kinds of events that are looked at."""

_ENDS = frozenset(str(state) for state in JobState if lifecycle.is_final(state))
_INCIDENT_TELLS = frozenset({IncidentState.OPEN, IncidentState.HELD, IncidentState.ESCALATED, IncidentState.CLOSED})

_SECRETS = re.compile(
    r"gw_[A-Za-z0-9_-]{16,}"  # our own tokens
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"  # user and password of a URL
    r"|(?i:(?<=bearer )\S+)"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"  # access keys of AWS
    r"|\b(?:hf_|sk-|ghp_|xox[abp]-)[A-Za-z0-9-]{10,}"
)


@dataclass(frozen=True)
class About:
    """What is known of the job that an event is about."""

    name: str
    project: str


def topic_of(event: Event) -> Topic | None:
    """What an event belongs to; None for what nobody is told of."""
    if event.kind in BUDGETS:
        return Topic.BUDGETS
    if event.kind == "job.state":
        return Topic.JOB_ENDS if event.new in _ENDS else None
    if event.kind == "incident.state":
        return Topic.INCIDENTS if event.new in _INCIDENT_TELLS else None
    return Topic.INCIDENTS if event.kind in KINDS else None


def wants(target: Target, topic: Topic, project: str | None) -> bool:
    """Whether a target is told: incidents are the fleet's, the rest may be bound to projects."""
    if topic not in target.topics:
        return False
    return topic is Topic.INCIDENTS or not target.projects or project in target.projects


def project_of(event: Event, about: About | None) -> str | None:
    """Whose matter it is; None for the fleet's."""
    if about is not None:
        return about.project
    return event.subject_id if event.subject == "project" else event.data.get("project")


def body(delivery: str, topic: Topic, event: Event, about: About | None, identity: str, trace_id: str) -> str:
    """The message as JSON. Of an event's data nothing is told: it may hold lines of programs and of kernels."""
    told: dict[str, Any] = {
        "id": delivery, "topic": topic, "kind": event.kind, "state": event.new, "at": event.at, "seq": event.seq,
        "subject": event.subject, "subject_id": event.subject_id,
        "reason": redacted(event.reason)[:REASON_CHARACTERS_MAX], "actor": event.actor, "job_id": event.job_id,
        "node_id": event.node_id, "project": project_of(event, about), "control_plane": identity,
        "trace_id": trace_id,
    }  # fmt: skip
    if about is not None:
        told["job_name"] = about.name
    return json.dumps(told, sort_keys=True)


def trial(delivery: str, target: Target, identity: str, at: float) -> str:
    """What `godwit notify test` sends."""
    return json.dumps(
        {
            "id": delivery, "topic": "test", "kind": "notify.test", "state": None, "at": at, "seq": 0,
            "subject": "target", "subject_id": target.name, "reason": "somebody asked whether this arrives",
            "actor": "", "job_id": None, "node_id": None, "project": None, "control_plane": identity, "trace_id": "",
        },
        sort_keys=True,
    )  # fmt: skip


def written_for(kind: Kind, told: str) -> bytes:
    """The bytes that are sent: our JSON as it is, or what Slack shows of it."""
    if kind is Kind.WEBHOOK:
        return told.encode()
    return json.dumps({"text": sentence(json.loads(told))}).encode()


def sentence(told: Mapping[str, Any]) -> str:
    """One line for people; what could be a mention or a link in Slack is text."""
    what = f"{told['subject']} {told.get('job_name') or told['subject_id']}"
    state = f" is {told['state']}" if told["state"] else f": {told['kind']}"
    where = f" (node {told['node_id']})" if told["node_id"] else ""
    line = f"[godwit {told['control_plane']}] {what}{state}{where}: {told['reason']}"
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def redacted(text: str) -> str:
    """A text without what looks like a secret."""
    return _SECRETS.sub("[redacted]", text)
