"""What gateways say of services, put together: measures over all of them, and what has nothing in flight any more."""

from collections.abc import Iterable, Sequence

from godwit.control_plane.store.routing import Gateway
from godwit.domain.ids import AttemptId
from godwit.domain.services import Replica, ReplicaState
from godwit.domain.wire.routes import ReplicaSignals, ServiceSignals
from godwit.scheduler.serving.view import Traffic, VersionTraffic

FRESH_S = 30.0
"""Measures older than this say nothing of now; gateways send them every few seconds."""

SILENT_S = 90.0
"""A gateway that was not heard for so long is dead, or cut off for longer than a drain waits for it: its polls for
routes end after half a minute at most."""


def measured(gateways: Iterable[Gateway], project: str, name: str, now: float) -> Traffic | None:
    """What all gateways together measured of a service lately; None when none of them speaks of it."""
    said = [
        (gateway.signals.window_s, one)
        for gateway in gateways
        if gateway.signals is not None and gateway.told_at is not None and now - gateway.told_at <= FRESH_S
        for one in gateway.signals.services
        if (one.project, one.name) == (project, name)
    ]
    if not said:
        return None
    signals = [one for _, one in said]
    return Traffic(
        gateways=len(said),
        in_flight=sum(one.in_flight for one in signals),
        queued=sum(one.queued for one in signals),
        requests_per_s=sum(one.requests / window_s for window_s, one in said),
        shed_per_s=sum(one.shed / window_s for window_s, one in said),
        failed_per_s=sum(one.failed / window_s for window_s, one in said),
        tokens_per_s=sum((one.tokens_in + one.tokens_out) / window_s for window_s, one in said),
        # The worst of several tails: what is above it at one gateway is felt by whoever uses that one.
        queue_delay_p90_s=_most(one.queue_delay_p90_s for one in signals),
        latency_p50_s=_mean([(one.latency_p50_s, one.requests) for one in signals]),
        latency_p99_s=_most(one.latency_p99_s for one in signals),
        by_version=_by_version(signals),
    )


def _by_version(signals: Sequence[ServiceSignals]) -> dict[int, VersionTraffic]:
    of: dict[int, list[ReplicaSignals]] = {}
    for one in signals:
        for replica in one.replicas:
            if replica.version.isdecimal():
                of.setdefault(int(replica.version), []).append(replica)
    return {
        number: VersionTraffic(
            sum(one.answered for one in found),
            sum(one.failed for one in found),
            _mean([(one.latency_s, one.answered) for one in found]),
        )
        for number, found in of.items()
    }


def _most(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _mean(weighed: Sequence[tuple[float | None, int]]) -> float | None:
    known = [(value, weight) for value, weight in weighed if value is not None and weight > 0]
    total = sum(weight for _, weight in known)
    return sum(value * weight for value, weight in known) / total if total else None


def in_flight(gateways: Iterable[Gateway]) -> dict[AttemptId, int]:
    """How many requests each replica's process has, by what gateways said last, however long ago."""
    found: dict[AttemptId, int] = {}
    for gateway in gateways:
        for service in gateway.signals.services if gateway.signals is not None else ():
            for one in service.replicas:
                found[AttemptId(one.id)] = found.get(AttemptId(one.id), 0) + one.in_flight
    return found


def quiet(
    replicas: Iterable[Replica],
    gateways: Sequence[Gateway],
    serving_since: float,
    now: float,
    restored_at: float | None = None,
) -> frozenset[AttemptId]:
    """Attempts of draining replicas with nothing in flight: every living gateway said so, by routes without them.

    How long one was silent counts from when the control plane could hear it at the earliest. A restored database does
    not know the gateways that came after its backup: until each of them must have been heard, nothing is quiet.
    """
    if restored_at is not None and now - restored_at <= SILENT_S:
        return frozenset()
    living = [one for one in gateways if now - max(one.heard_at, serving_since) <= SILENT_S]
    return frozenset(
        replica.attempt_id
        for replica in replicas
        if replica.state is ReplicaState.DRAINING and replica.attempt_id is not None and replica.routed is not None
        if all(_has_left(gateway, replica.attempt_id, replica.routed) for gateway in living)
    )


def _has_left(gateway: Gateway, attempt_id: AttemptId, routed: int) -> bool:
    if gateway.signals is None or gateway.signals.version < routed:
        return False
    found = (one for service in gateway.signals.services for one in service.replicas if one.id == attempt_id)
    return all(one.in_flight == 0 for one in found)
