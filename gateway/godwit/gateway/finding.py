"""From a request to its service: by host, by path, or by the model that it names; and whether its key opens it."""

import json
from dataclasses import dataclass

from godwit.domain.wire.routes import KeyRoute, ServiceRoute
from godwit.gateway import openai
from godwit.gateway.http import Headers, Scope, first
from godwit.gateway.table import Index, opens

SERVICES = "/services/"
SESSION = b"x-session-id"


@dataclass(frozen=True)
class Found:
    """Where a request goes: `target` is its path at the replica. `model` is empty outside of the OpenAI routes."""

    route: ServiceRoute
    target: str
    model: str = ""
    affinity: str = ""


class Denied(Exception):
    """The request goes nowhere; `code` is for programs."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def key(index: Index, headers: Headers, now: float) -> KeyRoute | None:
    """The API key of a request; None when it brings none that is known: an open service may take it for its own."""
    text = first(headers, b"x-api-key")
    if not text:
        scheme, _, rest = first(headers, b"authorization").partition(" ")
        text = rest.strip() if scheme.lower() == "bearer" else ""
    return index.key(text, now) if text else None


def by_host(index: Index, headers: Headers) -> ServiceRoute | None:
    """The service that has the host name of this request for its own."""
    if not index.hosts:
        return None
    return index.hosts.get(first(headers, b"host").rpartition(":")[0].lower()) or index.hosts.get(
        first(headers, b"host").lower()
    )


def service(index: Index, scope: Scope, headers: Headers, key: KeyRoute | None, ask: openai.Ask | bytes) -> Found:
    """Where a request goes; raises `Denied`. What a key does not open is not there: names are not told to strangers."""
    raw: str = scope["raw_path"].decode("latin-1")
    route, target, model, prefix = by_host(index, headers), raw, "", ""
    if route is None and isinstance(ask, openai.Ask):
        route, model, prefix = index.model(ask.model, key), ask.model, ask.prefix
    elif route is None and raw.startswith(SERVICES):
        project, _, rest = raw.removeprefix(SERVICES).partition("/")
        name, slash, path = rest.partition("/")
        route, target = index.services.get((project, name)), slash + path or "/"
    if route is None or not opens(key, route):
        raise _denied(index, key, model)
    return Found(route, target, model, _affinity(route, headers, prefix))


def _denied(index: Index, key: KeyRoute | None, model: str) -> Denied:
    if index.table.version == 0:
        return Denied(503, "no-routes", "this gateway has started and heard of no routes yet: try again")
    if key is None:
        return Denied(401, "invalid-api-key", "this needs an API key: send it as Authorization: Bearer KEY")
    what = f"no model is called {model!r}" if model else "no service is there"
    return Denied(404, "not-found", f"{what} that this API key opens; GET /v1/models lists the models")


def _affinity(route: ServiceRoute, headers: Headers, prefix: str) -> str:
    if route.affinity == "session":
        return first(headers, SESSION)[:256]
    return prefix if route.affinity == "prefix" else ""


def models(index: Index, key: KeyRoute | None) -> bytes:
    """The answer to GET /v1/models."""
    items = [
        {"id": name, "object": "model", "created": int(index.table.made_at), "owned_by": route.project}
        for name, route in index.model_names(key)
    ]
    return json.dumps({"object": "list", "data": items}).encode()
