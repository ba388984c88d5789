"""Who may call, and what they did: tokens, the sessions and one-time codes of browsers, and the audit log."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from godwit.control_plane.store import statements
from godwit.control_plane.store.database import Transaction
from godwit.control_plane.store.schema import SEQUENCE, metadata
from sqlalchemy import (
    Column,
    Connection,
    Float,
    Index,
    Integer,
    Row,
    String,
    Table,
    Text,
    delete,
    or_,
    select,
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("hash", String(64), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("name", String(64), nullable=False, server_default=""),
    Column("project", String(64)),
    Column("expires_at", Float),
    Column("revoked_at", Float),
    # Groups of routes, with blanks between; NULL: all that its role may.
    Column("scopes", String(255)),
    # Who got it by `godwit login`: a person (then it has that one's role), or whoever had this other token.
    Column("user_id", String(64), index=True),
    Column("parent_id", String(64), index=True),
    # observed
    Column("used_at", Float),
)

# A browser's session speaks for a token or a person: it has the role of that, and ends with it.
sessions = Table(
    "sessions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("hash", String(64), nullable=False, unique=True),
    Column("token_id", String(64), index=True),
    Column("user_id", String(64), index=True),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("revoked_at", Float),
)

login_codes = Table(
    "login_codes",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("token_id", String(64), nullable=False),
    Column("expires_at", Float, nullable=False),
)

# Rows are only ever added. Each holds the hash of the one before, so that a change or a gap shows.
audit = Table(
    "audit",
    metadata,
    Column("seq", SEQUENCE, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    Column("actor", String(64), nullable=False),
    Column("role", String(16), nullable=False),
    Column("project", String(64)),
    Column("method", String(16), nullable=False),
    Column("route", String(255), nullable=False),
    Column("path", Text, nullable=False),
    Column("source", String(64), nullable=False),
    Column("status", Integer, nullable=False),
    Column("hash", String(64), nullable=False),
    Index(None, "actor", "seq"),
)

# Asked with each request that changes something, so that it is built once.
_LAST_AUDITED = select(audit.c.seq, audit.c.hash).order_by(audit.c.seq.desc()).limit(1)

AUDITED = ("seq", "at", "actor", "role", "project", "method", "route", "path", "source", "status")
"""What a row's hash covers: all of it."""


def token_by_hash(conn: Connection, digest: str) -> Row[Any] | None:
    """A token, whether or not it is valid still."""
    return conn.execute(select(tokens).where(tokens.c.hash == digest)).first()


def token(conn: Connection, token_id: str) -> Row[Any] | None:
    """A token by its id."""
    return conn.execute(select(tokens).where(tokens.c.id == token_id)).first()


def tokens_page(conn: Connection, limit: int, after: str | None) -> Sequence[Row[Any]]:
    """A page of tokens, the oldest first, starting after id `after`; with those that are revoked."""
    query = select(tokens).order_by(tokens.c.id).limit(limit)
    return conn.execute(query if after is None else query.where(tokens.c.id > after)).all()


def session_by_hash(conn: Connection, digest: str) -> Row[Any] | None:
    """A session, whether or not it is valid still."""
    return conn.execute(select(sessions).where(sessions.c.hash == digest)).first()


def take_code(tx: Transaction, digest: str, now: float) -> str | None:
    """The token for which a one-time code stands, if it is valid; it is used up thereby, and so are those of before."""
    row = tx.conn.execute(select(login_codes).where(login_codes.c.hash == digest)).first()
    tx.conn.execute(delete(login_codes).where(or_(login_codes.c.hash == digest, login_codes.c.expires_at < now)))
    return None if row is None or row.expires_at < now else str(row.token_id)


def add_audited(conn: Connection, fields: Mapping[str, Any]) -> None:
    """Add a row to the audit log, with the hash of itself and of the row before; in a transaction that writes."""
    last = conn.execute(_LAST_AUDITED).first()
    row = {"seq": 1 if last is None else last.seq + 1, **fields}
    conn.execute(statements.insert_into(audit), row | {"hash": chained("" if last is None else last.hash, row)})


def chained(before: str, row: Mapping[str, Any]) -> str:
    """The hash of a row of the audit log, which covers the hash `before` and so every row before it."""
    said = json.dumps({name: row[name] for name in AUDITED}, sort_keys=True)
    return hashlib.sha256(f"{before}\n{said}".encode()).hexdigest()


def audit_page(conn: Connection, limit: int, before: int | None, actor: str | None) -> Sequence[Row[Any]]:
    """A page of the audit log, the newest first, starting before number `before`."""
    query = select(audit).order_by(audit.c.seq.desc()).limit(limit)
    if before is not None:
        query = query.where(audit.c.seq < before)
    return conn.execute(query if actor is None else query.where(audit.c.actor == actor)).all()


def audit_from(conn: Connection, after: int, limit: int) -> Sequence[Row[Any]]:
    """Rows of the audit log in their order, from number `after` on."""
    return conn.execute(select(audit).where(audit.c.seq > after).order_by(audit.c.seq).limit(limit)).all()
