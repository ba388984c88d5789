"""People whom an identity provider vouches for: known by issuer and subject, with the role of their last login."""

from dataclasses import replace
from typing import Any

from godwit.control_plane import hints
from godwit.control_plane.context import Context
from godwit.control_plane.login.claims import NAME_MAX, Person, Reason, Refused
from godwit.control_plane.store import access
from godwit.control_plane.store import users as people
from godwit.control_plane.store.database import Transaction
from godwit.domain.access import Caller, Role
from godwit.domain.errors import Conflict, NotFound, Unauthenticated
from godwit.domain.wire.login import UserView
from sqlalchemy import Connection, Row, delete, insert, select, update


def arrive(context: Context, tx: Transaction, person: Person, now: float) -> Caller:
    """Write down that somebody logs in, with what the provider says now. Raises `Refused` for who is disabled."""
    row = people.by_subject(tx.conn, person.issuer, person.subject)
    if row is not None and row.disabled_at is not None:
        raise Refused(Reason.DISABLED, f"{row.name} is disabled here")
    user_id = context.ids.new("user") if row is None else row.id
    name = _free_name(tx.conn, person.name, user_id)
    said = {
        "name": name, "email": person.email, "role": person.role.value,
        "project": person.project, "last_login_at": now,
    }  # fmt: skip
    table = people.users
    if row is None:
        fixed = {"id": user_id, "issuer": person.issuer, "subject": person.subject, "created_at": now}
        tx.conn.execute(insert(table).values(**fixed, **said))
    else:
        tx.conn.execute(update(table).where(table.c.id == user_id).values(**said))
        tx.hint(hints.ACCESS)  # sessions of before have the new role
    return Caller(name, person.role, None, person.project, user_id=user_id)


def _free_name(conn: Connection, name: str, user_id: str) -> str:
    """The name, unless a token or somebody else has it: who did what must not be open to doubt."""
    other = people.user_named(conn, name)
    is_token = conn.execute(
        select(access.tokens.c.id).where(access.tokens.c.name == name, access.tokens.c.user_id.is_(None))
    ).first()
    if (other is None or other.id == user_id) and is_token is None:
        return name
    own = f" ({user_id})"
    return name[: NAME_MAX - len(own)] + own


def depart(context: Context, issuer: str, subject: str) -> None:
    """The provider knows somebody who may not come in any more: what they have here ends."""
    with context.db.write() as tx:
        row = people.by_subject(tx.conn, issuer, subject)
        if row is not None:
            _end_all(tx, row.id, context.now())


def speaking(conn: Connection, user_id: str) -> Caller:
    """The caller that a person is. Raises `Unauthenticated` for who is disabled."""
    row = people.user(conn, user_id)
    if row is None:
        raise Unauthenticated
    if row.disabled_at is not None:
        raise Unauthenticated(f"{row.name} is disabled; ask an administrator: `godwit users enable {row.id}`")
    return Caller(row.name, Role(row.role), None, row.project, user_id=row.id)


def as_person(conn: Connection, user_id: str, by_token: Caller) -> Caller:
    """The caller behind a person's token: what the person is now, until the token ends. Raises `Unauthenticated`."""
    now_is = speaking(conn, user_id)
    return replace(now_is, token_id=by_token.token_id, expires_at=by_token.expires_at, scopes=by_token.scopes)


def listed(context: Context, limit: int, after: str | None) -> list[UserView]:
    """A page of people, the oldest first, with those who are disabled."""
    with context.db.read() as conn:
        return [_view(row) for row in people.users_page(conn, limit, after)]


def disable(context: Context, user_id: str, caller: Caller) -> UserView:
    """Keep a person out, and end their sessions and tokens at once; the same again is the same.

    Raises `NotFound`, or `Conflict` for oneself: there might be nobody left to undo it.
    """
    if user_id == caller.user_id:
        raise Conflict("that is you; let another administrator do it")
    now = context.now()
    with context.db.write() as tx:
        row = _known(tx.conn, user_id)
        _end_all(tx, user_id, now)
        ended = row.disabled_at or now
        tx.conn.execute(update(people.users).where(people.users.c.id == user_id).values(disabled_at=ended))
        return _view(row).model_copy(update={"disabled_at": ended})


def enable(context: Context, user_id: str) -> UserView:
    """Let a person log in again; what ended stays ended. Raises `NotFound`."""
    with context.db.write() as tx:
        row = _known(tx.conn, user_id)
        tx.conn.execute(update(people.users).where(people.users.c.id == user_id).values(disabled_at=None))
        tx.hint(hints.ACCESS)
        return _view(row).model_copy(update={"disabled_at": None})


def _end_all(tx: Transaction, user_id: str, now: float) -> None:
    """End all that speaks for a person. A session that speaks for one of their tokens ends with that."""
    for table in (access.sessions, access.tokens):
        of_them = update(table).where(table.c.user_id == user_id, table.c.revoked_at.is_(None))
        tx.conn.execute(of_them.values(revoked_at=now))
    tx.conn.execute(delete(people.device_logins).where(people.device_logins.c.user_id == user_id))
    tx.hint(hints.ACCESS)


def _known(conn: Connection, user_id: str) -> Row[Any]:
    row = people.user(conn, user_id)
    if row is None:
        raise NotFound(f"there is no person {user_id!r}; `godwit users` lists them")
    return row


def _view(row: Row[Any]) -> UserView:
    return UserView(
        id=row.id, name=row.name, email=row.email, issuer=row.issuer, role=Role(row.role), project=row.project,
        created_at=row.created_at, last_login_at=row.last_login_at, disabled_at=row.disabled_at,
    )  # fmt: skip
