"""Who may call, and what they did: tokens, the sessions and one-time codes of browsers, and the audit log."""

from godwit.control_plane.store.schema import metadata
from sqlalchemy import BigInteger, Column, Float, Index, Integer, String, Table, Text

# SQLite numbers rows by itself only in a column that is declared INTEGER.
_SEQUENCE = BigInteger().with_variant(Integer(), "sqlite")

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
    # observed
    Column("used_at", Float),
)

# A browser's session speaks for a token: it has that token's role, and ends with it.
sessions = Table(
    "sessions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("hash", String(64), nullable=False, unique=True),
    Column("token_id", String(64), nullable=False, index=True),
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
    Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
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
