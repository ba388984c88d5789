"""Services and their replicas: their tables, as rows and back, and every reading of them."""

from collections.abc import Iterable
from typing import Any

from godwit.control_plane.store.database import batches
from godwit.control_plane.store.schema import metadata
from godwit.domain.errors import NotFound
from godwit.domain.ids import AttemptId, JobId, ProjectId, ServiceId
from godwit.domain.services import Replica, ReplicaState, Rollout, Service, ServiceState, Version
from pydantic import TypeAdapter
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    Row,
    String,
    Table,
    Text,
    bindparam,
    select,
)

services = Table(
    "services",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project", String(64), nullable=False),
    Column("name", String(64), nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("created_at", Float, nullable=False),
    Column("state_since", Float, nullable=False),
    Column("replicas", Integer, nullable=False),
    Column("versions", Text, nullable=False),
    Column("rollout", Text),
    Column("next_ordinal", Integer, nullable=False),
    Column("scaled_at", Float, nullable=False),
    Column("version", Integer, nullable=False),
    Index(None, "name", "id"),
)

replicas = Table(
    "replicas",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("service_id", String(64), nullable=False),
    Column("name", String(64), nullable=False),
    Column("number", Integer, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("state_since", Float, nullable=False),
    Column("attempt_id", String(64)),
    Column("url", Text, nullable=False),
    Column("zone", Text, nullable=False),
    Column("ready_at", Float),
    Column("routed", BigInteger),
    Column("moves_to", String(255)),
    Column("detail", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Index(None, "service_id", "state"),
)

GONE_SEEN = 32
"""Replicas of a service that are gone and are looked at, the newest: what restarts have come to is told from them."""

_VERSIONS = TypeAdapter(tuple[Version, ...])
_ROLLOUT = TypeAdapter(Rollout)
_ALIVE = select(services).where(services.c.state != ServiceState.DELETED).order_by(services.c.id)
_REPLICAS = (
    select(replicas)
    .where(replicas.c.service_id == bindparam("of_service"), replicas.c.state != ReplicaState.GONE)
    .order_by(replicas.c.ordinal)
)
_GONE = (
    select(replicas)
    .where(replicas.c.service_id == bindparam("of_service"), replicas.c.state == ReplicaState.GONE)
    .order_by(replicas.c.ordinal.desc())
    .limit(GONE_SEEN)
)
_BY_ID = select(replicas).where(replicas.c.id == bindparam("wanted"))


def alive(conn: Connection) -> list[Service]:
    """Every service that is not deleted, the oldest first."""
    return [service_from(row) for row in conn.execute(_ALIVE)]


def page(conn: Connection, limit: int, after: str | None, project: str | None, *, final: bool) -> list[Service]:
    """A page of services, the oldest first, starting after id `after`; with those that are deleted if `final`."""
    query = (select(services).order_by(services.c.id) if final else _ALIVE).limit(limit)
    if after is not None:
        query = query.where(services.c.id > after)
    if project is not None:
        query = query.where(services.c.project == project)
    return [service_from(row) for row in conn.execute(query)]


def find(conn: Connection, name_or_id: str, project: str | None = None) -> Service | None:
    """A service by id, or the newest of that name, of this project if one is named; living ones come first."""
    row = conn.execute(select(services).where(services.c.id == name_or_id)).first()
    if row is None:
        named = select(services).where(services.c.name == name_or_id)
        if project is not None:
            named = named.where(services.c.project == project)
        rows = conn.execute(named.order_by(services.c.id.desc()).limit(8)).all()
        row = next((one for one in rows if one.state != ServiceState.DELETED), rows[0] if rows else None)
    return None if row is None else service_from(row)


def get(conn: Connection, name_or_id: str) -> Service:
    """As `find`. Raises `NotFound`."""
    found = find(conn, name_or_id)
    if found is None:
        raise NotFound(f"there is no service {name_or_id!r}; `godwit services` lists them all")
    return found


def replicas_of(conn: Connection, service_id: str) -> list[Replica]:
    """The replicas of a service that are not gone, by their numbers."""
    return [replica_from(row) for row in conn.execute(_REPLICAS, {"of_service": service_id})]


def gone_of(conn: Connection, service_id: str) -> list[Replica]:
    """The last replicas of a service that are gone, the newest first."""
    return [replica_from(row) for row in conn.execute(_GONE, {"of_service": service_id})]


def replica(conn: Connection, job_id: str) -> Replica | None:
    """The replica that a job is, if it is one."""
    row = conn.execute(_BY_ID, {"wanted": job_id}).first()
    return None if row is None else replica_from(row)


def names(found: Iterable[Service]) -> list[str]:
    """What they are called."""
    return [service.name for service in found]


def service_from(row: Row[Any]) -> Service:
    """A service from its row."""
    return Service(
        id=ServiceId(row.id), project=ProjectId(row.project), name=row.name, state=ServiceState(row.state),
        created_at=row.created_at, state_since=row.state_since, replicas=row.replicas,
        versions=_VERSIONS.validate_json(row.versions),
        rollout=None if row.rollout is None else _ROLLOUT.validate_json(row.rollout),
        next_ordinal=row.next_ordinal, scaled_at=row.scaled_at, version=row.version,
    )  # fmt: skip


def service_values(of: Service) -> dict[str, Any]:
    """A service as its row, but for id and version."""
    return {
        "project": of.project, "name": of.name, "state": of.state, "created_at": of.created_at,
        "state_since": of.state_since, "replicas": of.replicas, "versions": _VERSIONS.dump_json(of.versions).decode(),
        "rollout": None if of.rollout is None else _ROLLOUT.dump_json(of.rollout).decode(),
        "next_ordinal": of.next_ordinal, "scaled_at": of.scaled_at,
    }  # fmt: skip


def replica_from(row: Row[Any]) -> Replica:
    """A replica from its row."""
    return Replica(
        id=JobId(row.id), service_id=ServiceId(row.service_id), name=row.name, number=row.number, ordinal=row.ordinal,
        state=ReplicaState(row.state), created_at=row.created_at, state_since=row.state_since,
        attempt_id=None if row.attempt_id is None else AttemptId(row.attempt_id), url=row.url, zone=row.zone,
        ready_at=row.ready_at, routed=row.routed, moves_to=row.moves_to, detail=row.detail, version=row.version,
    )  # fmt: skip


def replica_values(of: Replica) -> dict[str, Any]:
    """A replica as its row, but for id and version."""
    return {
        "service_id": of.service_id, "name": of.name, "number": of.number, "ordinal": of.ordinal, "state": of.state,
        "created_at": of.created_at, "state_since": of.state_since, "attempt_id": of.attempt_id, "url": of.url,
        "zone": of.zone, "ready_at": of.ready_at, "routed": of.routed, "moves_to": of.moves_to,
        "detail": of.detail,
    }  # fmt: skip


def replica_named(conn: Connection, name: str) -> Replica | None:
    """The newest replica of a name."""
    row = conn.execute(
        select(replicas).where(replicas.c.name == name).order_by(replicas.c.created_at.desc()).limit(1)
    ).first()
    return None if row is None else replica_from(row)


def service_of_jobs(conn: Connection, job_ids: Iterable[str]) -> dict[str, str]:
    """Of jobs that are replicas, whose: the project and the name of the service, as "project/name"."""
    query = select(replicas.c.id, services.c.project, services.c.name).join(
        services, services.c.id == replicas.c.service_id
    )
    return {
        str(row.id): f"{row.project}/{row.name}"
        for batch in batches(job_ids)
        for row in conn.execute(query.where(replicas.c.id.in_(batch)))
    }
