"""What people do with services: make one or a new version of one, scale, move, remove; and see how they do."""

from collections.abc import Sequence
from dataclasses import replace

from godwit.control_plane import prometheus
from godwit.control_plane.context import Context
from godwit.control_plane.services import archives, service_views, validation
from godwit.control_plane.store import abilities, entities, queries
from godwit.control_plane.store import services as stored
from godwit.control_plane.store.database import Transaction
from godwit.domain.errors import Conflict, InvalidRequest, NotFound, Problem
from godwit.domain.events import Event
from godwit.domain.ids import ServiceId
from godwit.domain.jobs import JobKind, JobSpec
from godwit.domain.resources import parse_infra
from godwit.domain.services import Replica, ReplicaState, Service, ServiceState, Version
from godwit.domain.serving import Serving, Signal
from godwit.domain.wire.services import ServiceDetail, ServiceView
from godwit.domain.wire.specs import JobSpecIn
from godwit.scheduler.serving import rollout
from sqlalchemy import Connection

VERSIONS_KEPT = 8
"""Versions of a service that are remembered: those that it can be told to go back to."""

SERVICES_MAX = 10_000
"""Services of one control plane: as many as gateways take in one table of routes."""


def put(context: Context, shelf: archives.Shelf, spec_in: JobSpecIn, actor: str) -> ServiceView:
    """Make a service, or take the one of this name to a new version; the same again changes nothing.

    Raises `InvalidRequest` for what is no service or could never run, `Conflict` for one that is being removed.
    """
    now = context.now()
    spec = spec_in.to_domain(now)
    if spec.kind is not JobKind.SERVICE:
        raise InvalidRequest(problems=[Problem(("kind",), "this is no service; write kind: service", ("service",))])
    with context.db.read() as conn:
        offers = abilities.known(queries.offers(conn), queries.holds(conn, now))
    validation.check(context, shelf, spec, offers)
    _refuse_unknown_measures(context, spec)
    with context.db.write() as tx:
        known = stored.find(tx.conn, spec.name, spec.project)
        _refuse_taken_models(tx.conn, spec)
        if known is None or known.state is ServiceState.DELETED:
            service = _born(context, tx, spec, actor, now)
        elif known.state is ServiceState.DELETING:
            raise Conflict(f"service {spec.name} is being removed; wait until it is gone, then run it again")
        else:
            service = to_specification(tx, known, spec, actor, now)
        return service_views.view(tx.conn, service)


def _born(context: Context, tx: Transaction, spec: JobSpec, actor: str, now: float) -> Service:
    if len(stored.alive(tx.conn)) >= SERVICES_MAX:
        raise Conflict(f"there are {SERVICES_MAX} services already, the most that there can be; remove one first")
    serving = _serving(spec)
    service = Service(
        ServiceId(context.ids.new("service")), spec.project, spec.name, ServiceState.SERVING, now, now,
        serving.replicas_min or min(1, serving.replicas_max), (Version(1, spec, now),), scaled_at=now,
    )  # fmt: skip
    born = Event(now, "service.state", "service", service.id, "submitted", actor, new=service.state)
    entities.insert(tx, service, born)
    return service


def to_specification(tx: Transaction, known: Service, spec: JobSpec, actor: str, now: float) -> Service:
    """A service that is wanted otherwise: with a new version where its program is another one."""
    if known.newest.spec == spec:
        return known
    serving = _serving(spec)
    count = min(max(known.replicas, serving.replicas_min), serving.replicas_max)
    if _program(known.newest.spec) == _program(spec):
        # The same program: what changes is how many there are and how they are asked, which needs no new replicas.
        same = replace(known.newest, spec=spec)
        after = replace(known, versions=(*known.versions[:-1], same), replicas=count)
        return tell(tx, known, after, "its owner changed how it scales", actor, now)
    number = max(version.number for version in known.versions) + 1
    versions = _kept(known, Version(number, spec, now))
    after = rollout.begun(replace(known, versions=versions, replicas=count), now)
    return tell(tx, known, after, f"its owner wants version {number}", actor, now)


def _kept(known: Service, new: Version) -> tuple[Version, ...]:
    needed = {known.newest.number} | ({known.rollout.before} if known.rollout is not None else set())
    old = [one for one in known.versions if one.number not in needed][-VERSIONS_KEPT:]
    return (*old, *(one for one in known.versions if one.number in needed), new)


def _program(spec: JobSpec) -> JobSpec:
    """What replicas are made of: the specification without how many there are and how versions change."""
    serving = _serving(spec)
    made = Serving(
        port=serving.port, readiness=serving.readiness, liveness=serving.liveness, drain_s=serving.drain_s,
        ray=serving.ray,
    )  # fmt: skip
    return replace(spec, serving=made)


def _serving(spec: JobSpec) -> Serving:
    return spec.serving or Serving()


def _refuse_unknown_measures(context: Context, spec: JobSpec) -> None:
    scale = _serving(spec).autoscale
    if scale is not None and scale.signal is Signal.PROMETHEUS:
        prometheus.address(scale.url, context.prometheus)


def _refuse_taken_models(conn: Connection, spec: JobSpec) -> None:
    """A model's name leads to one service of a project."""
    for service in stored.alive(conn):
        taken = set(service.newest.serving.models) & set(_serving(spec).models)
        if taken and service.project == spec.project and service.name != spec.name:
            message = f"model {min(taken)} is served by service {service.name} already"
            raise InvalidRequest(problems=[Problem(("models",), message)])


