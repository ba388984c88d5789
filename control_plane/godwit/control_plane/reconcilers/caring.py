"""Writes down what is decided about health: incidents, what is believed of devices, evictions, repairs and tests.

Everything that happens for an incident is an event of it, so that its timeline is its events.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from godwit.control_plane import hints
from godwit.control_plane.reconcilers.writing import ACTOR, Writing
from godwit.control_plane.services import attempts, health
from godwit.control_plane.store import entities, queries
from godwit.control_plane.store import health as remembered
from godwit.control_plane.store.health import Breaker
from godwit.domain.events import Event
from godwit.domain.health import HealthRecord, IncidentState, Remedy
from godwit.domain.ids import IncidentId, NodeId
from godwit.domain.intents import IntentKind
from godwit.domain.jobs import Attempt, Outcome
from godwit.domain.nodes import Health, Node, NodeState
from godwit.scheduler.health.view import CHECKS, REPAIR, SWEEP, Cordon
from godwit.scheduler.plan import (
    Action,
    CordonNode,
    DecideFinding,
    Evict,
    MarkHealth,
    MoveIncident,
    OpenIncident,
    RepairNode,
    TestNode,
    TripBreaker,
)

UNSAVED_GRACE_S = 0.0
"""None for a program whose state cannot be trusted any more: if asked, it would save that state, and go on from it."""

BUDGETS_S: Mapping[str, float] = {"sweep": 120.0, "suspicion": 300.0, "return": 600.0}
"""How long checks may take by their occasion. A sweep must not keep a job waiting; a device that was repaired is tried
longest. All stay well below the 30 minutes after which an incident's tests count as failed."""


def _decide(writing: Writing, action: DecideFinding) -> None:
    finding = remembered.decide(
        writing.tx, action.finding_id, action.remedy, action.rule, action.reason, action.incident_id
    )
    if finding is None:
        return
    data = {
        "finding": finding.id, "check": finding.check, "code": finding.code, "grade": finding.grade, "gpu": finding.gpu,
        "seen_at": finding.at, "rule": action.rule, "remedy": action.remedy,
    }  # fmt: skip
    if action.incident_id is None:
        decided = Event(
            writing.now, "node.finding-decided", "node", finding.node_id, action.reason, ACTOR,
            job_id=finding.job_id, node_id=finding.node_id, data=data,
        )  # fmt: skip
        entities.append(writing.tx, decided)
        return
    told = health.of_incident(
        action.incident_id, finding.node_id, "symptom", finding.reason, finding.at, f"agent {finding.node_id}", data
    )
    entities.append(writing.tx, replace(told, job_id=finding.job_id))
    _tell(writing, action.incident_id, finding.node_id, "decision", action.reason, data)


def _open(writing: Writing, action: OpenIncident) -> None:
    incident = action.incident
    data = {
        "rule": incident.rule, "check": incident.check, "code": incident.code, "remedy": incident.remedy,
        "gpus": list(incident.gpus), "cause": incident.cause,
    }  # fmt: skip
    born = Event(
        writing.now, "incident.state", "incident", incident.id, action.reason, ACTOR, new=incident.state,
        node_id=incident.node_id, data=data,
    )  # fmt: skip
    entities.insert(writing.tx, incident, born)
    writing.incidents[incident.id] = incident


def _move(writing: Writing, action: MoveIncident) -> None:
    incident = writing.incidents[action.incident_id]
    if action.remedy is not None and action.remedy is not incident.remedy:
        # What was only pending when something stronger took its place was never tried, and the vendor is not told so.
        was_begun = incident.state in {IncidentState.REPAIRING, IncidentState.TESTING}
        tried = (*incident.tried, incident.remedy) if was_begun else incident.tried
        incident = replace(incident, remedy=action.remedy, tried=tried)
    if action.to is incident.state:
        incident = entities.save(writing.tx, incident)
        _tell(writing, incident.id, incident.node_id, "decision", action.reason, {"remedy": incident.remedy})
    else:
        incident = entities.advance(writing.tx, incident, action.to, reason=action.reason, actor=ACTOR, now=writing.now)
    writing.incidents[incident.id] = incident


def _mark(writing: Writing, action: MarkHealth) -> None:
    record = _record(writing, action.record_id, action.node_id)
    if record.state is not action.to:
        is_fault = record.state is Health.HEALTHY and action.to in {Health.SUSPECT, Health.FAULTY}
        record = replace(record, reason=action.reason, faults=record.faults + is_fault)
        writing.records[record.id] = entities.advance(
            writing.tx, record, action.to, reason=action.reason, actor=ACTOR, now=writing.now
        )
    node = writing.nodes.get(action.node_id)
    marked = None if node is None else health.with_health(node, {record.id: action.to})
    if marked is not None and marked != node:
        writing.save_node(marked)


def _record(writing: Writing, record_id: str, node_id: NodeId) -> HealthRecord:
    """What is remembered of a device: from the snapshot, from before its node, or nothing so far."""
    record = writing.records.get(record_id) or remembered.records(writing.tx.conn, [record_id]).get(record_id)
    if record is None:
        provider = writing.provider_of(node_id)
        record = HealthRecord(record_id, Health.HEALTHY, writing.now, writing.now, node_id, provider)
        entities.insert(writing.tx, record)
    writing.records[record_id] = record
    return record


