"""Commands that ask to be let in, as OAuth's device flow has it (RFC 8628): a person confirms in a browser.

The command has a secret of its own and shows a short code. Whoever is logged in to the dashboard sees what asks, and
decides. The token is made when the command comes for it, so that its text lies nowhere meanwhile.
"""

import math
import secrets as randomness
from typing import Any

from godwit.control_plane import keyring
from godwit.control_plane.context import Context
from godwit.control_plane.services import tokens, users
from godwit.control_plane.services.sessions import PAGE
from godwit.control_plane.store import access
from godwit.control_plane.store import users as people
from godwit.control_plane.store.database import Transaction
from godwit.domain.access import Caller
from godwit.domain.errors import Conflict, NotFound, Unauthenticated
from godwit.domain.wire.login import (
    DeviceGrantView,
    DeviceLoginState,
    DeviceLoginView,
    DeviceTokenView,
)
from sqlalchemy import Connection, Row, delete, insert, update

LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
"""RFC 8628, section 6.1: 20 consonants, so that no words come out; 8 of them are 34 bits."""

HALF = 4
WAITS_S = 600.0
"""How long a code is good: RFC 8628, section 6.1, and the time that a person takes to log in elsewhere first."""

INTERVAL_S, SLOWER_S, INTERVAL_MAX_S = 3.0, 5.0, 60.0
"""How often a command may ask, and by how much less often if it asks too soon (RFC 8628, section 3.5: 5 s)."""

LOGIN_S = 12 * 3600.0
"""How long a command is let in: a working day. Then the person logs in again, and is asked for anew by the provider."""

WAITING_MAX, OF_SOURCE_MAX = 1_000, 100
"""Codes that are out at once. With a thousand, guessing one takes some 13 million tries of one who is logged in."""

_ENOUGH_TRIES = 8
_APPROVED, _DENIED = "approved", "denied"


def begin(context: Context, client: str, source: str) -> DeviceLoginView:
    """A command asks to be let in. Raises `Conflict` when too many wait."""
    now, secret = context.now(), keyring.new_token()
    with context.db.write() as tx:
        people.forget_old_logins(tx, now)
        in_all, its = people.logins_waiting(tx.conn, source[:64])
        if in_all >= WAITING_MAX or its >= OF_SOURCE_MAX:
            raise Conflict(f"too many logins wait to be confirmed; try again in {WAITS_S / 60:g} minutes")
        code = _free_code(tx.conn)
        row = {
            "hash": keyring.digest(secret), "code": code, "client": client, "source": source[:64], "asked_at": now,
            "expires_at": now + WAITS_S, "interval_s": INTERVAL_S,
        }  # fmt: skip
        tx.conn.execute(insert(people.device_logins).values(**row))
    path = f"{PAGE}device?user_code={code}"
    return DeviceLoginView(
        device_code=secret, user_code=code, path=path, expires_at=now + WAITS_S, interval_s=INTERVAL_S
    )


def _free_code(conn: Connection) -> str:
    for _ in range(_ENOUGH_TRIES):
        letters = "".join(randomness.choice(LETTERS) for _ in range(2 * HALF))
        code = f"{letters[:HALF]}-{letters[HALF:]}"
        if people.login_of_code(conn, code) is None:
            return code
    raise Conflict("no code is free; try again")


def normal(code: str) -> str:
    """A code as people write it, in any case and with or without its dash, as it is kept."""
    letters = "".join(one for one in code.upper() if one.isalpha())
    return f"{letters[:HALF]}-{letters[HALF:]}"


def look(context: Context, code: str) -> DeviceGrantView:
    """What asks to be let in with a code. Raises `NotFound` for one that is not out, is decided or too old."""
    with context.db.read() as conn:
        return _shown(_open(conn, code, context.now()))