def scale(context: Context, name_or_id: str, count: int, actor: str) -> ServiceView:
    """Say how many replicas there should be. Raises `NotFound`, `Conflict`, or `InvalidRequest` out of its bounds."""
    now = context.now()
    with context.db.write() as tx:
        service = serving_one(tx.conn, name_or_id)
        asked = service.newest.serving
        if asked.replicas_min != asked.replicas_max and not asked.replicas_min <= count <= asked.replicas_max:
            message = f"{count} replicas are not within {asked.replicas_min}..{asked.replicas_max}, its own bounds"
            accepted = (f"{asked.replicas_min} to {asked.replicas_max}",)
            raise InvalidRequest(problems=[Problem(("replicas",), message, accepted)])
        after = replace(service, replicas=count, scaled_at=now)
        if asked.replicas_min == asked.replicas_max != count:
            after = replace(after, versions=(*service.versions[:-1], _with_count(service.newest, count)))
        if after != replace(service, scaled_at=now):
            service = tell(tx, service, after, f"its owner wants {count} replicas", actor, now)
        return service_views.view(tx.conn, service)


def _with_count(version: Version, count: int) -> Version:
    """A service of a fixed size has another fixed size from now on."""
    serving = replace(version.serving, replicas_min=count, replicas_max=count)
    return replace(version, spec=replace(version.spec, serving=serving))


def roll_back(context: Context, name_or_id: str, actor: str) -> ServiceView:
    """Take back a change of versions that is under way. Raises `NotFound`, or `Conflict` when there is none."""
    now = context.now()
    with context.db.write() as tx:
        service = serving_one(tx.conn, name_or_id)
        if service.rollout is None:
            raise Conflict(f"service {service.name} is at version {service.newest.number} and changes to no other")
        if not service.rollout.backwards:
            reason = "its owner takes it back"
            after = replace(service, rollout=replace(service.rollout, backwards=reason))
            service = tell(tx, service, after, f"version {service.rollout.to}: {reason}", actor, now)
        return service_views.view(tx.conn, service)


def move(context: Context, name_or_id: str, to: str | None, actor: str) -> ServiceView:
    """Move a service, or one replica of it: others start there first, take requests, and then these drain.

    `to` is provider[/region[/zone]], None for anywhere. Raises `NotFound`, `Conflict`, `InvalidRequest`.
    """
    now = context.now()
    where = place(context, to)
    with context.db.write() as tx:
        service, going = movable(tx.conn, name_or_id)
        service = serving_one(tx.conn, service.id)
        for replica in going:
            if replica.moves_to != where:
                entities.save(tx, replace(replica, moves_to=where))
        names = ", ".join(one.name for one in going)
        reason = f"its owner moves {names or 'nothing'} to {where or 'another place'}"
        entities.append(tx, Event(now, "service.moves", "service", service.id, reason, actor))
        return service_views.view(tx.conn, service)


def place(context: Context, to: str | None) -> str:
    """Where `to` is, "" for anywhere. Raises `InvalidRequest` where nobody has such a place."""
    where = "" if to is None else str(parse_infra(to))
    if where and where.partition("/")[0] not in context.providers:
        raise InvalidRequest(problems=[Problem(("to",), f"no provider is called {where.partition('/')[0]!r}")])
    return where


def movable(conn: Connection, name_or_id: str) -> tuple[Service, list[Replica]]:
    """A service by its name or that of a replica, and what of it would move. Raises `NotFound`."""
    service = stored.find(conn, name_or_id)
    replicas = [] if service is None else stored.replicas_of(conn, service.id)
    if service is None:
        replicas = [one for one in [_replica(conn, name_or_id)] if one is not None]
        if not replicas:
            raise NotFound(f"there is no service and no replica {name_or_id!r}; `godwit services` lists them all")
        service = stored.get(conn, replicas[0].service_id)
    return service, [one for one in replicas if one.state in {ReplicaState.STARTING, ReplicaState.READY}]


def _replica(conn: Connection, name_or_id: str) -> Replica | None:
    found = stored.replica(conn, name_or_id)
    return found if found is not None else stored.replica_named(conn, name_or_id)


def remove(context: Context, name_or_id: str, actor: str) -> ServiceView:
    """Remove a service: its replicas drain and stop. The same again changes nothing. Raises `NotFound`."""
    now = context.now()
    with context.db.write() as tx:
        service = stored.get(tx.conn, name_or_id)
        if service.state is ServiceState.SERVING:
            after = replace(service, rollout=None, replicas=0)
            reason = "its owner removed it"
            service = entities.advance(tx, after, ServiceState.DELETING, reason=reason, actor=actor, now=now)
        return service_views.view(tx.conn, service)


def serving_one(conn: Connection, name_or_id: str) -> Service:
    """A service that is not being removed. Raises `NotFound`, `Conflict`."""
    service = stored.get(conn, name_or_id)
    if service.state is not ServiceState.SERVING:
        raise Conflict(f"service {service.name} is {service.state}; run it again once it is deleted")
    return service


def tell(tx: Transaction, before: Service, after: Service, reason: str, actor: str, now: float) -> Service:
    """Write a service that changed, and say why."""
    saved = entities.save(tx, after)
    data = {"replicas": after.replicas, "version": after.newest.number, "before": before.newest.number}
    entities.append(tx, Event(now, "service.changed", "service", after.id, reason, actor, data=data))
    return saved


def show(context: Context, name_or_id: str) -> ServiceDetail:
    """One service with its replicas, versions and traffic. Raises `NotFound`."""
    now = context.now()
    with context.db.read() as conn:
        return service_views.detail(conn, stored.get(conn, name_or_id), now)


def overview(
    context: Context, limit: int, after: str | None, project: str | None, *, final: bool
) -> Sequence[ServiceView]:
    """A page of services, the oldest first."""
    with context.db.read() as conn:
        return [service_views.view(conn, one) for one in stored.page(conn, limit, after, project, final=final)]
