"""What agents say of health becomes findings, and answers to what was ordered."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import structlog
from godwit.control_plane import hints
from godwit.control_plane.store import entities, queries
from godwit.control_plane.store import health as remembered
from godwit.control_plane.store.database import Transaction
from godwit.domain.errors import NotFound
from godwit.domain.events import Event
from godwit.domain.health import Finding, Grade, Remedy
from godwit.domain.ids import FindingId, IdSource, IncidentId, JobId, NodeId
from godwit.domain.intents import Intent, IntentKind
from godwit.domain.jobs import Attempt
from godwit.domain.nodes import Gpu, Health, Node
from godwit.domain.wire.health import ChecksDone, FindingSeen, RepairDone, RepairNode, RunChecks
from godwit.scheduler.health.view import REPAIR

log = structlog.get_logger()

ACTOR = "control plane"
DAY_S = 86_400.0

ATTRIBUTION_S = 600.0
"""A program that fails so soon after a finding may have failed because of it (Meta RSC, arXiv 2410.21680)."""

FINDINGS_PER_DAY, DEGRADED_PER_DAY = 1_000, 500
"""How much one node may tell in a day, and how much of what is merely degraded, so that a chatty sensor cannot crowd
out what is fatal. A check tells only of changes: the busiest nodes of a sound fleet tell of some tens."""


SWEEP_EVERY = 50
"""After so many findings of one node, and at its first in a day, what is old is forgotten: one deletion by an index."""


def observe(
    tx: Transaction, ids: IdSource, node_id: NodeId, seen: FindingSeen | ChecksDone | RepairDone, now: float
) -> None:
    """Count one observation of health."""
    if isinstance(seen, FindingSeen):
        _found(tx, ids, queries.node(tx.conn, node_id), seen, now)
    elif isinstance(seen, ChecksDone):
        data = {"took_s": seen.took_s, "figures": dict(seen.figures)}
        end_order(tx, seen.intent_id, node_id, now, passed=seen.passed, detail=seen.detail, data=data)
    else:
        end_order(tx, seen.intent_id, node_id, now, passed=seen.worked, detail=seen.detail, data={})


def _found(tx: Transaction, ids: IdSource, node: Node, seen: FindingSeen, now: float) -> None:
    count = remembered.findings_since(tx.conn, node.id, now - DAY_S)
    if count % SWEEP_EVERY == 0:
        remembered.sweep(tx, now)
    most = DEGRADED_PER_DAY if seen.grade is Grade.DEGRADED else FINDINGS_PER_DAY
    if count >= most:
        log.warning("a node tells too much", node=node.id, check=seen.check, code=seen.code, findings=count)
        return
    attempt, job_id = _concerned(tx, node, seen)
    gpu = next((gpu for gpu in node.gpus if gpu.uuid == seen.gpu), None)
    if seen.gpu is not None and gpu is None:
        log.warning("a finding of a GPU that the node does not have counts for the node", node=node.id, gpu=seen.gpu)
    finding = Finding(
        FindingId(ids.new("finding")), node.id, now, seen.check, seen.grade, seen.reason, seen.code, seen.suggested,
        gpu=None if gpu is None else gpu.uuid, attempt_id=None if attempt is None else attempt.id,
        boot_id=seen.boot_id, evidence=dict(seen.evidence), job_id=job_id,
    )  # fmt: skip
    remembered.add_finding(tx, finding)
    entities.append(tx, _event_of(finding, gpu))
    tx.hint(hints.PLAN)


def _concerned(tx: Transaction, node: Node, seen: FindingSeen) -> tuple[Attempt | None, JobId | None]:
    """The attempt that is told of, if it is one of this node, and the job: its, or the one that holds the GPU."""
    if seen.attempt_id is not None:
        try:
            attempt = queries.attempt(tx.conn, seen.attempt_id)
        except NotFound:
            attempt = None
        if attempt is not None and any(slot.node_id == node.id for slot in attempt.slots):
            return attempt, attempt.job_id
        log.warning("a finding of somebody else's attempt", node=node.id, attempt=seen.attempt_id)
    index = next((gpu.index for gpu in node.gpus if gpu.uuid == seen.gpu), None)
    holders = {
        attempt.job_id
        for attempt in (() if index is None else queries.live_attempts(tx.conn))
        for slot in attempt.slots
        if slot.node_id == node.id and index in slot.gpus and not slot.released
    }
    # Of several that share a GPU none can be blamed.
    return None, holders.pop() if len(holders) == 1 else None


def _event_of(finding: Finding, gpu: Gpu | None) -> Event:
    where = "" if gpu is None else f"GPU {gpu.index}: "
    data = {
        "finding": finding.id, "check": finding.check, "grade": finding.grade, "code": finding.code,
        "gpu": None if gpu is None else gpu.index, "uuid": finding.gpu, "attempt": finding.attempt_id,
    }  # fmt: skip
    return Event(
        finding.at, "node.finding", "node", finding.node_id, where + finding.reason, f"agent {finding.node_id}",
        job_id=finding.job_id, node_id=finding.node_id, data=data,
    )  # fmt: skip


def end_order(
    tx: Transaction, intent_id: str, node_id: NodeId, now: float, *, passed: bool, detail: str, data: Mapping[str, Any]
) -> None:
    """A repair or checks that a node's agent was told to carry out are over, or were refused."""
    order = remembered.end_order(
        tx, intent_id, node_id, now, passed=passed, detail=detail, figures=data.get("figures", {})
    )
    if order is None:
        log.warning("an answer to what was not ordered", node=node_id, intent=intent_id)
        return
    tx.hint(hints.PLAN)
    if order.incident_id is None:
        return
    if order.kind == REPAIR:
        what, said = "repaired", "it was repaired" if passed else "it could not be repaired"
    else:
        what, said = "tested", "it passed its tests" if passed else "it failed its tests"
    reason = f"{said}: {detail}" if detail else said
    told = {"passed": passed, **data}
    entities.append(tx, of_incident(order.incident_id, node_id, what, reason, now, f"agent {node_id}", told))


