"""What people do with incidents: read them, hand on their evidence, close them, have devices tested again."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from godwit.control_plane.context import Context
from godwit.control_plane.services import health, views
from godwit.control_plane.store import entities, queries
from godwit.control_plane.store import health as remembered
from godwit.control_plane.store.database import Transaction
from godwit.control_plane.version import VERSION
from godwit.domain.errors import Conflict
from godwit.domain.events import Event
from godwit.domain.health import HealthRecord, Incident, IncidentState
from godwit.domain.nodes import Health, Node, NodeState
from godwit.domain.wire import incidents as wire
from godwit.scheduler.health.casebook import is_whole
from sqlalchemy import Connection, Row

FINDINGS_MAX, EVENTS_MAX = 500, 1_000
"""What one incident shows at most; bursts are counted in their evidence, so that few have more than ten."""

_TO_HEALTHY = {Health.FAULTY: Health.QUARANTINED, Health.QUARANTINED: Health.HEALTHY, Health.SUSPECT: Health.HEALTHY}
"""The way back of each state; what is retired stays so."""


def page(
    context: Context, limit: int, before: str | None, states: Sequence[str], node: str | None, provider: str | None
) -> list[wire.IncidentView]:
    """A page of incidents, the newest first."""
    with context.db.read() as conn:
        found = remembered.incidents_page(conn, limit, before, states, node, provider)
    return [wire.IncidentView(**_fields(incident)) for incident in found]


def show(context: Context, incident_id: str) -> wire.IncidentDetail:
    """An incident with all that belongs to it. Raises `NotFound`."""
    with context.db.read() as conn:
        return _detail(conn, remembered.incident(conn, incident_id))


def evidence(context: Context, incident_id: str) -> wire.EvidenceView:
    """The bundle for a vendor: built from named fields only, so that nothing secret can slip in. Raises `NotFound`."""
    with context.db.read() as conn:
        incident = remembered.incident(conn, incident_id)
        node, detail = queries.node(conn, incident.node_id), _detail(conn, incident)
        devices = incident.gpus or (incident.node_id,)
        records = remembered.records(conn, devices)
    serials = {f.gpu: str(f.evidence["serial"]) for f in detail.findings if f.evidence.get("serial")}
    return wire.EvidenceView(
        godwit=VERSION,
        made_at=context.now(),
        summary=_summary(incident, node),
        machine=_machine(node, detail.findings),
        devices=[_device(name, node, records.get(name), serials.get(name)) for name in devices],
        incident=detail,
    )


def close(context: Context, incident_id: str, actor: str) -> wire.IncidentView:
    """A person says that nothing is wrong any more: its devices are healthy, and its node takes work again.

    What another incident holds stays out, and what is retired stays retired. Closing twice is closing once.
    Raises `NotFound`.
    """
    reason, now = f"closed by {actor}", context.now()
    with context.db.write() as tx:
        incident = remembered.incident(tx.conn, incident_id)
        if incident.state is not IncidentState.CLOSED:
            _forgive(tx, incident, reason, actor, now)
            incident = entities.advance(tx, incident, IncidentState.CLOSED, reason=reason, actor=actor, now=now)
    return wire.IncidentView(**_fields(incident))


def retest(context: Context, incident_id: str, actor: str) -> wire.IncidentView:
    """A person says that it was repaired: it is tested, and returns if it passes.

    Raises `NotFound`, or `Conflict` while automation is still at it, or when it is over.
    """
    reason, now = f"repaired, says {actor}; it is tested again", context.now()
    with context.db.write() as tx:
        incident = remembered.incident(tx.conn, incident_id)
        if incident.state is IncidentState.TESTING:
            return wire.IncidentView(**_fields(incident))
        if incident.state is not IncidentState.ESCALATED:
            raise Conflict(
                f"incident {incident.id} is {incident.state}: automation sees to it; only one on which it gave up "
                "(escalated) is tested on demand"
            )
        incident = entities.advance(tx, incident, IncidentState.TESTING, reason=reason, actor=actor, now=now)
    return wire.IncidentView(**_fields(incident))


def _forgive(tx: Transaction, incident: Incident, reason: str, actor: str, now: float) -> None:
    node = queries.node(tx.conn, incident.node_id)
    others = [one for one in remembered.open_incidents(tx.conn, node.id) if one.id != incident.id]
    held = {device for one in others for device in one.gpus or (one.node_id,)}
    mine = [device for device in incident.gpus or (incident.node_id,) if device not in held]
    for record in remembered.records(tx.conn, mine).values():
        back = _walk_back(tx, record, reason, actor, now)
        marked = health.with_health(node, {back.id: back.state})
        if marked != node:
            node = entities.save(tx, marked)
    if node.state is NodeState.CORDONED and is_whole(incident) and not any(is_whole(one) for one in others):
        entities.advance(tx, node, NodeState.READY, reason=reason, actor=actor, now=now)


def _walk_back(tx: Transaction, record: HealthRecord, reason: str, actor: str, now: float) -> HealthRecord:
    while (to := _TO_HEALTHY.get(record.state)) is not None:
        record = entities.advance(tx, replace(record, reason=reason), to, reason=reason, actor=actor, now=now)
    return record


def _detail(conn: Connection, incident: Incident) -> wire.IncidentDetail:
    return wire.IncidentDetail(
        **_fields(incident),
        findings=[_finding(row) for row in remembered.findings_of(conn, incident.id, FINDINGS_MAX)],
        orders=[_order(row) for row in remembered.orders_of(conn, incident.id)],
        evictions=[_eviction(row) for row in remembered.evictions_of(conn, incident.id)],
        timeline=[views.event(event) for event in _events(conn, incident)],
    )


def _events(conn: Connection, incident: Incident) -> list[Event]:
    # Each names the node, by which events are found. A symptom is told when it is decided, and happened before.
    found = queries.events(conn, 0, EVENTS_MAX, node_id=incident.node_id, incident_id=incident.id)
    return sorted(found, key=lambda event: (event.at, event.seq))


def _fields(of: Incident) -> dict[str, Any]:
    return {
        "id": of.id, "node_id": of.node_id, "provider": of.provider, "state": of.state, "opened_at": of.opened_at,
        "state_since": of.state_since, "check": of.check, "code": of.code, "rule": of.rule, "reason": of.reason,
        "remedy": of.remedy, "tried": list(of.tried), "gpus": list(of.gpus), "jobs": list(of.job_ids),
        "cause": of.cause, "detail": of.detail,
    }  # fmt: skip


def _finding(row: Row[Any]) -> wire.FindingView:
    return wire.FindingView(
        id=row.id, node_id=row.node_id, at=row.at, check=row.check, grade=row.grade, reason=row.reason, code=row.code,
        suggested=row.suggested, gpu=row.gpu, job_id=row.job_id, attempt_id=row.attempt_id, boot_id=row.boot_id,
        evidence=json.loads(row.evidence), remedy=row.remedy, rule=row.rule, decision=row.decision,
    )  # fmt: skip


def _order(row: Row[Any]) -> wire.OrderView:
    return wire.OrderView(
        kind=row.kind, ordered_at=row.ordered_at, ended_at=row.ended_at, passed=row.passed, detail=row.detail,
        figures=json.loads(row.figures),
    )  # fmt: skip


def _eviction(row: Row[Any]) -> wire.EvictionView:
    return wire.EvictionView(
        job_id=row.job_id, attempt_id=row.attempt_id, at=row.at, restarted_at=row.restarted_at,
        first_step_at=row.first_step_at,
    )  # fmt: skip


def _machine(of: Node, findings: Sequence[wire.FindingView]) -> wire.MachineView:
    boots = dict.fromkeys(finding.boot_id for finding in findings if finding.boot_id)
    return wire.MachineView(
        node_id=of.id, provider=of.offer.provider, region=of.offer.region, zone=of.offer.zone,
        instance_type=of.offer.instance_type, instance_id=of.instance_id, fabric_domain=of.offer.fabric_domain,
        boot_ids=list(boots),
    )  # fmt: skip


def _device(name: str, node: Node, record: HealthRecord | None, serial: str | None) -> wire.DeviceView:
    gpu = next((gpu for gpu in node.gpus if gpu.uuid == name), None)
    return wire.DeviceView(
        id=name, health=Health.HEALTHY if record is None else record.state,
        since=node.created_at if record is None else record.state_since, faults=0 if record is None else record.faults,
        reason="" if record is None else record.reason, index=None if gpu is None else gpu.index,
        model=None if gpu is None else gpu.model, memory_gib=None if gpu is None else gpu.memory_gib, serial=serial,
    )  # fmt: skip


def _summary(incident: Incident, node: Node) -> str:
    where = ", ".join(_named(incident, node)) or "the machine"
    tried = ", ".join(incident.tried) or "nothing"
    machine = f"{node.instance_id or node.id} ({node.offer.instance_type}, {node.offer.provider}/{node.offer.region})"
    return (
        f"{where} of {machine}: {incident.reason}. Found by {incident.check} ({incident.code or 'no code'}), "
        f"decided by rule {incident.rule}. Tried so far: {tried}; now {incident.remedy}, and the incident is "
        f"{incident.state}."
    )


def _named(incident: Incident, node: Node) -> Iterator[str]:
    for gpu in node.gpus:
        if gpu.uuid in incident.gpus:
            yield f"GPU {gpu.index} ({gpu.model}, {gpu.uuid})"
