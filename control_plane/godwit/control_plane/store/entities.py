"""Rows to entities and back; `insert`, `save` and `advance` are the only ways to change a versioned row."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from functools import lru_cache
from typing import Any, TypeVar

from godwit.control_plane import hints
from godwit.control_plane.store import health_rows, health_tables, moves, schema, services, statements
from godwit.control_plane.store.database import Transaction
from godwit.domain import lifecycle
from godwit.domain.arrays import Member
from godwit.domain.errors import StaleWrite
from godwit.domain.events import Event
from godwit.domain.health import HealthRecord, Incident
from godwit.domain.intents import Intent, IntentKind, IntentState
from godwit.domain.jobs import Attempt, AttemptState, Job, JobSpec, JobState, Outcome, Progress, Resources, Slot
from godwit.domain.migrations import Migration
from godwit.domain.nodes import Gpu, Node, NodeState
from godwit.domain.offers import Offer
from godwit.domain.services import Replica, Service
from pydantic import TypeAdapter
from sqlalchemy import Row, Table

Entity = TypeVar("Entity", Job, Attempt, Node, Intent, Incident, HealthRecord, Migration, Service, Replica)

_SPEC = TypeAdapter(JobSpec)
_OFFER = TypeAdapter(Offer)
_SLOTS = TypeAdapter(tuple[Slot, ...])
_GPUS = TypeAdapter(tuple[Gpu, ...])
_PROGRESS = TypeAdapter(Progress)


def nodes_text(resources: Resources) -> str:
    """How many nodes, as people write it: "4" or "2..8"."""
    low, high = resources.nodes_min, resources.nodes_max
    return str(low) if low == high else f"{low}..{high}"


def job_from(row: Row[Any]) -> Job:
    """A job from its row."""
    return Job(
        id=row.id, project=row.project, spec=_SPEC.validate_json(row.spec), state=JobState(row.state),
        created_at=row.created_at, state_since=row.state_since, epoch=row.epoch, interruptions=row.interruptions,
        cancel_requested=row.cancel_requested, progress=progress_from(row.progress), exit_code=row.exit_code,
        detail=row.detail, after_id=row.after_id, nodes_wanted=row.nodes_wanted, user=row.submitted_by,
        version=row.version,
        member=None if row.array_id is None else Member(row.array_id, row.array_index, row.array_size),
    )  # fmt: skip


def progress_from(text: str | None) -> Progress | None:
    """Progress from its column."""
    return None if text is None else _PROGRESS.validate_json(text)


def progress_text(progress: Progress) -> str:
    """Progress for its column."""
    return _PROGRESS.dump_json(progress).decode()


def attempt_from(row: Row[Any]) -> Attempt:
    """An attempt from its row."""
    return Attempt(
        id=row.id, job_id=row.job_id, epoch=row.epoch, state=AttemptState(row.state),
        slots=_slots_from(row.slots), port=row.port, created_at=row.created_at, state_since=row.state_since,
        outcome=None if row.outcome is None else Outcome(row.outcome), exit_code=row.exit_code,
        failed_at=row.failed_at, detail=row.detail, yields_to=row.yields_to, version=row.version,
        left=_slots_from(row.left_slots), resized_at=row.resized_at, leaves_by=row.leaves_by,
    )  # fmt: skip


def node_from(row: Row[Any]) -> Node:
    """A node from its row."""
    return Node(
        id=row.id, offer=offer_from(row.offer), state=NodeState(row.state), created_at=row.created_at,
        state_since=row.state_since, instance_id=row.instance_id, address=row.address,
        gpus=_gpus_from(row.gpus), cpus=row.cpus, memory_gib=row.memory_gib, last_seen_at=row.last_seen_at,
        lease_until=row.lease_until, gone=row.gone, reserved_for=row.reserved_for, idle_since=row.idle_since,
        leaves_at=row.leaves_at, detail=row.detail, confinement=row.confinement, version=row.version,
    )  # fmt: skip


def intent_from(row: Row[Any]) -> Intent:
    """An intent from its row."""
    return Intent(
        id=row.id, kind=IntentKind(row.kind), state=IntentState(row.state), node_id=row.node_id,
        created_at=row.created_at, state_since=row.state_since, reason=row.reason, attempt_id=row.attempt_id,
        job_id=row.job_id, payload=json.loads(row.payload), tries=row.tries, not_before=row.not_before,
        detail=row.detail, version=row.version, holder=row.holder,
    )  # fmt: skip


def event_from(row: Row[Any]) -> Event:
    """An event from its row."""
    return Event(
        at=row.at, kind=row.kind, subject=row.subject, subject_id=row.subject_id, reason=row.reason, actor=row.actor,
        old=row.old, new=row.new, job_id=row.job_id, node_id=row.node_id, data=json.loads(row.data), seq=row.seq,
    )  # fmt: skip


# What a row holds of these never changes while the text is the same, and most rows are read again and again.


@lru_cache(maxsize=16_384)
def offer_from(text: str) -> Offer:
    """An offer from its column."""
    return _OFFER.validate_json(text)


def listed_offer_from(text: str, seen_at: float) -> Offer:
    """An offer from its row in the market; most rows say the same at every refresh but for when they were seen."""
    return replace(offer_from(text), seen_at=seen_at)


@lru_cache(maxsize=16_384)
def _gpus_from(text: str) -> tuple[Gpu, ...]:
    return _GPUS.validate_json(text)


@lru_cache(maxsize=16_384)
def _slots_from(text: str) -> tuple[Slot, ...]:
    return _SLOTS.validate_json(text)


def offer_row(offer: Offer) -> dict[str, Any]:
    """An offer as a row of the market."""
    return {
        "key": offer.key, "provider": offer.provider, "region": offer.region, "gpu_model": offer.gpu_model,
        "gpu_count": offer.gpu_count, "spot": offer.spot, "price_usd_per_gpu_hour": offer.price_usd_per_gpu_hour,
        "seen_at": offer.seen_at, "data": offer_text(replace(offer, seen_at=0.0)),
    }  # fmt: skip


def offer_text(offer: Offer) -> str:
    """An offer for its column."""
    return _OFFER.dump_json(offer).decode()


def _job_values(job: Job) -> dict[str, Any]:
    member = job.member
    return {
        "project": job.project, "name": job.spec.name, "kind": job.spec.kind, "gpus": str(job.spec.resources.gpus),
        "nodes": nodes_text(job.spec.resources), "priority": job.spec.priority,
        "spec": _SPEC.dump_json(job.spec).decode(), "state": job.state, "created_at": job.created_at,
        "state_since": job.state_since, "epoch": job.epoch, "interruptions": job.interruptions,
        "cancel_requested": job.cancel_requested, "exit_code": job.exit_code, "detail": job.detail,
        "array_id": None if member is None else member.array_id,
        "array_index": None if member is None else member.index,
        "array_size": None if member is None else member.size, "after_id": job.after_id,
        "deadline_at": job.spec.deadline_at, "budget_usd": job.spec.budget_usd, "nodes_wanted": job.nodes_wanted,
        "submitted_by": job.user,
    }  # fmt: skip


def _attempt_values(attempt: Attempt) -> dict[str, Any]:
    return {
        "job_id": attempt.job_id, "epoch": attempt.epoch, "state": attempt.state,
        "slots": _SLOTS.dump_json(attempt.slots).decode(), "port": attempt.port, "created_at": attempt.created_at,
        "state_since": attempt.state_since, "outcome": attempt.outcome, "exit_code": attempt.exit_code,
        "failed_at": attempt.failed_at, "detail": attempt.detail, "yields_to": attempt.yields_to,
        "left_slots": _SLOTS.dump_json(attempt.left).decode(), "resized_at": attempt.resized_at,
        "leaves_by": attempt.leaves_by,
    }  # fmt: skip


def _node_values(node: Node) -> dict[str, Any]:
    return {
        "provider": node.offer.provider, "offer": offer_text(node.offer), "state": node.state,
        "created_at": node.created_at, "state_since": node.state_since, "instance_id": node.instance_id,
        "address": node.address, "gpus": _GPUS.dump_json(node.gpus).decode(), "cpus": node.cpus,
        "memory_gib": node.memory_gib, "gone": node.gone, "reserved_for": node.reserved_for,
        "idle_since": node.idle_since, "leaves_at": node.leaves_at, "detail": node.detail,
        "confinement": node.confinement,
    }  # fmt: skip


def _intent_values(intent: Intent) -> dict[str, Any]:
    return {
        "kind": intent.kind, "state": intent.state, "node_id": intent.node_id, "attempt_id": intent.attempt_id,
        "job_id": intent.job_id, "payload": json.dumps(dict(intent.payload)), "reason": intent.reason,
        "created_at": intent.created_at, "state_since": intent.state_since, "tries": intent.tries,
        "not_before": intent.not_before, "detail": intent.detail, "holder": intent.holder,
    }  # fmt: skip


_HOMES: Mapping[type, tuple[Table, Callable[[Any], dict[str, Any]]]] = {
    Job: (schema.jobs, _job_values),
    Attempt: (schema.attempts, _attempt_values),
    Node: (schema.nodes, _node_values),
    Intent: (schema.intents, _intent_values),
    Incident: (health_tables.incidents, health_rows.incident_values),
    HealthRecord: (health_tables.health_records, health_rows.record_values),
    Migration: (moves.migrations, moves.migration_values),
    Service: (services.services, services.service_values),
    Replica: (services.replicas, services.replica_values),
}

_AT_BIRTH: Mapping[type, dict[str, Any]] = {Attempt: {"last_lines": "[]"}}


def insert(tx: Transaction, entity: Entity, event: Event | None = None) -> None:
    """Write a new row, and the event that tells of it."""
    table, values = _HOMES[type(entity)]
    born = _AT_BIRTH.get(type(entity), {})
    row = {"id": entity.id, "version": entity.version, **values(entity), **born}
    tx.conn.execute(statements.insert_into(table), row)
    if event is not None:
        append(tx, event)


def insert_all(tx: Transaction, jobs: Sequence[Job], events: Sequence[Event]) -> None:
    """Write many new jobs and the events that tell of them, each in one statement."""
    tx.conn.execute(
        statements.insert_into(schema.jobs), [{"id": j.id, "version": j.version, **_job_values(j)} for j in jobs]
    )
    tx.conn.execute(statements.insert_into(schema.events), [_event_row(event) for event in events])
    tx.hint(hints.EVENTS, hints.PLAN)


def save(tx: Transaction, entity: Entity) -> Entity:
    """Write a changed row; returns it with its new version. Raises `StaleWrite` when another writer was first."""
    table, values = _HOMES[type(entity)]
    statement = statements.update_where(table.c.id, table.c.version)
    was = {"of_id": entity.id, "of_version": entity.version}
    if tx.conn.execute(statement, {**was, **values(entity), "version": entity.version + 1}).rowcount != 1:
        raise StaleWrite(f"{type(entity).__name__.lower()} {entity.id} was changed by another writer; reload and retry")
    return replace(entity, version=entity.version + 1)


def advance(tx: Transaction, entity: Entity, to: StrEnum, *, reason: str, actor: str, now: float) -> Entity:
    """Move an entity along its lifecycle table, write it and the event; see `lifecycle.advance` and `save`."""
    moved, event = lifecycle.advance(entity, to, reason=reason, actor=actor, now=now)
    saved = save(tx, moved)
    append(tx, event)
    return saved


def advance_all(tx: Transaction, jobs: Sequence[Job], to: StrEnum, *, reason: str, actor: str, now: float) -> list[Job]:
    """As `advance`, for many jobs in two statements; `StaleWrite` when another writer was first with any of them."""
    table = schema.jobs
    moved = [lifecycle.advance(job, to, reason=reason, actor=actor, now=now) for job in jobs]
    statement = statements.update_where(table.c.id, table.c.version)
    values = [
        {"of_id": job.id, "of_version": job.version, **_job_values(job), "version": job.version + 1} for job, _ in moved
    ]
    if not moved:
        return []
    if tx.conn.execute(statement, values).rowcount != len(values):
        raise StaleWrite("a job was changed by another writer; reload and retry")
    tx.conn.execute(statements.insert_into(schema.events), [_event_row(event) for _, event in moved])
    tx.hint(hints.EVENTS, hints.PLAN)
    return [replace(job, version=job.version + 1) for job, _ in moved]


def append(tx: Transaction, event: Event) -> None:
    """Append an event; nothing ever changes or removes one."""
    tx.conn.execute(statements.insert_into(schema.events), _event_row(event))
    tx.hint(hints.EVENTS, hints.PLAN)


def _event_row(event: Event) -> dict[str, Any]:
    return {
        "at": event.at, "kind": event.kind, "subject": event.subject, "subject_id": event.subject_id,
        "reason": event.reason, "actor": event.actor, "old": event.old, "new": event.new, "job_id": event.job_id,
        "node_id": event.node_id, "data": json.dumps(dict(event.data)),
    }  # fmt: skip