def _cordon(writing: Writing, action: CordonNode) -> None:
    node = writing.nodes[action.node_id]
    before, to = (NodeState.CORDONED, NodeState.READY) if action.lifted else (NodeState.READY, NodeState.CORDONED)
    if node.state is not before:
        return  # it is so already, or on its way out: then nothing starts on it anyway
    writing.move_node(replace(node, reserved_for=None), to, action.reason)
    if not action.lifted:
        cordon = Cordon(writing.now, node.id, node.offer.provider, node.offer.fabric_domain)
        remembered.add_cordon(writing.tx, cordon)


def _evict(writing: Writing, action: Evict) -> None:
    # Read anew: two incidents may ask for the same attempt in one plan.
    attempt, now = queries.attempt(writing.tx.conn, action.attempt_id), writing.now
    if attempt.outcome is not None:
        return
    told = Event(
        now, "job.evicted", "job", attempt.job_id, action.reason, ACTOR, job_id=attempt.job_id,
        data={"incident": action.incident_id, "saves": action.saves, "epoch": attempt.epoch},
    )  # fmt: skip
    entities.append(writing.tx, told)
    grace_s = attempts.PREEMPT_GRACE_S if action.saves else UNSAVED_GRACE_S
    attempts.settle(writing.tx, writing.ids, attempt, Outcome.EVICTED, action.reason, ACTOR, now, grace_s=grace_s)
    note_eviction(writing, action.incident_id, attempt, action.reason, {"saves": action.saves, "grace_s": grace_s})


def note_eviction(
    writing: Writing, incident_id: IncidentId, attempt: Attempt, reason: str, data: Mapping[str, Any]
) -> None:
    """An attempt has to leave because of an incident: that is part of the incident's story, and known at its end."""
    remembered.add_eviction(writing.tx, incident_id, attempt.id, attempt.job_id, writing.now)
    incident = writing.incidents.get(incident_id)
    if incident is not None and attempt.job_id not in incident.job_ids:
        incident = entities.save(writing.tx, replace(incident, job_ids=(*incident.job_ids, attempt.job_id)))
        writing.incidents[incident.id] = incident
    node_id = attempt.slots[0].node_id if incident is None else incident.node_id
    _tell(writing, incident_id, node_id, "eviction", reason, {"attempt": attempt.id, **data}, attempt.job_id)


def _repair(writing: Writing, action: RepairNode) -> None:
    node = _owing(writing, action.node_id)
    gpus = list(action.gpus or (gpu.uuid for gpu in node.gpus)) if action.remedy is not Remedy.REBOOT else []
    # What an agent can do is one of two; draining came first and is done.
    remedy = Remedy.REBOOT if action.remedy is Remedy.REBOOT else Remedy.RESET_GPU
    payload = {"incident": action.incident_id, "remedy": remedy, "gpus": gpus}
    intent_id = writing.owe(IntentKind.REPAIR_NODE, node.id, action.reason, payload=payload)
    remembered.add_order(writing.tx, intent_id, node.id, action.incident_id, REPAIR, writing.now)
    data = {"remedy": remedy, "gpus": gpus}
    _tell(writing, action.incident_id, node.id, "repair", action.reason, data)


def _owing(writing: Writing, node_id: NodeId) -> Node:
    """The node that an order is for, guarded by its version: what has left meanwhile is owed nothing."""
    writing.save_node(writing.nodes[node_id])
    return writing.nodes[node_id]


def _test(writing: Writing, action: TestNode) -> None:
    _owing(writing, action.node_id)
    occasion = _occasion(writing, action.incident_id)
    payload = {
        "incident": action.incident_id, "occasion": occasion, "gpus": list(action.gpus),
        "budget_s": BUDGETS_S[occasion],
    }  # fmt: skip
    intent_id = writing.owe(IntentKind.RUN_CHECKS, action.node_id, action.reason, payload=payload)
    kind = SWEEP if action.incident_id is None else CHECKS
    remembered.add_order(writing.tx, intent_id, action.node_id, action.incident_id, kind, writing.now)
    if action.incident_id is not None:
        data = {"occasion": occasion, "gpus": list(action.gpus)}
        _tell(writing, action.incident_id, action.node_id, "test", action.reason, data)


def _occasion(writing: Writing, incident_id: IncidentId | None) -> str:
    if incident_id is None:
        return "sweep"
    repaired = any(order.kind == REPAIR for order in remembered.orders_of(writing.tx.conn, incident_id))
    return "return" if repaired else "suspicion"


def _trip(writing: Writing, action: TripBreaker) -> None:
    if remembered.breaker(writing.tx.conn).tripped_at is not None:
        return
    remembered.set_breaker(writing.tx, Breaker(writing.now, action.reason))
    entities.append(writing.tx, Event(writing.now, "breaker.tripped", "breaker", "fleet", action.reason, ACTOR))
    writing.tx.hint(hints.PLAN)


def _tell(
    writing: Writing,
    incident_id: IncidentId,
    node_id: NodeId,
    what: str,
    reason: str,
    data: Mapping[str, Any],
    job_id: str | None = None,
) -> None:
    event = health.of_incident(incident_id, node_id, what, reason, writing.now, ACTOR, data)
    entities.append(writing.tx, replace(event, job_id=job_id))


HANDLERS: Mapping[type[Action], Callable[[Writing, Any], None]] = {
    DecideFinding: _decide,
    OpenIncident: _open,
    MoveIncident: _move,
    MarkHealth: _mark,
    CordonNode: _cordon,
    Evict: _evict,
    RepairNode: _repair,
    TestNode: _test,
    TripBreaker: _trip,
}
"""What writes down each action about health."""
