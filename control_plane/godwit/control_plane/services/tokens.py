"""Tokens with roles, sessions of browsers that speak for them, and the one-time codes that open sessions."""

import math
from dataclasses import replace
from typing import Any

from godwit.control_plane import secrets
from godwit.control_plane.context import Context
from godwit.control_plane.store import access, tenancy
from godwit.control_plane.store.database import Transaction
from godwit.domain.access import Caller, Role
from godwit.domain.errors import Conflict, NotFound, Unauthenticated
from godwit.domain.wire.access import CodeView, TokenMade, TokenView, TokenWanted
from sqlalchemy import Row, insert, update

SESSION_S = 12 * 3600.0
"""How long a browser's session lasts: a working day, after which `godwit dashboard` opens another."""

CODE_S = 120.0
"""How long a one-time code opens a session: a browser takes seconds to start."""

USED_EVERY_S = 60.0
"""The last use of a token is written this often at the most."""

PAGE = "/ui/"


def make(context: Context, wanted: TokenWanted) -> TokenMade:
    """Make a token. Its secret is in this answer and nowhere else. Raises `NotFound` for an unknown project."""
    now, secret = context.now(), secrets.new_token()
    row = {
        "id": context.ids.new("token"), "role": wanted.role.value, "created_at": now, "name": wanted.name,
        "project": wanted.project, "expires_at": None if wanted.expires_in_s is None else now + wanted.expires_in_s,
    }  # fmt: skip
    with context.db.write() as tx:
        if wanted.project is not None:
            tenancy.project(tx.conn, wanted.project)
        tx.conn.execute(insert(access.tokens).values(**row, hash=secrets.digest(secret)))
    return TokenMade(**row, used_at=None, revoked_at=None, secret=secret)


def listed(context: Context, limit: int, after: str | None) -> list[TokenView]:
    """A page of tokens, the oldest first, with those that are revoked."""
    with context.db.read() as conn:
        return [_view(row) for row in access.tokens_page(conn, limit, after)]


def revoke(context: Context, token_id: str, caller: Caller) -> TokenView:
    """End a token and every session that speaks for it; the same again is the same.

    Raises `NotFound`, or `Conflict` for the token that asks: there would be nobody left to make another.
    """
    if token_id == caller.token_id:
        raise Conflict(f"{token_id} is the token that asks; revoke it with another administrator's")
    now = context.now()
    with context.db.write() as tx:
        row = access.token(tx.conn, token_id)
        if row is None:
            raise NotFound(f"there is no token {token_id!r}; `godwit tokens` lists them")
        if row.revoked_at is None:
            table = access.tokens
            tx.conn.execute(update(table).where(table.c.id == token_id).values(revoked_at=now))
        return _view(row).model_copy(update={"revoked_at": row.revoked_at or now})


def behind_token(context: Context, digest: str) -> Caller:
    """Who is behind a token. Raises `Unauthenticated`, saying why to whoever once had a valid one."""
    now = context.now()
    with context.db.read() as conn:
        row = access.token_by_hash(conn, digest)
    caller = _valid(row, now)
    if row is not None and now - (row.used_at or -math.inf) >= USED_EVERY_S:
        with context.db.write() as tx:
            tx.conn.execute(update(access.tokens).where(access.tokens.c.id == row.id).values(used_at=now))
    return caller


def behind_session(context: Context, digest: str) -> Caller:
    """Who is behind a session: the bearer of the token that it speaks for. Raises `Unauthenticated`."""
    now = context.now()
    with context.db.read() as conn:
        session = access.session_by_hash(conn, digest)
        if session is None or session.revoked_at is not None or session.expires_at <= now:
            raise Unauthenticated("this session is over; open another with `godwit dashboard`, or log in with a token")
        caller = _valid(access.token(conn, session.token_id), now)
    ends = min(session.expires_at, caller.expires_at or math.inf)
    return replace(caller, expires_at=ends, session_id=session.id)


def _valid(row: Row[Any] | None, now: float) -> Caller:
    if row is None:
        raise Unauthenticated
    name = row.name or f"token {row.id}"
    if row.revoked_at is not None:
        raise Unauthenticated(f"{name} was revoked; ask an administrator for another: `godwit tokens create`")
    if row.expires_at is not None and row.expires_at <= now:
        raise Unauthenticated(f"{name} has expired; ask an administrator for another: `godwit tokens create`")
    return Caller(name, Role(row.role), row.id, row.project, row.expires_at)


def code(context: Context, caller: Caller) -> CodeView:
    """A one-time code with which a browser opens a session that speaks for the caller's token."""
    now, secret = context.now(), secrets.new_token()
    with context.db.write() as tx:
        row = {"hash": secrets.digest(secret), "token_id": caller.token_id, "expires_at": now + CODE_S}
        tx.conn.execute(insert(access.login_codes).values(**row))
    return CodeView(code=secret, path=f"{PAGE}?code={secret}", expires_at=now + CODE_S)


def open_session(context: Context, *, token: str | None, code: str | None) -> tuple[Caller, str]:
    """A session for a token or a one-time code: whom it speaks for, and its secret. Raises `Unauthenticated`."""
    now, secret = context.now(), secrets.new_token()
    with context.db.write() as tx:
        caller = _valid(_behind(tx, token, code, now), now)
        ends = min(now + SESSION_S, caller.expires_at or math.inf)
        session = replace(caller, expires_at=ends, session_id=context.ids.new("session"))
        row = {"id": session.session_id, "token_id": caller.token_id, "created_at": now, "expires_at": ends}
        tx.conn.execute(insert(access.sessions).values(**row, hash=secrets.digest(secret)))
    return session, secret


def _behind(tx: Transaction, token: str | None, code: str | None, now: float) -> Row[Any] | None:
    if token is not None:
        return access.token_by_hash(tx.conn, secrets.digest(token))
    token_id = None if code is None else access.take_code(tx, secrets.digest(code), now)
    if token_id is None:
        raise Unauthenticated("this code was used or is too old; `godwit dashboard` makes another")
    return access.token(tx.conn, token_id)


def close_session(context: Context, session_id: str) -> None:
    """End a session; the same again is the same."""
    with context.db.write() as tx:
        its = access.sessions.c.id == session_id
        tx.conn.execute(update(access.sessions).where(its).values(revoked_at=context.now()))


def _view(row: Row[Any]) -> TokenView:
    return TokenView(
        id=row.id, name=row.name, role=Role(row.role), project=row.project, created_at=row.created_at,
        expires_at=row.expires_at, used_at=row.used_at, revoked_at=row.revoked_at,
    )  # fmt: skip
