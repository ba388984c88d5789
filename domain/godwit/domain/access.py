"""Roles: what the bearer of a token may do. Each may do all that the ones before it may."""

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


@dataclass(frozen=True)
class Caller:
    """Who makes a request: the token behind it, and the session of a browser that speaks for that token, if one does.

    `actor` is what stories and the audit log call it. With a `project` it touches only what belongs to that one.
    """

    actor: str
    role: Role
    token_id: str
    project: str | None = None
    expires_at: float | None = None
    session_id: str | None = None
