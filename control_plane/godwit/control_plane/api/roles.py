"""Which role each route needs, and what of it a token that is bound to a project may touch: one line for each route.

Requests are checked by this table, docs/security.md is printed from it, and a test compares it with the API's own
description. A route that is not in it is an administrator's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from godwit.domain.access import Role, Scope


class Door(StrEnum):
    """Routes that ask for no role: `anybody` may call, or a `machine` with its join token or its node's credential."""

    ANYBODY = "anybody"
    MACHINE = "machine"


class Reach(StrEnum):
    """What a token that is bound to a project may do with a route.

    `shared`: all that its role may; nothing of a project is in it. `listed`: it gets only what belongs to its project.
    `spec`: what it submits belongs to its project. `job`, `array`, `service`, `project`: only to those of its project.
    `asked_job`: if it asks about one job of its project. `fleet`: nothing, since it is about everybody.
    """

    SHARED = "shared"
    LISTED = "listed"
    SPEC = "spec"
    JOB = "job"
    ASKED_JOB = "asked_job"
    ARRAY = "array"
    SERVICE = "service"
    PROJECT = "project"
    FLEET = "fleet"


@dataclass(frozen=True)
class Rule:
    """The least role, the reach, and whether a request that is not a mere reading by its method changes anything.

    What changes nothing (a preview) and what comes every second (signals of gateways) is not in the audit log.
    """

    least: Role | Door
    reach: Reach = Reach.FLEET
    audited: bool = True


_V, _M, _O, _A = Role.VIEWER, Role.MEMBER, Role.OPERATOR, Role.ADMIN
_R = Reach
_MACHINE = Rule(Door.MACHINE, Reach.SHARED, audited=False)

