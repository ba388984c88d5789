"""Who calls, as the API shows and takes it: tokens with roles, and the sessions of browsers."""

from typing import Annotated

from godwit.domain.access import Role
from godwit.domain.wire.pages import Message
from godwit.domain.wire.specs import NAME_PATTERN
from pydantic import Field


class TokenWanted(Message):
    """A token to make. With a `project` it touches only what belongs to that project. None: it never expires."""

    name: Annotated[str, Field(pattern=NAME_PATTERN, max_length=64)]
    role: Role
    project: Annotated[str, Field(pattern=NAME_PATTERN, max_length=64)] | None = None
    expires_in_s: Annotated[float, Field(gt=0, le=10 * 366 * 86_400)] | None = None


class TokenView(Message):
    """A token without its secret. `used_at` is its last use, to the minute."""

    id: str
    name: str
    role: Role
    project: str | None
    created_at: float
    expires_at: float | None
    used_at: float | None
    revoked_at: float | None


class TokenMade(TokenView):
    """A token that was just made: `secret` is shown this once."""

    secret: Annotated[str, Field(repr=False)]


class WhoView(Message):
    """Who the caller is. `is_session` is true for a browser's cookie: what
    changes something then carries the header `X-Godwit-Dashboard: 1`."""

    actor: str
    role: Role
    project: str | None
    expires_at: float | None
    is_session: bool


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


class AuditCheck(Message):
    """Whether the audit log is as it was written: how many rows are, and the number of the first that is not."""

    rows: int
    is_intact: bool
    broken_at: int | None
