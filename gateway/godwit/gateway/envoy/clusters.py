"""A version of a service as a cluster of Envoy's: its replicas, how one is chosen, and what they get at most."""

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from godwit.domain.errors import InvalidRequest
from godwit.domain.wire.routes import ReplicaRoute, ServiceRoute, VersionRoute
from godwit.gateway.regulator import budget, replicas

Message = dict[str, Any]
"""A message of Envoy's API (v3), as its file form has it."""

KEPT_S = 4.0
"""As our own connections to replicas: uvicorn and Node.js close a silent one after 5 s."""

SLOW_START_S = 60.0
"""Envoy's slow start goes by time and not by what a replica shows: as long as a model takes to warm up, in general."""

RETRIES_AT_ONCE_MIN = 3
"""Envoy's own, of its retry budget: so many may be under way whatever the share is."""

AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
"""Where Debian, and so Envoy's own image, has the authorities that replicas with TLS are checked against."""

HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def typed(name: str, **fields: Any) -> Message:
    """A message of a type that is told by name, as Any."""
    return {"@type": f"type.googleapis.com/{name}"} | fields


def seconds(value: float) -> str:
    """A duration in Protobuf's JSON form."""
    return f"{value:.9f}".rstrip("0").rstrip(".") + "s"


def name_of(service: ServiceRoute, version: VersionRoute) -> str:
    """What the cluster of a version is called."""
    return f"{service.project}/{service.name}/{version.name}"


def cluster(service: ServiceRoute, version: VersionRoute) -> Message:
    """The cluster of a version."""
    listed = [replica for replica in service.replicas if replica.version == version.name]
    addresses = [urlsplit(replica.url) for replica in listed]
    found: Message = {
        "name": name_of(service, version),
        "type": "STATIC" if all(_is_ip(one.hostname or "") for one in addresses) else "STRICT_DNS",
        "connect_timeout": seconds(service.limits.connect_s),
        **_choosing(service),
        "circuit_breakers": {"thresholds": [_thresholds(service, len(listed))]},
        "outlier_detection": _outliers(len(listed)),
        "typed_extension_protocol_options": {HTTP_OPTIONS: _protocol()},
        "load_assignment": {"cluster_name": name_of(service, version), "endpoints": _endpoints(listed)},
    }
    schemes = {one.scheme for one in addresses}
    if len(schemes) > 1:
        raise InvalidRequest(f"{name_of(service, version)}: Envoy needs all replicas of a version with TLS, or none")
    if schemes == {"https"}:
        found["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": _tls()}
    return found


def _choosing(service: ServiceRoute) -> Message:
    """Power of two choices with a slow start; a ring where sessions stay at one replica."""
    if service.affinity == "session":
        return {"lb_policy": "RING_HASH"}
    slow = {"slow_start_window": seconds(SLOW_START_S), "min_weight_percent": {"value": 10.0}}
    return {"lb_policy": "LEAST_REQUEST", "least_request_lb_config": {"choice_count": 2, "slow_start_config": slow}}


def _thresholds(service: ServiceRoute, count: int) -> Message:
    """Envoy counts those at replicas and those that wait for a connection together, and has no other queue."""
    law = service.regulation
    most = law.concurrency_max * max(1, count)
    share = {"budget_percent": {"value": 100.0 * budget.SHARE}, "min_retry_concurrency": RETRIES_AT_ONCE_MIN}
    return {
        "priority": "DEFAULT",
        "max_connections": most,
        "max_requests": most,
        "max_pending_requests": law.queue_max,
        "retry_budget": share,
        "track_remaining": True,
    }


def _outliers(count: int) -> Message:
    """As our own: five bad answers in a row, out for half a second at first, and one replica always stays."""
    return {
        "consecutive_5xx": replicas.FAILURES_IN_A_ROW,
        "consecutive_gateway_failure": replicas.FAILURES_IN_A_ROW,
        "interval": seconds(replicas.EJECT_FIRST_S),
        "base_ejection_time": seconds(replicas.EJECT_FIRST_S),
        "max_ejection_time": seconds(replicas.EJECT_MAX_S),
        "max_ejection_percent": 100 * max(0, count - 1) // max(1, count),
    }


def _protocol() -> Message:
    return typed(
        HTTP_OPTIONS,
        common_http_protocol_options={"idle_timeout": seconds(KEPT_S)},
        explicit_http_config={"http_protocol_options": {}},
    )


def _endpoints(listed: Sequence[ReplicaRoute]) -> list[Message]:
    zones: dict[str, list[Message]] = {}
    for replica in listed:
        zones.setdefault(replica.zone, []).append(_endpoint(replica))
    return [
        {"lb_endpoints": endpoints} | ({"locality": {"zone": zone}} if zone else {})
        for zone, endpoints in sorted(zones.items())
    ]


def _endpoint(replica: ReplicaRoute) -> Message:
    address = urlsplit(replica.url)
    port = address.port or (443 if address.scheme == "https" else 80)
    at: Message = {"socket_address": {"address": address.hostname, "port_value": port}}
    state: Message = {"health_status": "DRAINING"} if replica.state == "draining" else {}
    return {"endpoint": {"address": at, "hostname": address.hostname}} | state


def _tls() -> Message:
    return typed(
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        common_tls_context={"validation_context": {"trusted_ca": {"filename": AUTHORITIES}}},
        auto_host_sni=True,
        auto_sni_san_validation=True,
    )


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