def decide(context: Context, code: str, caller: Caller, *, lets_in: bool) -> DeviceGrantView:
    """A person lets a command in, or does not. Raises `NotFound`, and `Conflict` for who is no browser's session."""
    if caller.session_id is None:
        raise Conflict("only who is logged in to the dashboard lets a command in: open the page that it names")
    with context.db.write() as tx:
        row = _open(tx.conn, code, context.now())
        for_whom = {"user_id": caller.user_id, "token_id": caller.token_id} if lets_in else {}
        table = people.device_logins
        decided = {"decision": _APPROVED if lets_in else _DENIED, **for_whom}
        tx.conn.execute(update(table).where(table.c.hash == row.hash).values(**decided))
    return _shown(row)


def _open(conn: Connection, code: str, now: float) -> Row[Any]:
    row = people.login_of_code(conn, normal(code))
    if row is None or row.expires_at <= now or row.decision:
        raise NotFound("no command waits with this code; it may be too old. Run `godwit login` again")
    return row


def poll(context: Context, device_code: str) -> DeviceTokenView:
    """A command asks whether it is let in; if it is, the token is in this answer and nowhere else."""
    digest = keyring.digest(device_code)
    with context.db.read() as conn:
        known = people.login_of_device(conn, digest)
    if known is None:  # anybody may ask, so that whoever makes codes up must not cost a transaction that writes
        return DeviceTokenView(state=DeviceLoginState.EXPIRED, interval_s=INTERVAL_S)
    with context.db.write() as tx:
        row = people.login_of_device(tx.conn, digest)
        now = context.now()
        if row is None or row.expires_at <= now:
            return DeviceTokenView(state=DeviceLoginState.EXPIRED, interval_s=INTERVAL_S)
        return _answer(context, tx, row, now)


def _answer(context: Context, tx: Transaction, row: Row[Any], now: float) -> DeviceTokenView:
    table = people.device_logins
    its = table.c.hash == row.hash
    if row.polled_at is not None and now - row.polled_at < row.interval_s:
        slower = min(row.interval_s + SLOWER_S, INTERVAL_MAX_S)
        tx.conn.execute(update(table).where(its).values(polled_at=now, interval_s=slower))
        return DeviceTokenView(state=DeviceLoginState.SLOW_DOWN, interval_s=slower)
    if not row.decision:
        tx.conn.execute(update(table).where(its).values(polled_at=now))
        return DeviceTokenView(state=DeviceLoginState.WAITING, interval_s=row.interval_s)
    tx.conn.execute(delete(table).where(its))
    if row.decision == _DENIED:
        return DeviceTokenView(state=DeviceLoginState.DENIED, interval_s=row.interval_s)
    return _granted(context, tx, row, now)


def _granted(context: Context, tx: Transaction, row: Row[Any], now: float) -> DeviceTokenView:
    try:
        by = _approver(tx, row, now)
    except Unauthenticated:  # whoever let it in was shut out meanwhile
        return DeviceTokenView(state=DeviceLoginState.DENIED, interval_s=row.interval_s)
    parent = None if row.token_id is None else access.token(tx.conn, row.token_id)
    fields = {
        "id": context.ids.new("token"), "role": by.role.value, "created_at": now, "name": by.actor,
        "project": by.project, "scopes": tokens.written(by.scopes), "user_id": row.user_id,
        "expires_at": min(now + LOGIN_S, by.expires_at or math.inf),
        "parent_id": None if parent is None else parent.parent_id or parent.id,
    }  # fmt: skip
    made = tokens.added(tx, fields)
    return DeviceTokenView(
        state=DeviceLoginState.GRANTED, interval_s=row.interval_s, secret=made.secret, actor=by.actor,
        expires_at=made.expires_at,
    )  # fmt: skip


def _approver(tx: Transaction, row: Row[Any], now: float) -> Caller:
    if row.token_id is not None:
        return tokens.bearer(tx.conn, access.token(tx.conn, row.token_id), now)
    return users.speaking(tx.conn, row.user_id)


def _shown(row: Row[Any]) -> DeviceGrantView:
    return DeviceGrantView(
        user_code=row.code, client=row.client, source=row.source, asked_at=row.asked_at, expires_at=row.expires_at
    )