def order_of(intent: Intent) -> RepairNode | RunChecks:
    """What a node's agent is told to do for its health."""
    payload = intent.payload
    if intent.kind is IntentKind.REPAIR_NODE:
        remedy = Remedy.REBOOT if payload["remedy"] == Remedy.REBOOT else Remedy.RESET_GPU
        return RepairNode(intent_id=intent.id, remedy=remedy, gpus=payload["gpus"], reason=intent.reason)
    return RunChecks(
        intent_id=intent.id, occasion=payload["occasion"], gpus=payload["gpus"], budget_s=payload["budget_s"],
        reason=intent.reason,
    )  # fmt: skip


def recognised(tx: Transaction, node: Node, gpus: tuple[Gpu, ...], now: float) -> tuple[Gpu, ...]:
    """GPUs of a machine that joins, as they are remembered: one that was bad elsewhere is not forgiven by moving."""
    known = remembered.records(tx.conn, [gpu.uuid for gpu in gpus])
    for record in known.values():
        entities.save(tx, replace(record, node_id=node.id, provider=node.offer.provider))
    bad = {gpu.index: known[gpu.uuid] for gpu in gpus if gpu.uuid in known and known[gpu.uuid].state != Health.HEALTHY}
    if bad:
        told = ", ".join(f"GPU {index} is {record.state}: {record.reason}" for index, record in bad.items())
        reason = f"known from before: {told}"
        data = {"gpus": {str(index): record.id for index, record in bad.items()}}
        entities.append(tx, Event(now, "node.known", "node", node.id, reason, ACTOR, node_id=node.id, data=data))
    return tuple(replace(gpu, health=known[gpu.uuid].state) if gpu.uuid in known else gpu for gpu in gpus)


def with_health(node: Node, states: Mapping[str, Health]) -> Node:
    """A node whose GPUs are believed to be so; those that are not named stay as they are."""
    return replace(node, gpus=tuple(replace(gpu, health=states.get(gpu.uuid, gpu.health)) for gpu in node.gpus))


def is_well(tx: Transaction, node_id: NodeId, now: float) -> bool:
    """Whether nothing was found of a node lately that could have made its programs fail."""
    told_lately = remembered.findings_since(tx.conn, node_id, now - ATTRIBUTION_S, but=Grade.HEALTHY)
    return not told_lately and not remembered.open_incidents(tx.conn, node_id)


def back_at_work(tx: Transaction, attempt: Attempt, actor: str, now: float, *, step: int | None = None) -> None:
    """An evicted job runs again (`step` None) or made its first step since: its incidents tell."""
    for row in remembered.back_at_work(tx, attempt.job_id, now, is_step=step is not None):
        incident = remembered.incident(tx.conn, row.incident_id)
        away_s = round(now - row.at, 3)
        what, said = "restart", "runs again"
        if step is not None:
            what, said = "first-step", f"made its first new step ({step})"
        reason = f"job {attempt.job_id} {said}, {away_s:.1f} s after it had to leave"
        data = {"attempt": attempt.id, "away_s": away_s, "step": step}
        event = of_incident(incident.id, incident.node_id, what, reason, now, actor, data)
        entities.append(tx, replace(event, job_id=attempt.job_id))


def of_incident(
    incident_id: IncidentId, node_id: NodeId, what: str, reason: str, at: float, actor: str, data: Mapping[str, Any]
) -> Event:
    """An event of an incident's timeline."""
    return Event(at, f"incident.{what}", "incident", incident_id, reason, actor, node_id=node_id, data=dict(data))
