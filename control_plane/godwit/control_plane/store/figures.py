"""What the tables hold in numbers, for metrics: counted by the database, read without making entities of rows."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from godwit.control_plane.store import health, health_tables, routing, schema, services, statements
from godwit.domain import lifecycle
from godwit.domain.health import IncidentState
from godwit.domain.intents import IntentState
from godwit.domain.jobs import JobState
from godwit.domain.nodes import Health, NodeState
from godwit.domain.resources import GPU_MODELS
from godwit.domain.services import ReplicaState
from sqlalchemy import Connection, func, select

_LIVE_JOBS = tuple(state for state in JobState if not lifecycle.is_final(state))
_COMING = frozenset({NodeState.REQUESTED, NodeState.PROVISIONING, NodeState.JOINING})
_SPEAKING = frozenset({NodeState.READY, NodeState.CORDONED, NodeState.DRAINING})

PROJECTS_MAX = 100
"""Projects that are told apart; the rest are `OTHER` together."""

OTHER = "other"
GATEWAY_HEARD_S = 60.0
"""A gateway reports each second; one that was silent for a minute is gone."""

EVENTS_MAX = 200_000
"""Events that one reading counts; of more, the rest is counted by the next."""


@dataclass
class Fleet:
    """Nodes and GPUs in numbers. Ages and times left in seconds, money in USD per hour."""

    nodes: Counter[tuple[str, str]] = field(default_factory=Counter)
    in_state_s: dict[tuple[str, str], float] = field(default_factory=dict)
    gpus: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    usd_per_hour: dict[tuple[str, str], float] = field(default_factory=dict)
    silence_s: dict[str, float] = field(default_factory=dict)
    leases: Counter[str] = field(default_factory=lambda: Counter(valid=0, expired=0))
    lease_left_s: float | None = None


def jobs(conn: Connection) -> Mapping[tuple[str, str], int]:
    """Jobs that have not ended, by kind and state."""
    table = schema.jobs
    query = select(table.c.kind, table.c.state, func.count()).where(table.c.state.in_(_LIVE_JOBS))
    return {(kind, state): count for kind, state, count in conn.execute(query.group_by(table.c.kind, table.c.state))}


def queue(conn: Connection) -> list[tuple[str, int, float]]:
    """Who waits: project, jobs, and since when the oldest does; the longest queue first."""
    table = schema.jobs
    count = func.count()
    query = select(table.c.project, count, func.min(table.c.state_since)).where(table.c.state == JobState.QUEUED)
    rows = conn.execute(query.group_by(table.c.project).order_by(count.desc(), table.c.project)).all()
    found = [(str(project), int(n), float(since)) for project, n, since in rows]
    kept, rest = found[:PROJECTS_MAX], found[PROJECTS_MAX:]
    return [*kept, (OTHER, sum(n for _, n, _ in rest), min(since for *_, since in rest))] if rest else kept


def intents(conn: Connection) -> Mapping[str, tuple[int, float]]:
    """Intents that are owed, by kind: how many, and since when the oldest is."""
    table = schema.intents
    query = select(table.c.kind, func.count(), func.min(table.c.created_at))
    rows = conn.execute(query.where(table.c.state == IntentState.PENDING).group_by(table.c.kind))
    return {kind: (count, since) for kind, count, since in rows}


def last_event(conn: Connection) -> int:
    """The number of the newest event; 0 without any."""
    return int(conn.execute(select(func.max(schema.events.c.seq))).scalar() or 0)


def events_between(conn: Connection, after: int, to: int) -> Mapping[tuple[str, str], int]:
    """Events after one number up to another, by kind and the state that they tell of."""
    table = schema.events
    query = select(table.c.kind, table.c.new, func.count()).where(table.c.seq > after, table.c.seq <= to)
    return {(kind, new or ""): count for kind, new, count in conn.execute(query.group_by(table.c.kind, table.c.new))}


def intents_ended_between(conn: Connection, after: int, to: int) -> Mapping[tuple[str, str], int]:
    """Intents that ended by these events, by kind and the state in which."""
    of, owed = schema.events, schema.intents
    query = (
        select(owed.c.kind, of.c.new, func.count())
        .join(owed, owed.c.id == of.c.subject_id)
        .where(of.c.seq > after, of.c.seq <= to, of.c.kind == "intent.state")
    )
    return {(kind, new): count for kind, new, count in conn.execute(query.group_by(owed.c.kind, of.c.new))}


def fleet(conn: Connection, now: float) -> Fleet:
    """Nodes that have not ended, their GPUs by use, their price, how silent they are and what is left of leases."""
    table, found = schema.nodes, Fleet()
    held = _held(conn)
    columns = (
        table.c.id, table.c.provider, table.c.state, table.c.gpus, table.c.offer, table.c.reserved_for,
        table.c.last_seen_at, table.c.lease_until, table.c.state_since,
    )  # fmt: skip
    for row in conn.execute(select(*columns).where(table.c.state.not_in(statements.FINAL_NODES))):
        _count(found, row, held, now)
    return found


def _count(found: Fleet, row: Any, held: set[tuple[str, int]], now: float) -> None:
    gpu_model, gpu_count, is_spot, usd_per_hour = _offer(row.offer)
    found.nodes[row.provider, row.state] += 1
    age_s = max(0.0, now - row.state_since)
    found.in_state_s[row.provider, row.state] = max(age_s, found.in_state_s.get((row.provider, row.state), 0.0))
    market = row.provider, str(is_spot).lower()
    found.usd_per_hour[market] = found.usd_per_hour.get(market, 0.0) + usd_per_hour
    if row.state in _COMING:
        found.gpus[row.provider, gpu_model, "coming"] += gpu_count
    for gpu in json.loads(row.gpus) if row.state not in _COMING else ():
        found.gpus[row.provider, _model(gpu["model"]), _use(row, gpu, held)] += 1
    if row.state in _SPEAKING and row.last_seen_at is not None:
        silent_s = max(0.0, now - row.last_seen_at)
        found.silence_s[row.provider] = max(silent_s, found.silence_s.get(row.provider, 0.0))
    if row.lease_until is not None:
        left_s = row.lease_until - now
        found.leases["valid" if left_s > 0 else "expired"] += 1
        if left_s > 0:
            found.lease_left_s = left_s if found.lease_left_s is None else min(left_s, found.lease_left_s)


def _use(row: Any, gpu: Mapping[str, Any], held: set[tuple[str, int]]) -> str:
    if (row.id, gpu["index"]) in held:
        return "held"
    if gpu.get("health", Health.HEALTHY) != Health.HEALTHY or row.state in {NodeState.CORDONED, NodeState.LOST}:
        return "unfit"
    if row.state != NodeState.READY:
        return "leaving"
    return "idle" if row.reserved_for is None else "reserved"


@lru_cache(maxsize=4_096)
def _offer(text: str) -> tuple[str, int, bool, float]:
    """What matters of an offer; of many nodes it is the same text."""
    offer = json.loads(text)
    return _model(offer["gpu_model"]), offer["gpu_count"], bool(offer["spot"]), offer["price_usd_per_hour"]


def _model(name: str | None) -> str:
    return name if name in GPU_MODELS else OTHER


def _held(conn: Connection) -> set[tuple[str, int]]:
    slots = (slot for row in conn.execute(statements.LIVE_ATTEMPTS) for slot in json.loads(row.slots))
    return {(slot["node_id"], gpu) for slot in slots if not slot["released"] for gpu in slot["gpus"]}


def incidents(conn: Connection) -> Mapping[str, int]:
    """Incidents that are not closed, by state."""
    table = health_tables.incidents
    query = select(table.c.state, func.count()).where(table.c.state != IncidentState.CLOSED).group_by(table.c.state)
    return {row.state: int(row[1]) for row in conn.execute(query)}


def is_breaker_tripped(conn: Connection) -> bool:
    """Whether automation may take no node out of the fleet."""
    return health.breaker(conn).tripped_at is not None


def replicas(conn: Connection) -> Mapping[str, int]:
    """Replicas that are not gone, by state."""
    table = services.replicas
    query = select(table.c.state, func.count()).where(table.c.state != ReplicaState.GONE).group_by(table.c.state)
    return {row.state: int(row[1]) for row in conn.execute(query)}


def gateways_heard(conn: Connection, now: float) -> int:
    """Gateways that were heard lately."""
    table = routing.gateways
    query = select(func.count()).select_from(table).where(table.c.heard_at > now - GATEWAY_HEARD_S)
    return int(conn.execute(query).scalar_one())
