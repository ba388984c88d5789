"""Sessions of browsers, which speak for a token or a person, and the one-time codes that open them."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from godwit.control_plane import hints, keyring
from godwit.control_plane.context import Context
from godwit.control_plane.services import tokens, users
from godwit.control_plane.store import access
from godwit.control_plane.store.database import Transaction
from godwit.domain.access import Caller
from godwit.domain.errors import Conflict, Unauthenticated
from godwit.domain.wire.access import CodeView
from sqlalchemy import Row, insert, update

SESSION_S = 12 * 3600.0
"""How long a browser's session lasts: a working day, after which `godwit dashboard` opens another."""

CODE_S = 120.0
"""How long a one-time code opens a session: a browser takes seconds to start."""

PAGE = "/ui/"

Known = Callable[[Caller], None]
"""Told of whom a session speaks for, in the transaction that opens it: before, nobody knew who asks."""


def behind(context: Context, digest: str) -> Caller:
    """Who is behind a session: the person or the bearer of the token that it speaks for. Raises `Unauthenticated`."""
    now = context.now()
    with context.db.read() as conn:
        session = access.session_by_hash(conn, digest)
        if session is None or session.revoked_at is not None or session.expires_at <= now:
            raise Unauthenticated("this session is over; open another with `godwit dashboard`, or log in again")
        if session.token_id is not None:
            caller = tokens.bearer(conn, access.token(conn, session.token_id), now)
        else:
            caller = users.speaking(conn, session.user_id)
    ends = min(session.expires_at, caller.expires_at or math.inf)
    return replace(caller, expires_at=ends, session_id=session.id)


def code(context: Context, caller: Caller) -> CodeView:
    """A one-time code with which a browser opens a session that speaks for the caller's token.

    Raises `Conflict` for a person's session: it has no token, and its browser is open already.
    """
    if caller.token_id is None:
        raise Conflict("a browser in which a person is logged in makes no codes; run `godwit login` on that machine")
    now, secret = context.now(), keyring.new_token()
    with context.db.write() as tx:
        row = {"hash": keyring.digest(secret), "token_id": caller.token_id, "expires_at": now + CODE_S}
        tx.conn.execute(insert(access.login_codes).values(**row))
    return CodeView(code=secret, path=f"{PAGE}?code={secret}", expires_at=now + CODE_S)


def open_by(context: Context, known: Known, *, token: str | None, code: str | None) -> tuple[Caller, str]:
    """A session for a token or a one-time code: whom it speaks for, and its secret. Raises `Unauthenticated`."""
    now = context.now()
    with context.db.write() as tx:
        caller, secret = opened(context, tx, tokens.bearer(tx.conn, _behind(tx, token, code, now), now), now)
        known(caller)
    return caller, secret


def opened(
    context: Context, tx: Transaction, caller: Caller, now: float, lasts_s: float = SESSION_S
) -> tuple[Caller, str]:
    """Open a session that speaks for a caller, and ends with it; returns it with its secret."""
    secret, ends = keyring.new_token(), min(now + lasts_s, caller.expires_at or math.inf)
    session = replace(caller, expires_at=ends, session_id=context.ids.new("session"))
    row = {
        "id": session.session_id, "token_id": caller.token_id, "user_id": caller.user_id, "created_at": now,
        "expires_at": ends, "hash": keyring.digest(secret),
    }  # fmt: skip
    tx.conn.execute(insert(access.sessions).values(**row))
    return session, secret


def _behind(tx: Transaction, token: str | None, code: str | None, now: float) -> Row[Any] | None:
    if token is not None:
        return access.token_by_hash(tx.conn, keyring.digest(token))
    token_id = None if code is None else access.take_code(tx, keyring.digest(code), now)
    if token_id is None:
        raise Unauthenticated("this code was used or is too old; `godwit dashboard` makes another")
    return access.token(tx.conn, token_id)


def close(context: Context, caller: Caller) -> None:
    """End a session, or a token that `godwit login` got; any other token is left as it is."""
    now = context.now()
    with context.db.write() as tx:
        if caller.session_id is not None:
            its = access.sessions.c.id == caller.session_id
            tx.conn.execute(update(access.sessions).where(its).values(revoked_at=now))
            tx.hint(hints.ACCESS)
            return
        row = None if caller.token_id is None else access.token(tx.conn, caller.token_id)
        if row is not None and (row.user_id is not None or row.parent_id is not None):
            tokens.end(tx, row.id, now)
