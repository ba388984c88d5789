"""Roles and scopes: what the bearer of a token may do. Each role may do all that the ones before it may."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """From the least to the most.

    `viewer` reads. `member` also submits, cancels and enters its own work. `operator` also changes nodes, incidents and
    services of everybody. `admin` also changes projects, providers, quotas and tokens, and reads the audit log.
    """

    VIEWER = "viewer"
    MEMBER = "member"
    OPERATOR = "operator"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        """Its place, from 0."""
        return list(Role).index(self)

    def may(self, least: "Role") -> bool:
        """Whether it may do what needs `least`."""
        return self.rank >= least.rank


class Scope(StrEnum):
    """Groups of routes that a token may be narrowed to, within what its role may.

    `jobs` with their arrays and uploads. `services`. `gateway`: what a gateway asks, and API keys. `fleet`: nodes,
    offers, incidents, notifications. `costs`. `projects` with their quotas and budgets. `providers`. `access`: tokens,
    people and the audit log. `metrics`.
    """

    JOBS = "jobs"
    SERVICES = "services"
    GATEWAY = "gateway"
    FLEET = "fleet"
    COSTS = "costs"
    PROJECTS = "projects"
    PROVIDERS = "providers"
    ACCESS = "access"
    METRICS = "metrics"


@dataclass(frozen=True)
class Caller:
    """Who makes a request: a person or a token, or both, and the session of a browser that speaks for it, if one does.

    `actor` is what stories and the audit log call it. With a `project` it touches only what belongs to that one; with
    `scopes` only those groups of routes, without any all that its role may.
    """

    actor: str
    role: Role
    token_id: str | None = None
    project: str | None = None
    expires_at: float | None = None
    session_id: str | None = None
    user_id: str | None = None
    scopes: tuple[Scope, ...] = ()
