"""Figures over time as they are kept and shown, and the devices that failed before."""

import math
from collections.abc import Iterable, Mapping, Sequence

from godwit.control_plane.context import Context
from godwit.control_plane.services import traffic
from godwit.control_plane.store import health_tables, queries, routing, schema, series, statements
from godwit.control_plane.store import services as stored
from godwit.control_plane.store.database import Transaction
from godwit.domain.jobs import Job
from godwit.domain.nodes import Health
from godwit.domain.offers import Offer
from godwit.domain.resources import GpuAsk
from godwit.domain.series import Series
from godwit.domain.services import ReplicaState
from godwit.domain.wire import history as wire
from godwit.domain.wire.routes import GatewaySignals
from sqlalchemy import select

PRICES_MAX = 2_000
"""Series of prices that one answer looks through: kinds of GPUs by places."""

_TRAFFIC = (
    "requests_per_s", "shed_per_s", "failed_per_s", "queued", "in_flight", "latency_p50_s", "latency_p99_s",
    "replicas", "ready",
)  # fmt: skip


def progressed(tx: Transaction, job: Job, epoch: int, step: int, metrics: Mapping[str, float], now: float) -> None:
    """A program said how far it is."""
    told = {"step": float(step), "epoch": float(epoch), **{f"m/{name}": value for name, value in metrics.items()}}
    series.note(tx, series.of_job(job.id), now, told, series.PROGRESS)


def of_job(context: Context, name_or_id: str) -> wire.PointsView:
    """How a job went so far. Raises `NotFound`."""
    with context.db.read() as conn:
        job = queries.job(conn, name_or_id)
        found = series.read(conn, series.of_job(job.id))
    metrics = {name[2:]: list(column) for name, column in found.fields.items() if name.startswith("m/")}
    steps, epochs = _whole(found, "step"), _whole(found, "epoch")
    at, last = list(found.at), job.progress
    if last is not None and (not at or last.at > at[-1]):
        # The newest is told at once, however far apart the points are that are kept.
        at, steps, epochs = [*at, last.at], [*steps, last.step], [*epochs, job.epoch]
        names = dict.fromkeys([*metrics, *last.metrics])
        metrics = {n: [*metrics.get(n, [None] * (len(at) - 1)), last.metrics.get(n)] for n in names}
    return wire.PointsView(at=at, step=steps, epoch=epochs, metrics=metrics)


def _whole(of: Series, name: str) -> list[int]:
    return [int(value or 0) for value in of.fields.get(name, ())]


def priced(tx: Transaction, provider: str, offers: Iterable[Offer], now: float) -> None:
    """A provider's offers were read: the cheapest of each kind of GPU in each region counts."""
    cheapest: dict[str, float] = {}
    for offer in offers:
        if offer.gpu_model is not None:
            key = series.of_price(provider, offer.region, offer.gpu_model, spot=offer.spot)
            cheapest[key] = min(offer.price_usd_per_gpu_hour, cheapest.get(key, math.inf))
    for key, price in cheapest.items():
        series.note(tx, key, now, {"usd": price}, series.PRICES)


def prices(context: Context, ask: GpuAsk | None, since: float) -> list[wire.PriceSeries]:
    """What GPUs cost since an instant, by place; `ask` names kinds of GPUs."""
    with context.db.read() as conn:
        found = series.under(conn, "price/", PRICES_MAX)
    shown = []
    for key, one in found:
        _, provider, region, market, model = key.split("/", 4)
        points = [(at, usd) for at, usd in zip(one.at, one.fields["usd"], strict=True) if at >= since]
        if points and (ask is None or ask.accepts(model, math.inf)):
            shown.append(
                wire.PriceSeries(
                    provider=provider, region=region, gpu_model=model, spot=market == "spot",
                    at=[at for at, _ in points], usd_per_gpu_hour=[usd or 0.0 for _, usd in points],
                )
            )  # fmt: skip
    return shown


def took(tx: Transaction, signals: GatewaySignals, now: float) -> None:
    """A gateway said what services take: what all gateways measured of these is kept."""
    gateways: Sequence[routing.Gateway] | None = None
    for told in signals.services:
        service = stored.find(tx.conn, told.name, told.project)
        if service is None or not series.takes(tx.conn, series.of_service(service.id), now):
            continue
        gateways = routing.all_gateways(tx.conn, now) if gateways is None else gateways
        measured = traffic.measured(gateways, service.project, service.name, now)
        if measured is None:
            continue
        ready = sum(one.state is ReplicaState.READY for one in stored.replicas_of(tx.conn, service.id))
        found = {name: getattr(measured, name) for name in _TRAFFIC[:7]}
        found |= {"replicas": service.replicas, "ready": ready}
        values = {name: float(value) for name, value in found.items() if value is not None}
        series.note(tx, series.of_service(service.id), now, values, series.TRAFFIC)


def of_service(context: Context, name_or_id: str) -> wire.TrafficHistory:
    """What a service took in the last hours. Raises `NotFound`."""
    with context.db.read() as conn:
        found = series.read(conn, series.of_service(stored.get(conn, name_or_id).id))
    nothing = (None,) * len(found.at)
    return wire.TrafficHistory(at=list(found.at), **{n: list(found.fields.get(n, nothing)) for n in _TRAFFIC})


def devices(
    context: Context, limit: int, offset: int, healths: Sequence[Health], faults_min: int
) -> list[wire.KnownDevice]:
    """Devices that are remembered, those with the most incidents first."""
    table, nodes = health_tables.health_records, schema.nodes
    query = select(table).where(table.c.faults >= faults_min)
    if healths:
        query = query.where(table.c.state.in_(healths))
    query = query.order_by(table.c.faults.desc(), table.c.state_since.desc(), table.c.id).limit(limit).offset(offset)
    with context.db.read() as conn:
        rows = conn.execute(query).all()
        here = select(nodes.c.id).where(nodes.c.id.in_({row.node_id for row in rows}))
        living = set(conn.execute(here.where(nodes.c.state.not_in(statements.FINAL_NODES))).scalars())
    return [
        wire.KnownDevice(
            id=row.id, health=Health(row.state), health_since=row.state_since, since=row.since, faults=row.faults,
            reason=row.reason, node_id=row.node_id, provider=row.provider, is_here=row.node_id in living,
        )
        for row in rows
    ]  # fmt: skip
