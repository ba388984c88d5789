"""Findings, incidents and records of devices as rows, and back."""

import json
from typing import Any

from godwit.domain.health import Finding, Grade, HealthRecord, Incident, IncidentState, Remedy
from godwit.domain.nodes import Health
from sqlalchemy import Row


def finding_from(row: Row[Any]) -> Finding:
    """A finding from its row."""
    return Finding(
        id=row.id, node_id=row.node_id, at=row.at, check=row.check, grade=Grade(row.grade), reason=row.reason,
        code=row.code, suggested=Remedy(row.suggested), gpu=row.gpu, attempt_id=row.attempt_id, job_id=row.job_id,
        boot_id=row.boot_id, evidence=json.loads(row.evidence), decided=row.decided,
    )  # fmt: skip


def finding_values(finding: Finding) -> dict[str, Any]:
    """A finding that nothing is decided about yet, as its row."""
    return {
        "id": finding.id, "node_id": finding.node_id, "at": finding.at, "check": finding.check, "grade": finding.grade,
        "reason": finding.reason, "code": finding.code, "suggested": finding.suggested, "gpu": finding.gpu,
        "attempt_id": finding.attempt_id, "job_id": finding.job_id, "boot_id": finding.boot_id,
        "evidence": json.dumps(dict(finding.evidence)), "decided": finding.decided,
    }  # fmt: skip


def incident_from(row: Row[Any]) -> Incident:
    """An incident from its row."""
    return Incident(
        id=row.id, node_id=row.node_id, provider=row.provider, state=IncidentState(row.state), opened_at=row.opened_at,
        state_since=row.state_since, check=row.check, code=row.code, rule=row.rule, reason=row.reason,
        remedy=Remedy(row.remedy), gpus=tuple(json.loads(row.gpus)),
        tried=tuple(Remedy(word) for word in json.loads(row.tried)), cause=row.cause,
        job_ids=tuple(json.loads(row.job_ids)), detail=row.detail, version=row.version,
    )  # fmt: skip


def incident_values(incident: Incident) -> dict[str, Any]:
    """An incident as its row, but for id and version."""
    return {
        "node_id": incident.node_id, "provider": incident.provider, "state": incident.state,
        "opened_at": incident.opened_at, "state_since": incident.state_since, "check": incident.check,
        "code": incident.code, "rule": incident.rule, "reason": incident.reason, "remedy": incident.remedy,
        "gpus": json.dumps(list(incident.gpus)), "tried": json.dumps(list(incident.tried)), "cause": incident.cause,
        "job_ids": json.dumps(list(incident.job_ids)), "detail": incident.detail,
    }  # fmt: skip


def record_from(row: Row[Any]) -> HealthRecord:
    """What is remembered of a device, from its row."""
    return HealthRecord(
        id=row.id, state=Health(row.state), state_since=row.state_since, since=row.since, node_id=row.node_id,
        provider=row.provider, faults=row.faults, reason=row.reason, version=row.version,
    )  # fmt: skip


def record_values(record: HealthRecord) -> dict[str, Any]:
    """What is remembered of a device as its row, but for id and version."""
    return {
        "state": record.state, "state_since": record.state_since, "since": record.since, "node_id": record.node_id,
        "provider": record.provider, "faults": record.faults, "reason": record.reason,
    }  # fmt: skip