RULES: Mapping[str, Rule] = {
    "GET /v1/version": Rule(Door.ANYBODY, _R.SHARED),
    "GET /metrics": Rule(_V),
    # Who calls.
    "POST /v1/sessions": Rule(Door.ANYBODY, _R.SHARED),
    "GET /v1/sessions/current": Rule(_V, _R.SHARED),
    "DELETE /v1/sessions/current": Rule(_V, _R.SHARED),
    "POST /v1/sessions/codes": Rule(_V, _R.SHARED),
    # An identity provider's answer comes by way of the browser; it, and a command's own secret, are what they check.
    "GET /v1/login": Rule(Door.ANYBODY, _R.SHARED),
    "GET /v1/login/start": Rule(Door.ANYBODY, _R.SHARED),
    "GET /v1/login/callback": Rule(Door.ANYBODY, _R.SHARED),
    "POST /v1/login/codes": Rule(Door.ANYBODY, _R.SHARED),
    "POST /v1/login/tokens": Rule(Door.ANYBODY, _R.SHARED),
    "GET /v1/login/codes/{code}": Rule(_V, _R.SHARED),
    "POST /v1/login/codes/{code}/approve": Rule(_V, _R.SHARED),
    "POST /v1/login/codes/{code}/deny": Rule(_V, _R.SHARED),
    "GET /v1/users": Rule(_A),
    "POST /v1/users/{user}/disable": Rule(_A),
    "POST /v1/users/{user}/enable": Rule(_A),
    "GET /v1/tokens": Rule(_A),
    "POST /v1/tokens": Rule(_A),
    "POST /v1/tokens/{token}/rotate": Rule(_A),
    "DELETE /v1/tokens/{token}": Rule(_A),
    "GET /v1/audit": Rule(_A),
    "GET /v1/audit/check": Rule(_A),
    # Jobs.
    "POST /v1/plans": Rule(_M, _R.SPEC, audited=False),
    "POST /v1/jobs": Rule(_M, _R.SPEC),
    "GET /v1/jobs": Rule(_V, _R.LISTED),
    "GET /v1/jobs/{job}": Rule(_V, _R.JOB),
    "POST /v1/jobs/{job}/cancel": Rule(_M, _R.JOB),
    "POST /v1/jobs/{job}/cancel/preview": Rule(_M, _R.JOB, audited=False),
    "PUT /v1/jobs/{job}/size": Rule(_M, _R.JOB),
    "POST /v1/jobs/{job}/size/preview": Rule(_M, _R.JOB, audited=False),
    "GET /v1/jobs/{job}/explain": Rule(_V, _R.JOB),
    "GET /v1/jobs/{job}/ledger": Rule(_V, _R.JOB),
    "GET /v1/jobs/{job}/progress": Rule(_V, _R.JOB),
    "GET /v1/jobs/{job}/logs": Rule(_V, _R.JOB),
    "GET /v1/jobs/{job}/logs/stream": Rule(_V, _R.JOB),
    "POST /v1/jobs/{job}/terminals": Rule(_M, _R.JOB),
    "GET /v1/jobs/{job}/migrations": Rule(_V, _R.JOB),
    "POST /v1/jobs/{job}/migrations": Rule(_M, _R.JOB),
    "POST /v1/jobs/{job}/migrations/plan": Rule(_M, _R.JOB, audited=False),
    "POST /v1/jobs/{job}/migrations/preview": Rule(_M, _R.JOB, audited=False),
    "POST /v1/jobs/{job}/migrations/cancel": Rule(_M, _R.JOB),
    "GET /v1/arrays": Rule(_V, _R.LISTED),
    "GET /v1/arrays/{array}": Rule(_V, _R.ARRAY),
    "POST /v1/arrays/{array}/cancel": Rule(_M, _R.ARRAY),
    "POST /v1/arrays/{array}/cancel/preview": Rule(_M, _R.ARRAY, audited=False),
    "GET /v1/arrays/{array}/explain": Rule(_V, _R.ARRAY),
    "HEAD /v1/archives/{digest}": Rule(_M, _R.SHARED),
    "PUT /v1/archives/{digest}": Rule(_M, _R.SHARED),
    # Services.
    "GET /v1/services": Rule(_V, _R.LISTED),
    "POST /v1/services": Rule(_M, _R.SPEC),
    "GET /v1/services/{service}": Rule(_V, _R.SERVICE),
    "GET /v1/services/{service}/traffic": Rule(_V, _R.SERVICE),
    "PUT /v1/services/{service}/scale": Rule(_M, _R.SERVICE),
    "POST /v1/services/{service}/scale/preview": Rule(_M, _R.SERVICE, audited=False),
    "POST /v1/services/{service}/rollback": Rule(_M, _R.SERVICE),
    "POST /v1/services/{service}/rollout": Rule(_M, _R.SERVICE),
    "POST /v1/services/{service}/rollout/preview": Rule(_M, _R.SERVICE, audited=False),
    "POST /v1/services/{service}/move": Rule(_M, _R.SERVICE),
    "POST /v1/services/{service}/move/preview": Rule(_M, _R.SERVICE, audited=False),
    "DELETE /v1/services/{service}": Rule(_M, _R.SERVICE),
    "POST /v1/services/{service}/delete/preview": Rule(_M, _R.SERVICE, audited=False),
    "GET /v1/routes": Rule(_O),
    "POST /v1/routes/signals": Rule(_O, audited=False),
    "GET /v1/keys": Rule(_O),
    "POST /v1/keys": Rule(_O),
    "DELETE /v1/keys/{key}": Rule(_O),
    # The fleet.
    "GET /v1/fleet": Rule(_V, _R.LISTED),
    "GET /v1/overview": Rule(_V, _R.LISTED),
    "GET /v1/queue": Rule(_V, _R.LISTED),
    "GET /v1/changes/stream": Rule(_V, _R.LISTED),
    "GET /v1/nodes": Rule(_V),
    "GET /v1/nodes/{node}": Rule(_V),
    "POST /v1/nodes/{node}/{verb}": Rule(_O),
    "POST /v1/nodes/{node}/{verb}/preview": Rule(_O, audited=False),
    "GET /v1/offers": Rule(_V, _R.SHARED),
    "GET /v1/prices": Rule(_V, _R.SHARED),
    "GET /v1/devices": Rule(_V),
    "GET /v1/events": Rule(_V, _R.ASKED_JOB),
    "GET /v1/events/stream": Rule(_V, _R.ASKED_JOB),
    "POST /v1/drills": Rule(_O),
    "GET /v1/incidents": Rule(_V),
    "GET /v1/incidents/{incident}": Rule(_V),
    "GET /v1/incidents/{incident}/evidence": Rule(_V),
    "POST /v1/incidents/{incident}/close": Rule(_O),
    "POST /v1/incidents/{incident}/close/preview": Rule(_O, audited=False),
    "POST /v1/incidents/{incident}/retest": Rule(_O),
    "GET /v1/notifications": Rule(_V),
    "POST /v1/notifications/{target}/test": Rule(_O),
    "POST /v1/notifications/{target}/resend": Rule(_O),
    "GET /v1/breaker": Rule(_V),
    "POST /v1/breaker/reset": Rule(_O),
    # Projects and accounts at clouds.
    # Money: a token that is bound to a project sees its own.
    "GET /v1/costs": Rule(_V, _R.LISTED),
    "GET /v1/budgets": Rule(_V, _R.LISTED),
    "PUT /v1/projects/{project}/budget": Rule(_A),
    "DELETE /v1/projects/{project}/budget": Rule(_A),
    "GET /v1/projects": Rule(_V),
    "GET /v1/projects/{project}": Rule(_V, _R.PROJECT),
    "PUT /v1/projects/{project}": Rule(_A),
    "DELETE /v1/projects/{project}": Rule(_A),
    "GET /v1/projects/{project}/secrets": Rule(_M, _R.PROJECT),
    "POST /v1/projects/{project}/secrets/{secret}/versions": Rule(_M, _R.PROJECT),
    "GET /v1/projects/{project}/secrets/{secret}/versions": Rule(_M, _R.PROJECT),
    "DELETE /v1/projects/{project}/secrets/{secret}/versions/{version}": Rule(_M, _R.PROJECT),
    "DELETE /v1/projects/{project}/secrets/{secret}": Rule(_M, _R.PROJECT),
    "GET /v1/provider-kinds": Rule(_V, _R.SHARED),
    "GET /v1/providers": Rule(_V, _R.SHARED),
    "GET /v1/providers/{provider}": Rule(_V, _R.SHARED),
    "POST /v1/providers": Rule(_A),
    "POST /v1/providers/{provider}/check": Rule(_O, audited=False),
    "DELETE /v1/providers/{provider}": Rule(_A),
    "GET /v1/authorities": Rule(_O),
    "POST /v1/authorities": Rule(_A),
    # Agents: their own door, in `api/agents`.
    "GET /v1/agent/authorities": Rule(Door.ANYBODY, _R.SHARED),
    "POST /v1/agent/certificate": _MACHINE,
    "POST /v1/agent/join": _MACHINE,
    "POST /v1/agent/startup-failure": _MACHINE,
    "POST /v1/agent/heartbeat": _MACHINE,
    "POST /v1/agent/commands": _MACHINE,
    "POST /v1/agent/logs": _MACHINE,
    "POST /v1/agent/secrets": _MACHINE,
    "GET /v1/agent/archives/{digest}": _MACHINE,
}

