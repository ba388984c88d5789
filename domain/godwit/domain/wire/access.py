"""Who calls, as the API shows and takes it: tokens with roles, and the sessions of browsers."""

from typing import Annotated

from godwit.domain.access import Role, Scope
from godwit.domain.wire.pages import Message
from godwit.domain.wire.specs import NAME_PATTERN
from pydantic import Field

Scopes = Annotated[list[Scope], Field(max_length=len(Scope))]
"""Groups of routes; none: all of them."""


class TokenWanted(Message):
    """A token to make. With a `project` it touches only what belongs to that project, with `scopes` only those
    groups of routes. None: it never expires."""

    name: Annotated[str, Field(pattern=NAME_PATTERN, max_length=64)]
    role: Role
    project: Annotated[str, Field(pattern=NAME_PATTERN, max_length=64)] | None = None
    expires_in_s: Annotated[float, Field(gt=0, le=10 * 366 * 86_400)] | None = None
    scopes: Scopes = Field(default_factory=list)


class RotationWanted(Message):
    """A token gets another text. The old one is good for `overlap_s` more, for whoever is told of the new one later."""

    overlap_s: Annotated[float, Field(ge=0, le=30 * 86_400)] = 86_400


class TokenView(Message):
    """A token without its secret. `used_at` is its last use, to the minute.

    One that `godwit login` got has the id of the person, or of the token that the person's browser spoke for.
    """

    id: str
    name: str
    role: Role
    project: str | None
    created_at: float
    expires_at: float | None
    used_at: float | None
    revoked_at: float | None
    scopes: list[Scope] = Field(default_factory=list)
    user_id: str | None = None
    parent_id: str | None = None


class TokenMade(TokenView):
    """A token that was just made: `secret` is shown this once."""

    secret: Annotated[str, Field(repr=False)]


class WhoView(Message):
    """Who the caller is. `is_session` is true for a browser's cookie: what changes something then carries the header
    `X-Godwit-Dashboard: 1`. `is_person`: known by an identity provider, not by a token that somebody made."""

    actor: str
    role: Role
    project: str | None
    expires_at: float | None
    is_session: bool
    scopes: list[Scope] = Field(default_factory=list)
    is_person: bool = False


class SessionWanted(Message):
    """What opens a browser's session: a token, or the one-time code of `godwit dashboard`. One of the two."""

    token: Annotated[str | None, Field(max_length=256, repr=False)] = None
    code: Annotated[str | None, Field(max_length=256, repr=False)] = None


class CodeView(Message):
    """A one-time code that opens a session in a browser, at `path`, until `expires_at`; used once."""

    code: Annotated[str, Field(repr=False)]
    path: str
    expires_at: float


class AuditView(Message):
    """A request that changed something, or tried to. `route` is the path as the description has it, `status` HTTP's."""

    seq: int
    at: float
    actor: str
    role: Role
    project: str | None
    method: str
    route: str
    path: str
    source: str
    status: int


KNOWN_PATTERN = "^[0-9]{1,15}:[0-9a-f]{64}$"
"""`rows`, a colon and `last_hash` of an `AuditCheck`: what a later one is asked to know."""


class AuditCheck(Message):
    """Whether the audit log is as it was written: how many rows are, and the number of the first that is not.

    `last_hash` covers all these rows. Keep it and `rows` where nobody who writes to the database can: a later check
    against them finds that the newest rows were taken out, or that all of them were written anew.
    """

    rows: int
    is_intact: bool
    broken_at: int | None
    last_hash: str
