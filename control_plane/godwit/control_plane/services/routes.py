"""Where requests go: routes made of what replicas are, published under a number, and what gateways tell back."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from godwit.control_plane import hints
from godwit.control_plane.context import Context
from godwit.control_plane.services import history
from godwit.control_plane.store import routing
from godwit.control_plane.store import services as stored
from godwit.control_plane.store.database import Transaction
from godwit.control_plane.store.routing import Published
from godwit.domain.services import Replica, ReplicaState, Service
from godwit.domain.wire.routes import (
    GatewaySignals,
    Limits,
    Regulation,
    ReplicaRoute,
    RouteTable,
    ServiceRoute,
    VersionRoute,
)
from godwit.scheduler.serving import counts
from sqlalchemy import Connection

_SHOWN = (ReplicaState.READY, ReplicaState.DRAINING)


def table(context: Context, version: int | None, gateway: str | None) -> RouteTable | None:
    """The newest routes; None when they are those of `version`. A gateway that names itself is heard."""
    now = context.now()
    if gateway is not None:
        with context.db.write() as tx:
            routing.seen(tx, gateway, version or 0, now)
    with context.db.read() as conn:
        newest = routing.newest(conn)
    if newest.number == version:
        return None
    return RouteTable.model_validate({**json.loads(newest.data), "version": newest.number, "made_at": newest.made_at})


def told(context: Context, signals: GatewaySignals) -> None:
    """A gateway says what it measured."""
    with context.db.write() as tx:
        routing.told(tx, signals, context.now())
        history.took(tx, signals, context.now())


def publish(context: Context) -> bool:
    """Publish routes if they changed; replicas that drain learn from which number on none leads to them.

    Returns whether there was anything to do.
    """
    with context.db.read() as conn:
        newest, text = routing.newest(conn), _text(conn)
        waiting = _unrouted(conn)
    if text == newest.data and not waiting:
        return False
    with context.db.write() as tx:
        newest, text = routing.newest(tx.conn), _text(tx.conn)
        if text != newest.data:
            newest = Published(newest.number + 1, context.now(), text)
            routing.publish(tx, newest)
            tx.hint(hints.ROUTES)
        _mark(tx, newest.number)
    return True


def _mark(tx: Transaction, number: int) -> None:
    for replica in _unrouted(tx.conn):
        table_of = stored.replicas
        of_it = (table_of.c.id == replica.id, table_of.c.routed.is_(None))
        tx.conn.execute(table_of.update().where(*of_it).values(routed=number, version=replica.version + 1))
    tx.hint(hints.EVENTS)


def _unrouted(conn: Connection) -> list[Replica]:
    rows = conn.execute(
        stored.replicas.select().where(
            stored.replicas.c.state == ReplicaState.DRAINING, stored.replicas.c.routed.is_(None)
        )
    )
    return [stored.replica_from(row) for row in rows]


def _text(conn: Connection) -> str:
    services = [_route(service, stored.replicas_of(conn, service.id)) for service in stored.alive(conn)]
    return routing.text_of(services, routing.keys(conn))


def _route(service: Service, replicas: Sequence[Replica]) -> dict[str, Any]:
    shown = [one for one in replicas if one.state in _SHOWN and one.attempt_id is not None]
    ready: dict[int, int] = {}
    for one in shown:
        if one.state is ReplicaState.READY:
            ready[one.number] = ready.get(one.number, 0) + 1
    serving, asks = service.newest.serving, service.newest.serving.requests
    route = ServiceRoute(
        name=service.name,
        project=service.project,
        models=list(serving.models),
        versions=_versions(service, ready),
        replicas=[_replica(one) for one in shown],
        keyless=serving.keyless,
        affinity=asks.affinity.value,
        priority=asks.priority.value,
        hedge=asks.hedge.value,
        limits=Limits(first_byte_s=asks.first_byte_s, idle_s=asks.idle_s, retries=asks.retries),
        regulation=Regulation(
            start_concurrency=asks.start_concurrency, concurrency_max=asks.concurrency_max,
            queue_max=asks.queue_max, queue_wait_s=asks.queue_wait_s,
        ),
    )  # fmt: skip
    return route.model_dump(mode="json")


def _versions(service: Service, ready: Mapping[int, int]) -> list[VersionRoute]:
    shares, shadow = sorted(counts.shares(service, ready).items()), counts.shadow(service)
    return [
        VersionRoute(name=str(number), weight=shadow, shadow=True)
        if shadow and not share and service.rollout is not None and number == service.rollout.to
        else VersionRoute(name=str(number), weight=round(share, 6))
        for number, share in shares
    ]


def _replica(of: Replica) -> ReplicaRoute:
    state: Literal["ready", "draining"] = "draining" if of.state is ReplicaState.DRAINING else "ready"
    return ReplicaRoute(
        id=str(of.attempt_id), url=of.url, version=str(of.number), zone=of.zone[:128], state=state,
        since=of.state_since,
    )  # fmt: skip
