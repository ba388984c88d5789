"""Tokens with roles: making, narrowing, rotating and ending them, and who is behind one."""

from typing import Any

from godwit.control_plane import hints, keyring
from godwit.control_plane.context import Context
from godwit.control_plane.services import users
from godwit.control_plane.store import access, tenancy
from godwit.control_plane.store import users as people
from godwit.control_plane.store.database import Transaction
from godwit.domain.access import Caller, Role, Scope
from godwit.domain.errors import Conflict, NotFound, Unauthenticated
from godwit.domain.wire.access import RotationWanted, TokenMade, TokenView, TokenWanted
from sqlalchemy import Connection, Row, func, insert, or_, update

USED_EVERY_S = 60.0
"""The last use of a token is written this often at the most."""


def make(context: Context, wanted: TokenWanted) -> TokenMade:
    """Make a token. Its secret is in this answer and nowhere else.

    Raises `NotFound` for an unknown project, and `Conflict` for the name of a person: stories tell them apart by it.
    """
    now = context.now()
    row = {
        "id": context.ids.new("token"), "role": wanted.role.value, "created_at": now, "name": wanted.name,
        "project": wanted.project, "expires_at": None if wanted.expires_in_s is None else now + wanted.expires_in_s,
        "scopes": written(wanted.scopes),
    }  # fmt: skip
    with context.db.write() as tx:
        if wanted.project is not None:
            tenancy.project(tx.conn, wanted.project)
        if people.user_named(tx.conn, wanted.name) is not None:
            raise Conflict(
                f"a person is called {wanted.name!r}, and stories would take the token for them; name it else"
            )
        return added(tx, row)


def added(tx: Transaction, row: dict[str, Any]) -> TokenMade:
    """Write a token down, with a secret of its own."""
    secret = keyring.new_token()
    tx.conn.execute(insert(access.tokens).values(**row, hash=keyring.digest(secret)))
    made = access.token(tx.conn, row["id"])
    assert made is not None
    return TokenMade(**_view(made).model_dump(), secret=secret)


def listed(context: Context, limit: int, after: str | None) -> list[TokenView]:
    """A page of tokens, the oldest first, with those that are revoked."""
    with context.db.read() as conn:
        return [_view(row) for row in access.tokens_page(conn, limit, after)]


def rotate(context: Context, token_id: str, wanted: RotationWanted) -> TokenMade:
    """Give a token another text: one like it, which lasts as long as it did; the old one ends after the overlap.

    Raises `NotFound`, or `Conflict` for a token that is over, or that is not made anew in this way.
    """
    now = context.now()
    with context.db.write() as tx:
        row = _known(tx.conn, token_id)
        if row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= now):
            raise Conflict(f"{token_id} is over; make another: `godwit tokens create`")
        if not row.name:
            raise Conflict(
                f"{token_id} is the token of the control plane's home; to replace it, remove the file `token` there, "
                f"start the control plane again, and revoke this one with the new one"
            )
        if row.user_id is not None or row.parent_id is not None:
            raise Conflict(f"{token_id} comes from a login; to have another, log in again: `godwit login`")
        fresh = {
            "id": context.ids.new("token"), "role": row.role, "created_at": now, "name": row.name,
            "project": row.project, "scopes": row.scopes,
            "expires_at": None if row.expires_at is None else now + (row.expires_at - row.created_at),
        }  # fmt: skip
        _end_by(tx, token_id, now + wanted.overlap_s)
        return added(tx, fresh)


def _end_by(tx: Transaction, token_id: str, at: float) -> None:
    """A token, and what was let in by it, ends at an instant, unless it ends before."""
    table = access.tokens
    its = or_(table.c.id == token_id, table.c.parent_id == token_id)
    tx.conn.execute(update(table).where(its, func.coalesce(table.c.expires_at, at) >= at).values(expires_at=at))
    tx.hint(hints.ACCESS)


def revoke(context: Context, token_id: str, caller: Caller) -> TokenView:
    """End a token, what was let in by it, and every session that speaks for these; the same again is the same.

    Raises `NotFound`, or `Conflict` for the token that asks: there would be nobody left to make another.
    """
    if token_id == caller.token_id:
        raise Conflict(f"{token_id} is the token that asks; revoke it with another administrator's")
    now = context.now()
    with context.db.write() as tx:
        row = _known(tx.conn, token_id)
        end(tx, token_id, now)
        return _view(row).model_copy(update={"revoked_at": row.revoked_at or now})


def end(tx: Transaction, token_id: str, now: float) -> None:
    """End a token and what was let in by it, in the caller's transaction."""
    table = access.tokens
    its = or_(table.c.id == token_id, table.c.parent_id == token_id)
    tx.conn.execute(update(table).where(its, table.c.revoked_at.is_(None)).values(revoked_at=now))
    tx.hint(hints.ACCESS)


def behind_token(context: Context, digest: str) -> Caller:
    """Who is behind a token. Raises `Unauthenticated`, saying why to whoever once had a valid one."""
    with context.db.read() as conn:
        return bearer(conn, access.token_by_hash(conn, digest), context.now())


def note_use(context: Context, token_id: str, at: float) -> None:
    """Write down when a token was used last, unless that is known to the minute."""
    table = access.tokens
    is_old = or_(table.c.used_at.is_(None), table.c.used_at <= at - USED_EVERY_S)
    with context.db.write() as tx:
        tx.conn.execute(update(table).where(table.c.id == token_id, is_old).values(used_at=at))


def bearer(conn: Connection, row: Row[Any] | None, now: float) -> Caller:
    """Who is behind a row of tokens. Raises `Unauthenticated` for none, and for one that is over."""
    if row is None:
        raise Unauthenticated
    is_login = row.user_id is not None or row.parent_id is not None
    name = row.name or f"token {row.id}"
    again = "log in again: `godwit login`" if is_login else "ask an administrator for another: `godwit tokens create`"
    what = f"the login of {name}" if is_login else name
    if row.revoked_at is not None:
        raise Unauthenticated(f"{what} was revoked; {again}")
    if row.expires_at is not None and row.expires_at <= now:
        raise Unauthenticated(f"{what} has expired; {again}")
    caller = Caller(name, Role(row.role), row.id, row.project, row.expires_at, scopes=read(row.scopes))
    return caller if row.user_id is None else users.as_person(conn, row.user_id, caller)


def read(scopes: str | None) -> tuple[Scope, ...]:
    """Scopes as they are kept; none for all."""
    return tuple(Scope(one) for one in (scopes or "").split())


def written(scopes: "list[Scope] | tuple[Scope, ...]") -> str | None:
    """Scopes to be kept."""
    return " ".join(sorted(set(scopes))) or None


def _known(conn: Connection, token_id: str) -> Row[Any]:
    row = access.token(conn, token_id)
    if row is None:
        raise NotFound(f"there is no token {token_id!r}; `godwit tokens` lists them")
    return row


def _view(row: Row[Any]) -> TokenView:
    return TokenView(
        id=row.id, name=row.name, role=Role(row.role), project=row.project, created_at=row.created_at,
        expires_at=row.expires_at, used_at=row.used_at, revoked_at=row.revoked_at, scopes=list(read(row.scopes)),
        user_id=row.user_id, parent_id=row.parent_id,
    )  # fmt: skip
