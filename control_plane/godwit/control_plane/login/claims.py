"""What a provider says of somebody becomes a person with a role here, or a refusal. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from godwit.control_plane.login.section import LoginSettings
from godwit.domain.access import Role
from godwit.domain.errors import Forbidden

GROUPS_MAX = 10_000
NAME_MAX = 64
"""What the audit log holds of a name."""

EMAIL_MAX, SUBJECT_MAX = 320, 255
"""RFC 5321, section 4.5.3.1 (64 + 1 + 255); OpenID Connect Core 1.0, section 2."""


@dataclass(frozen=True)
class Person:
    """What an identity provider says of somebody, and what its groups allow here."""

    issuer: str
    subject: str
    name: str
    email: str
    role: Role
    project: str | None = None


class Reason(StrEnum):
    """Why somebody is not let in: what the login page is told, so that no words travel in an address."""

    NO_ROLE = "no-role"
    DOMAIN = "domain"
    UNVERIFIED = "unverified"
    NAMELESS = "nameless"
    DISABLED = "disabled"
    TOO_LATE = "too-late"
    REFUSED_THERE = "refused-there"
    UNREACHABLE = "unreachable"
    NOT_BELIEVED = "not-believed"
    BUSY = "busy"


class Refused(Forbidden):
    """Somebody is not let in; `reason` is for them, the message for the log."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def person(claims: Mapping[str, Any], settings: LoginSettings) -> Person:
    """The person of whom a provider says this. Raises `Refused`."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= SUBJECT_MAX:
        raise Refused(Reason.NOT_BELIEVED, f"the subject is no text of at most {SUBJECT_MAX} characters")
    email = _text(claims, "email")[:EMAIL_MAX]
    if settings.domains:
        _check_domain(email, claims.get("email_verified"), settings)
    role, project = _role(groups(claims, settings.groups), settings)
    name = _text(claims, settings.person)
    if not name:
        raise Refused(Reason.NAMELESS, f"the provider gives no claim {settings.person!r}, which is to name people")
    return Person(settings.issuer, subject, name[:NAME_MAX], email, role, project)


def _check_domain(email: str, verified: object, settings: LoginSettings) -> None:
    local, _, domain = email.rpartition("@")
    if not local or domain.lower() not in settings.domains:
        raise Refused(Reason.DOMAIN, f"the address is of {domain[:100]!r}, and that is none of those allowed")
    # Some providers let people write any address into their profile.
    if verified is not True and not (settings.trust_email and verified is None):
        raise Refused(Reason.UNVERIFIED, "the provider does not say that the address is verified")


def _role(of: frozenset[str], settings: LoginSettings) -> tuple[Role, str | None]:
    for line in settings.map:
        if line.group in of:
            return line.role, line.project
    if settings.default_role is None:
        raise Refused(Reason.NO_ROLE, f"none of {len(of)} groups in claim {settings.groups!r} is in the map")
    return settings.default_role, None


def groups(claims: Mapping[str, Any], name: str) -> frozenset[str]:
    """The groups in a claim: a list of texts, or one. `a.b` is b within a, where no claim is called so."""
    found: Any = claims.get(name)
    if found is None and "." in name:
        outer, _, inner = name.partition(".")
        within = claims.get(outer)
        found = within.get(inner) if isinstance(within, Mapping) else None
    if isinstance(found, str):
        return frozenset({found})
    return (
        frozenset(one for one in found[:GROUPS_MAX] if isinstance(one, str)) if isinstance(found, list) else frozenset()
    )


def _text(claims: Mapping[str, Any], name: str) -> str:
    """A claim on one line that can be shown; empty for what is no text."""
    found = claims.get(name)
    return "".join(one for one in found if one.isprintable()).strip() if isinstance(found, str) else ""
