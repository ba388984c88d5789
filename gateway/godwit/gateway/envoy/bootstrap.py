"""A whole Envoy: where it listens, its filters, and the clusters and routes of the services that it may serve."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from godwit.domain.wire.routes import RouteTable, ServiceRoute
from godwit.gateway.envoy.clusters import Message, cluster, seconds, typed
from godwit.gateway.envoy.routing import MODELS, virtual_hosts
from godwit.gateway.settings import Settings

FILTERS = "envoy.extensions.filters.http"

LIMITED_MAX = 100
"""Services that get a limit that adapts: each is a filter in the chain of every connection."""

PROBE_S = 60.0
"""How often Envoy's adaptive concurrency measures the unloaded latency anew; its own documentation's example."""


@dataclass(frozen=True)
class Exported:
    """A configuration as text, and the services that are not in it: those that need an API key, by their names."""

    text: str
    left_out: tuple[str, ...]


def export(table: RouteTable, settings: Settings, admin_port: int, *, keyed: bool) -> Exported:
    """The bootstrap of an Envoy that serves by this table; `keyed`: also the services that need an API key.

    godwit knows API keys as SHA-256 only, and Envoy cannot check those: something in front of it must.
    """
    able = [one for one in table.services if any(not version.shadow for version in one.versions)]
    services = [one for one in able if one.keyless or keyed]
    left_out = tuple(f"{one.project}/{one.name}" for one in able if not (one.keyless or keyed))
    text = yaml.dump(bootstrap(services, settings, admin_port), Dumper=_InFull, sort_keys=False, width=120)
    head = [f"# Routes of version {table.version}, for Envoy 1.40; written by `godwit gateway export`."]
    if left_out:
        head.append(f"# Left out, since they need an API key: {', '.join(left_out)}")
    return Exported("\n".join([*head, text]), left_out)


class _InFull(yaml.SafeDumper):
    """Writes what occurs twice twice: people read it."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the base class gives it
        """Never refer to what was written before."""
        return True


def bootstrap(services: Sequence[ServiceRoute], settings: Settings, admin_port: int) -> Message:
    """The same as a message (envoy.config.bootstrap.v3.Bootstrap)."""
    return {
        "admin": {"address": _address("127.0.0.1", admin_port)},
        "overload_manager": _overload(settings.connections_max),
        "static_resources": {
            "listeners": [_listener(services, settings)],
            "clusters": [cluster(service, version) for service in services for version in service.versions],
        },
    }


def _address(host: str, port: int) -> Message:
    return {"socket_address": {"address": host, "port_value": port}}


def _overload(connections_max: int) -> Message:
    monitor = "envoy.resource_monitors.global_downstream_max_connections"
    kind = "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
    bound = typed(kind, max_active_downstream_connections=connections_max)
    return {"resource_monitors": [{"name": monitor, "typed_config": bound}]}


def _listener(services: Sequence[ServiceRoute], settings: Settings) -> Message:
    manager = "envoy.filters.network.http_connection_manager"
    chain: Message = {"filters": [{"name": manager, "typed_config": _connections(services, settings)}]}
    if settings.tls_certificate is not None and settings.tls_key is not None:
        files = {
            "certificate_chain": {"filename": str(settings.tls_certificate.resolve())},
            "private_key": {"filename": str(settings.tls_key.resolve())},
        }
        context = typed(
            "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            common_tls_context={"tls_certificates": [files], "alpn_protocols": ["h2", "http/1.1"]},
        )
        chain["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": context}
    return {"name": "godwit", "address": _address(settings.host, settings.port), "filter_chains": [chain]}


def _connections(services: Sequence[ServiceRoute], settings: Settings) -> Message:
    silence_s = max((max(one.limits.idle_s, one.limits.first_byte_s) for one in services), default=60.0)
    more: dict[str, Any] = {"access_log": [_access_log()]} if settings.access_log else {}
    return typed(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="godwit",
        route_config={"name": "godwit", "virtual_hosts": virtual_hosts(services)},
        http_filters=_filters(services),
        upgrade_configs=[{"upgrade_type": "websocket"}],
        request_headers_timeout=seconds(settings.header_s),
        max_request_headers_kb=settings.header_bytes_max // 1024,
        stream_idle_timeout=seconds(silence_s),
        drain_timeout=seconds(settings.drain_s),
        common_http_protocol_options={
            "idle_timeout": seconds(settings.keep_alive_s),
            "headers_with_underscores_action": "REJECT_REQUEST",
        },
        preserve_external_request_id=True,
        always_set_request_id_in_response=True,
        normalize_path=False,
        **more,
    )


def _access_log() -> Message:
    kind = "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"
    return {"name": "envoy.access_loggers.stdout", "typed_config": typed(kind)}


def _filters(services: Sequence[ServiceRoute]) -> list[Message]:
    found = [_models()] if any(service.models for service in services) else []
    found += [_limit(service) for service in services[:LIMITED_MAX]]
    router = typed(f"{FILTERS}.router.v3.Router")
    return [*found, {"name": "envoy.filters.http.router", "typed_config": router}]


def _models() -> Message:
    """Reads the model out of a body, by which routes are found again."""
    present = {"metadata_namespace": MODELS, "key": "model"}
    rule = {"selectors": [{"key": "model"}], "on_present": present}
    reading = typed(f"{FILTERS}.json_to_metadata.v3.JsonToMetadata", request_rules={"rules": [rule]})
    return {"name": "envoy.filters.http.json_to_metadata", "typed_config": reading}


def _limit(service: ServiceRoute) -> Message:
    """Envoy's own law (a gradient) in place of the earned limits; each service's is off but for its own routes."""
    controller = {
        "sample_aggregate_percentile": {"value": 50},
        "concurrency_limit_params": {
            "concurrency_update_interval": "0.1s",
            "max_concurrency_limit": service.regulation.concurrency_max * max(1, len(service.replicas)),
        },
        "min_rtt_calc_params": {
            "interval": seconds(PROBE_S),
            "request_count": 50,
            "min_concurrency": service.regulation.start_concurrency,
            "jitter": {"value": 10},
        },
    }
    law = typed(
        f"{FILTERS}.adaptive_concurrency.v3.AdaptiveConcurrency",
        gradient_controller_config=controller,
        enabled={"default_value": True, "runtime_key": "adaptive_concurrency.enabled"},
        concurrency_limit_exceeded_status={"code": "ServiceUnavailable"},
    )
    name = f"godwit.limit/{service.project}/{service.name}"
    return {"name": name, "typed_config": law, "disabled": True}
