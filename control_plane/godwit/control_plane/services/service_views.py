"""Services as the API shows them."""

from collections.abc import Mapping, Sequence

from godwit.control_plane.services import traffic, views
from godwit.control_plane.store import queries, routing
from godwit.control_plane.store import services as stored
from godwit.domain.errors import NotFound
from godwit.domain.ids import AttemptId
from godwit.domain.services import Replica, ReplicaState, Service, ServiceState, Version
from godwit.domain.serving import Strategy
from godwit.domain.wire import services as wire
from godwit.scheduler.serving import counts, restarts
from godwit.scheduler.serving.view import Traffic
from sqlalchemy import Connection


def view(conn: Connection, of: Service) -> wire.ServiceView:
    """A service in short."""
    return _view(of, stored.replicas_of(conn, of.id), stored.gone_of(conn, of.id))


def _view(of: Service, replicas: Sequence[Replica], gone: Sequence[Replica]) -> wire.ServiceView:
    serving = of.newest.serving
    in_state = {state: sum(one.state is state for one in replicas) for state in ReplicaState}
    return wire.ServiceView(
        id=of.id, name=of.name, project=of.project, state=of.state.value, created_at=of.created_at,
        version=of.newest.number, replicas=of.replicas, replicas_min=serving.replicas_min,
        replicas_max=serving.replicas_max, ready=in_state[ReplicaState.READY],
        starting=in_state[ReplicaState.STARTING], draining=in_state[ReplicaState.DRAINING],
        rollout=_rollout(of, _ready(replicas)), why=_why(of, replicas, gone),
    )  # fmt: skip


def _why(of: Service, replicas: Sequence[Replica], gone: Sequence[Replica]) -> str:
    ready = sum(one.state is ReplicaState.READY for one in replicas)
    if of.state is ServiceState.DELETED or ready >= of.replicas:
        return ""
    failed = restarts.failures(gone, of.newest.number)
    if failed:
        last = next(one for one in gone if one.number == of.newest.number)
        pause_s = restarts.pause_s(failed)
        return f"{failed} in a row ended before they were ready ({last.detail}); the next comes {pause_s:g} s later"
    waiting = next((one for one in replicas if one.state is ReplicaState.STARTING and one.detail), None)
    return "" if waiting is None else f"{waiting.name}: {waiting.detail}"


def detail(conn: Connection, of: Service, now: float) -> wire.ServiceDetail:
    """A service with all that belongs to it."""
    replicas, gateways = stored.replicas_of(conn, of.id), routing.all_gateways(conn, now)
    measured = traffic.measured(gateways, of.project, of.name, now)
    ready = _ready(replicas)
    shares = counts.shares(of, ready)
    flying = traffic.in_flight(gateways)
    short = view(conn, of)
    return wire.ServiceDetail(
        **{name: getattr(short, name) for name in wire.ServiceView.model_fields},
        spec=views.spec(of.newest.spec),
        versions=[_version(one, shares.get(one.number, 0.0), replicas) for one in of.versions],
        replica_list=[_replica(conn, one, flying) for one in replicas],
        traffic=None if measured is None else _traffic(measured),
    )


def _ready(replicas: Sequence[Replica]) -> dict[int, int]:
    found: dict[int, int] = {}
    for one in replicas:
        if one.state is ReplicaState.READY:
            found[one.number] = found.get(one.number, 0) + 1
    return found


def _version(of: Version, share: float, replicas: Sequence[Replica]) -> wire.VersionView:
    its = [one for one in replicas if one.number == of.number]
    ready = sum(one.state is ReplicaState.READY for one in its)
    return wire.VersionView(
        version=of.number, share=round(share, 4), created_at=of.created_at, replicas=len(its), ready=ready
    )


def _rollout(of: Service, ready: Mapping[int, int]) -> wire.RolloutView | None:
    if of.rollout is None:
        return None
    return wire.RolloutView(
        version=of.rollout.to, before=of.rollout.before, strategy=of.newest.serving.change.strategy.value,
        began_at=of.rollout.began_at, step=of.rollout.step,
        share=round(counts.shares(of, ready).get(of.rollout.to, 0.0), 4), backwards=of.rollout.backwards,
        steps=len(of.newest.serving.change.steps) if of.newest.serving.change.strategy is Strategy.CANARY else 0,
        paused=of.rollout.paused, promoted=of.rollout.promoted,
    )  # fmt: skip


def _replica(conn: Connection, of: Replica, flying: Mapping[AttemptId, int]) -> wire.ReplicaView:
    try:
        job = queries.job(conn, of.job_id)
        attempts = queries.attempts_of(conn, of.job_id)
        spot = queries.node(conn, attempts[-1].head.node_id).offer.spot if attempts else None
        state = str(job.state)
    except NotFound:
        state, spot = "gone", None
    return wire.ReplicaView(
        job_id=of.id, name=of.name, version=of.number, state=of.state.value, state_since=of.state_since,
        job_state=state, created_at=of.created_at, url=of.url, zone=of.zone, spot=spot,
        in_flight=None if of.attempt_id is None else flying.get(of.attempt_id), detail=of.detail,
    )  # fmt: skip


def _traffic(of: Traffic) -> wire.TrafficView:
    return wire.TrafficView(
        gateways=of.gateways, in_flight=of.in_flight, queued=of.queued, requests_per_s=of.requests_per_s,
        shed_per_s=of.shed_per_s, failed_per_s=of.failed_per_s, tokens_per_s=of.tokens_per_s,
        queue_delay_p90_s=of.queue_delay_p90_s, latency_p50_s=of.latency_p50_s, latency_p99_s=of.latency_p99_s,
    )  # fmt: skip
