"""Services as routes of Envoy's: by host, by path, and by the model that a body names."""

from collections.abc import Iterator, Sequence
from typing import Any

from godwit.domain.wire.routes import ServiceRoute, VersionRoute
from godwit.gateway import openai
from godwit.gateway.envoy.clusters import Message, name_of, seconds, typed
from godwit.gateway.finding import SERVICES, SESSION
from godwit.gateway.http import IDEMPOTENT

MODELS = "godwit.models"
"""The namespace of the metadata in which the model that a body names is kept."""

UNSENT = "connect-failure,refused-stream,reset-before-request,retriable-status-codes"
"""Where nothing was sent, or the replica itself refuses: what may be sent again whatever it is."""

REFUSALS = [429, 503]
OTHERS_TRIED = 3


def virtual_hosts(services: Sequence[ServiceRoute]) -> list[Message]:
    """One for the host names of each service that has some, and one for all others."""
    found = []
    for service in services:
        if service.hosts:
            domains = sorted({name for host in service.hosts for name in (host, f"{host}:*")})
            found.append(
                {
                    "name": f"{service.project}/{service.name}",
                    "domains": domains,
                    "routes": list(_routes(service, {"prefix": "/"})),
                }
            )
    rest = [route for service in services for route in _by_path(service)]
    rest += [route for service in services for route in _by_model(service)]
    return [*found, {"name": "others", "domains": ["*"], "routes": rest}]


def _by_path(service: ServiceRoute) -> Iterator[Message]:
    path = f"{SERVICES}{service.project}/{service.name}"
    yield from _routes(service, {"prefix": f"{path}/"}, prefix_rewrite="/")
    yield from _routes(service, {"path": path}, prefix_rewrite="/")


def _by_model(service: ServiceRoute) -> Iterator[Message]:
    """One per model and path: the filter json_to_metadata has read the body by then."""
    for model in service.models:
        is_it = {"filter": MODELS, "path": [{"key": "model"}], "value": {"string_match": {"exact": model}}}
        for path in sorted(openai.PATHS):
            yield from _routes(service, {"path": path, "dynamic_metadata": [is_it]})


def _routes(service: ServiceRoute, match: Message, **action: Any) -> Iterator[Message]:
    """Two of them: what may be sent twice is also sent again when its replica broke off."""
    methods = "|".join(sorted(IDEMPOTENT))
    safe = {"name": ":method", "string_match": {"safe_regex": {"regex": f"^({methods})$"}}}
    limiting = {
        f"godwit.limit/{service.project}/{service.name}": typed("envoy.config.route.v3.FilterConfig", config={})
    }
    for headers, retry_on in (([safe], f"{UNSENT},reset"), ([], UNSENT)):
        matched = match | ({"headers": headers} if headers else {})
        route = {"match": matched, "route": _action(service, retry_on) | action}
        yield route | {"typed_per_filter_config": limiting}


def _action(service: ServiceRoute, retry_on: str) -> Message:
    limits = service.limits
    # Envoy has one bound for silence before the head of an answer and within it.
    silence = seconds(max(limits.first_byte_s, limits.idle_s))
    found: Message = {
        **_destination(service),
        "timeout": "0s",
        "idle_timeout": silence,
        "retry_policy": {
            "retry_on": retry_on,
            "retriable_status_codes": REFUSALS,
            "num_retries": limits.retries,
            "per_try_idle_timeout": silence,
            "retry_host_predicate": [
                {
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": typed("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"),
                }
            ],
            "host_selection_retry_max_attempts": OTHERS_TRIED,
        },
    }
    if shadows := [_mirror(service, version) for version in service.versions if version.shadow and version.weight]:
        found["request_mirror_policies"] = shadows
    if service.affinity == "session":
        found["hash_policy"] = [{"header": {"header_name": SESSION.decode()}}]
    return found


def _destination(service: ServiceRoute) -> Message:
    """Versions by weight, in parts of a million; a service whose versions all have none still has a cluster."""
    live = [version for version in service.versions if not version.shadow]
    total = sum(version.weight for version in live)
    weighted = [(version, round(1e6 * version.weight / total)) for version in live if version.weight] if total else []
    if len(weighted) <= 1:
        one = weighted[0][0] if weighted else live[0]
        return {"cluster": name_of(service, one)}
    clusters = [{"name": name_of(service, version), "weight": weight} for version, weight in weighted]
    return {"weighted_clusters": {"clusters": clusters}}


def _mirror(service: ServiceRoute, version: VersionRoute) -> Message:
    part = {"numerator": round(1e6 * min(1.0, version.weight)), "denominator": "MILLION"}
    return {"cluster": name_of(service, version), "runtime_fraction": {"default_value": part}}
