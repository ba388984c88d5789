"""The loop of services: load what is known of each, decide with pure code, apply; then publish where requests go."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import structlog
from godwit.control_plane.context import Context
from godwit.control_plane.reconcilers.scaling import Scaling
from godwit.control_plane.services import jobs, routes, traffic
from godwit.control_plane.store import abilities, entities, queries, restored, routing
from godwit.control_plane.store import services as stored
from godwit.control_plane.store.database import Transaction
from godwit.control_plane.store.leases import LeaseLost
from godwit.domain.errors import NotFound, StaleWrite
from godwit.domain.events import Event
from godwit.domain.ids import JobId, NodeId, ServiceId
from godwit.domain.jobs import Attempt, Job, JobState, Spot
from godwit.domain.nodes import Node
from godwit.domain.resources import Infra
from godwit.domain.services import Replica, ReplicaState, Service
from godwit.scheduler import departures, placement
from godwit.scheduler.departures import Departure
from godwit.scheduler.serving import steps
from godwit.scheduler.serving.actions import (
    AddReplica,
    ChangeService,
    LeaveNode,
    MoveReplica,
    ServingAction,
    StopReplica,
)
from godwit.scheduler.serving.view import View, Zone
from sqlalchemy import Connection

log = structlog.get_logger()

ACTOR = "services"
MAX_ROUNDS = 50
"""Decisions in one step: what is so, one change of a service, who comes and goes; then it rests."""

LOOK_S = 1.0
"""How soon to look again at a service that drains, changes or scales by itself: gateways tell without an event."""


class Serving:
    """Runs services on the database. `step` is safe to repeat and to kill at any point.

    `value` is what the query of a service gave lately, if it has one.
    """

    def __init__(self, context: Context, value: Callable[[ServiceId, float], float | None] | None = None) -> None:
        self._context = context
        self._scaling = Scaling(context, value)

    def step(self) -> float | None:
        """Decide and apply until there is nothing more to do now; returns when to look again, None: at any news."""
        for _ in range(MAX_ROUNDS):
            now = self._context.now()
            views = self._load(now)
            decided = [(view, steps.decide(view, now)) for view in views]
            try:
                for view, actions in decided:
                    self._apply(view, actions, now)
            except LeaseLost as lost:
                log.debug("nothing more is decided here", reason=lost.message)
                return None
            # What drains may be stopped once it is known from which routes on none leads there.
            if not any(actions for _, actions in decided) and not routes.publish(self._context):
                break
        else:
            log.warning("services do not come to rest")
        self._scaling.remember(now)
        waits = [at for view in views if (at := steps.wake_at(view, now)) is not None]
        if any(one.state is ReplicaState.DRAINING for view in views for one in view.replicas):
            waits.append(now + LOOK_S)
        return min(waits, default=None)

    def _load(self, now: float) -> list[View]:
        with self._context.db.read() as conn:
            services = stored.alive(conn)
            if not services:
                return []
            gateways = routing.all_gateways(conn, now)
            flying = traffic.in_flight(gateways)
            attempts = {attempt.job_id: attempt for attempt in queries.live_attempts(conn)}
            nodes = {node.id: node for node in queries.nodes(conn)}
            last = restored.find(conn)
            restored_at = None if last is None else last.restored_at
            views = []
            for service in services:
                replicas = stored.replicas_of(conn, service.id)
                view = View(
                    service, tuple(replicas), tuple(stored.gone_of(conn, service.id)), _jobs(conn, replicas), attempts,
                    flying, traffic.quiet(replicas, gateways, self._context.hearing_since, now, restored_at),
                    traffic.measured(gateways, service.project, service.name, now), zones=_zones(conn, service, now),
                    leaving=_leaving(replicas, attempts, nodes),
                )  # fmt: skip
                views.append(self._scaling.seen(conn, view, now))
        return views

    def _apply(self, view: View, actions: Sequence[ServingAction], now: float) -> None:
        if not actions:
            return
        try:
            with self._context.db.write() as tx:
                writing = _Writing(self._context, tx, view, now)
                for action in actions:
                    _HANDLERS[type(action)](writing, action)
        except LeaseLost:
            raise  # nothing that is decided here will be written any more
        except StaleWrite as stale:
            log.debug("decided on a stale view of a service; deciding again", reason=stale.message)


def _zones(conn: Connection, service: Service, now: float) -> tuple[Zone, ...]:
    """Where spot for one replica is sold, for a service that wants it covered; a refusal holds an offer for a while."""
    version = service.newest
    if version.serving.spare is None:
        return ()
    wanted = replace(version.spec.resources, spot=Spot.ONLY)
    holds = queries.holds(conn, now)
    held = {hold.offer_key for hold in holds}
    found: dict[Infra, Zone] = {}
    for offer in abilities.known(queries.offers(conn), holds):
        if not offer.spot or placement.offer_refusal(wanted, offer, offer.key) is not None:
            continue
        place = Infra(offer.provider, offer.region, offer.zone)
        before = found.get(place)
        able = Zone(place, offer.price_usd_per_hour * version.spec.resources.nodes_min, offer.key in held)
        if before is None or (able.is_passed_over, able.usd_per_hour) < (before.is_passed_over, before.usd_per_hour):
            found[place] = able
    return tuple(found.values())


def _leaving(
    replicas: Sequence[Replica], attempts: Mapping[JobId, Attempt], nodes: Mapping[NodeId, Node]
) -> dict[JobId, Departure]:
    """Replicas that have to leave where they are."""
    found = {one.job_id: departures.of(attempts[one.job_id], nodes) for one in replicas if one.job_id in attempts}
    return {job_id: one for job_id, one in found.items() if one is not None}


def _jobs(conn: Connection, replicas: Sequence[Replica]) -> dict[JobId, Job]:
    found = {}
    for replica in replicas:
        try:
            found[replica.job_id] = queries.job(conn, replica.job_id)
        except NotFound:
            continue  # what has no job is gone, which is decided from that
    return found


class _Writing:
    """One service's decisions being written, in one transaction; what one changed is seen by the next as changed."""

    def __init__(self, context: Context, tx: Transaction, view: View, now: float) -> None:
        self.context, self.tx, self.view, self.now = context, tx, view, now
        self.service: Service = view.service
        self.replicas = {replica.id: replica for replica in view.replicas}


