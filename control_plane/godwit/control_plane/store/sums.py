"""Sums over tables for the first screen: jobs by state, what nodes cost lately, services that lack replicas."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from godwit.control_plane.store import entities, queries, schema, services, statements
from godwit.domain.ids import ServiceId
from godwit.domain.jobs import AttemptState, Job, JobState
from godwit.domain.services import ReplicaState, ServiceState
from pydantic_core import from_json
from sqlalchemy import Connection, func, or_, select

S_PER_HOUR = 3600.0


def jobs_by_state(conn: Connection, ended_since: float) -> dict[str, int]:
    """How many jobs are in each state; of those that have ended, the ones that ended since that instant."""
    table = schema.jobs
    recent = or_(table.c.state.not_in(queries.FINAL_JOBS), table.c.state_since >= ended_since)
    return {
        row[0]: row[1]
        for row in conn.execute(select(table.c.state, func.count()).where(recent).group_by(table.c.state))
    }


def usd_since(conn: Connection, since: float, now: float) -> float:
    """What machines cost between two instants, by their prices, from their launch to their end."""
    table = schema.nodes
    ended = table.c.state.in_(statements.FINAL_NODES)
    query = select(table.c.offer, table.c.created_at, table.c.state_since, ended.label("ended"))
    found = 0.0
    for row in conn.execute(query.where(table.c.instance_id.is_not(None), or_(~ended, table.c.state_since >= since))):
        until = row.state_since if row.ended else now
        found += _price(row) * max(0.0, until - max(row.created_at, since)) / S_PER_HOUR
    return found


def _price(row: Any) -> float:
    return float(from_json(row.offer)["price_usd_per_hour"])


def waiting_for_others(conn: Connection, limit: int) -> list[Job]:
    """The oldest queued jobs that wait for other jobs: no plan looks at them before those have ended."""
    table = schema.jobs
    query = select(table).where(table.c.state == JobState.QUEUED, table.c.after_id.is_not(None))
    return [entities.job_from(row) for row in conn.execute(query.order_by(table.c.created_at, table.c.id).limit(limit))]


def in_states(conn: Connection, *states: JobState) -> int:
    """How many jobs are in one of these states."""
    return conn.execute(select(func.count()).where(schema.jobs.c.state.in_(states))).scalar_one()


def attempts_began(conn: Connection, job_id: str) -> dict[str, float]:
    """When the program of each attempt of a job began to run, as its story tells; none for one that never did."""
    table = schema.events
    ran = (table.c.job_id == job_id, table.c.kind == "attempt.state", table.c.new == AttemptState.RUNNING)
    query = select(table.c.subject_id, func.min(table.c.at)).where(*ran).group_by(table.c.subject_id)
    return {row[0]: row[1] for row in conn.execute(query)}


@dataclass(frozen=True)
class Services:
    """How many services are in each state, and the ids of those that have fewer ready replicas than they want."""

    by_state: dict[str, int]
    lacking: list[ServiceId]


def services_lacking(conn: Connection) -> Services:
    """Services that are not deleted; those that lack replicas or change backwards come oldest first."""
    table, its = services.services, services.replicas
    counted = select(its.c.service_id, func.count()).where(its.c.state == ReplicaState.READY)
    ready = {row[0]: row[1] for row in conn.execute(counted.group_by(its.c.service_id))}
    columns = (table.c.id, table.c.state, table.c.replicas, table.c.rollout)
    alive = conn.execute(select(*columns).where(table.c.state != ServiceState.DELETED).order_by(table.c.id)).all()
    lacking = [
        ServiceId(row.id)
        for row in alive
        if row.state == ServiceState.SERVING
        and (ready.get(row.id, 0) < row.replicas or (row.rollout is not None and from_json(row.rollout)["backwards"]))
    ]
    return Services(dict(Counter(row.state for row in alive)), lacking)