SCOPES: Mapping[Scope, tuple[str, ...]] = {
    Scope.JOBS: ("plans", "jobs", "arrays", "archives"),
    Scope.SERVICES: ("services",),
    Scope.GATEWAY: ("routes", "keys"),
    Scope.FLEET: (
        "fleet", "overview", "queue", "changes", "nodes", "offers", "prices", "devices", "events", "drills",
        "incidents", "notifications", "breaker",
    ),
    Scope.COSTS: ("costs", "budgets"),
    Scope.PROJECTS: ("projects",),
    Scope.PROVIDERS: ("providers", "provider-kinds"),
    Scope.ACCESS: ("tokens", "users", "audit", "authorities"),
    Scope.METRICS: ("metrics",),
}  # fmt: skip
"""The first words of paths that a token with this scope reaches; what is in none, only a token without scopes does."""

UNSCOPED = ("version", "sessions", "login", "agent")
"""Of the caller itself, or with a door of its own: no scope is needed."""

UNKNOWN = Rule(Role.ADMIN)
"""What holds for a route that nobody put into the table."""


def rule_of(method: str, path: str) -> Rule:
    """The rule of a route, by its method and its path as the description has it."""
    return RULES.get(f"{method} {path}", UNKNOWN)


def within(scopes: Sequence[Scope], path: str) -> bool:
    """Whether a token with these scopes reaches a route, by its path as the description has it; without any it does."""
    if not scopes:
        return True
    word = first_word(path)
    return word in UNSCOPED or any(word in SCOPES[scope] for scope in scopes)


def first_word(path: str) -> str:
    """What a path is about: `jobs` of /v1/jobs/{job}."""
    return path.removeprefix("/v1").split("/")[1]