def _add(writing: _Writing, action: AddReplica) -> None:
    service, now = writing.service, writing.now
    version = next(one for one in service.versions if one.number == action.number)
    ordinal = service.next_ordinal
    writing.service = entities.save(writing.tx, replace(service, next_ordinal=ordinal + 1))
    resources = version.spec.resources
    if action.infra is not None:
        resources = replace(resources, infra=(action.infra,))
    if action.spot is not None:
        resources = replace(resources, spot=action.spot)
    spec = replace(version.spec, name=f"{service.name}-{ordinal}", resources=resources)
    job = Job(JobId(writing.context.ids.new("job")), service.project, spec, JobState.QUEUED, now, now)
    born = Event(now, "job.state", "job", job.id, action.reason, ACTOR, new=JobState.QUEUED, job_id=job.id)
    entities.insert(writing.tx, job, born)
    replica = Replica(job.id, service.id, spec.name, action.number, ordinal, ReplicaState.STARTING, now, now)
    told = Event(now, "replica.state", "replica", job.id, action.reason, ACTOR, new=replica.state, job_id=job.id)
    entities.insert(writing.tx, replica, told)


def _move(writing: _Writing, action: MoveReplica) -> None:
    replica = replace(writing.replicas[action.replica_id], detail=action.reason)
    moved = entities.advance(writing.tx, replica, action.to, reason=action.reason, actor=ACTOR, now=writing.now)
    writing.replicas[replica.id] = moved


def _leave(writing: _Writing, action: LeaveNode) -> None:
    replica, tx = writing.replicas[action.replica_id], writing.tx
    writing.replicas[replica.id] = entities.save(tx, replace(replica, moves_to=""))
    told = Event(writing.now, "replica.leaves", "replica", replica.id, action.reason, ACTOR, job_id=replica.id)
    entities.append(tx, told)


def _stop(writing: _Writing, action: StopReplica) -> None:
    job = queries.job(writing.tx.conn, action.replica_id)
    jobs.end(writing.tx, job, f"as a replica: {action.reason}", ACTOR, writing.now)


def _change(writing: _Writing, action: ChangeService) -> None:
    after, tx, now = action.after, writing.tx, writing.now
    if action.to is not None:
        writing.service = entities.advance(tx, after, action.to, reason=action.reason, actor=ACTOR, now=now)
        return
    writing.service = entities.save(tx, after)
    data: dict[str, Any] = {"replicas": after.replicas, "version": after.newest.number}
    entities.append(tx, Event(now, "service.changed", "service", after.id, action.reason, ACTOR, data=data))


_HANDLERS: Mapping[type, Callable[[_Writing, Any], None]] = {
    AddReplica: _add,
    MoveReplica: _move,
    LeaveNode: _leave,
    StopReplica: _stop,
    ChangeService: _change,
}
