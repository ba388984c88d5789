"""Routes about who may call: tokens, sessions of browsers, and the audit log."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from godwit.control_plane.api.access import COOKIE, DASHBOARD_HEADER, Who
from godwit.control_plane.api.jobs import Cursor, Limit
from godwit.control_plane.api.state import Godwit, State
from godwit.control_plane.services import audit, sessions, tokens
from godwit.domain.access import Caller
from godwit.domain.errors import Forbidden, InvalidRequest
from godwit.domain.wire.access import (
    KNOWN_PATTERN,
    AuditCheck,
    AuditView,
    CodeView,
    RotationWanted,
    SessionWanted,
    TokenMade,
    TokenView,
    TokenWanted,
    WhoView,
)
from godwit.domain.wire.pages import Page

router = APIRouter(prefix="/v1")

TokenRef = Annotated[str, Path(max_length=64)]
KnownCheck = Annotated[
    str | None,
    Query(
        pattern=KNOWN_PATTERN,
        description="What an earlier check told, and you kept elsewhere: `rows`, a colon, `last_hash`.",
    ),
]


@router.get("/tokens")
def list_tokens(state: Godwit, _caller: Who, cursor: Cursor = None, limit: Limit = 100) -> Page[TokenView]:
    """Tokens, the oldest first, with those that are revoked; their secrets are known to their owners alone."""
    found = tokens.listed(state.context, limit, cursor)
    return Page(items=found, next_cursor=found[-1].id if len(found) == limit else None)


@router.post("/tokens", status_code=201)
def make_token(state: Godwit, _caller: Who, wanted: TokenWanted) -> TokenMade:
    """Make a token with a role. Its secret is in this answer and nowhere else."""
    return tokens.make(state.context, wanted)


@router.post("/tokens/{token}/rotate", status_code=201)
def rotate_token(state: Godwit, _caller: Who, token: TokenRef, wanted: RotationWanted) -> TokenMade:
    """Give a token another text; the old one ends after the overlap. The new secret is in this answer alone."""
    return tokens.rotate(state.context, token, wanted)


@router.delete("/tokens/{token}")
def revoke_token(state: Godwit, caller: Who, token: TokenRef) -> TokenView:
    """End a token, and every session that speaks for it, at once."""
    return tokens.revoke(state.context, token, caller)


@router.post("/sessions", status_code=201)
def open_session(request: Request, response: Response, state: Godwit, wanted: SessionWanted) -> WhoView:
    """Open a browser's session with a token or a one-time code; it lives in a cookie that no script reads."""
    if DASHBOARD_HEADER not in request.headers:
        raise Forbidden(f"only the dashboard opens sessions: send the header {DASHBOARD_HEADER}: 1")
    if (wanted.token is None) == (wanted.code is None):
        raise InvalidRequest("send a token or a one-time code, and not both")
    caller, secret = sessions.open_by(state.context, known_by(request), token=wanted.token, code=wanted.code)
    set_session(response, state, secret, sessions.SESSION_S)
    return _who(caller)


def known_by(request: Request) -> sessions.Known:
    """What makes it known who asks, of a request that opens a session: the audit log is written with that."""

    def known(caller: Caller) -> None:
        request.state.caller = caller

    return known


def set_session(response: Response, state: State, secret: str, lasts_s: float) -> None:
    """Give a browser its session, in a cookie that no script reads and no other site sends."""
    response.set_cookie(
        COOKIE,
        secret,
        max_age=int(lasts_s),
        httponly=True,
        samesite="strict",
        # Over plain HTTP a browser would not send it back: then the control plane serves loopback only.
        secure=state.context.url.startswith("https://"),
    )


@router.get("/sessions/current")
def get_session(caller: Who) -> WhoView:
    """Who the caller is, by token or session: its role, its project, and when that ends."""
    return _who(caller)


@router.delete("/sessions/current", status_code=204, response_class=Response)
def close_session(state: Godwit, caller: Who) -> Response:
    """End the session that asks, or the token that `godwit login` got; any other token is left as it is."""
    response = Response(status_code=204)
    sessions.close(state.context, caller)
    if caller.session_id is not None:
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


@router.post("/sessions/codes", status_code=201)
def make_code(state: Godwit, caller: Who) -> CodeView:
    """A one-time code with which a browser opens a session that speaks for the caller's token."""
    return sessions.code(state.context, caller)


@router.get("/audit")
def list_audit(
    state: Godwit,
    _caller: Who,
    actor: Annotated[str | None, Query(max_length=64, description="Only what this one did.")] = None,
    cursor: Annotated[str | None, Query(max_length=16, pattern=r"^[0-9]{1,15}$")] = None,
    limit: Limit = 100,
) -> Page[AuditView]:
    """Who changed what, from where, and what came of it; the newest first."""
    found = audit.page(state.context, limit, None if cursor is None else int(cursor), actor)
    return Page(items=found, next_cursor=str(found[-1].seq) if len(found) == limit else None)


@router.get("/audit/check")
def check_audit(state: Godwit, _caller: Who, known: KnownCheck = None) -> AuditCheck:
    """Whether the audit log is as it was written: each row's hash covers all rows before it.

    With what an earlier check told also whether all that there was then is there still, unchanged.
    """
    return audit.check(state.context, None if known is None else audit.Known.read(known))


def _who(of: Caller) -> WhoView:
    return WhoView(
        actor=of.actor, role=of.role, project=of.project, expires_at=of.expires_at,
        is_session=of.session_id is not None, scopes=list(of.scopes), is_person=of.user_id is not None,
    )  # fmt: skip
