"""People who log in with an identity provider, and the commands that wait until one of them lets them in."""

from collections.abc import Sequence
from typing import Any

from godwit.control_plane.store.database import Transaction
from godwit.control_plane.store.schema import metadata
from sqlalchemy import (
    Column,
    Connection,
    Float,
    Row,
    String,
    Table,
    Text,
    UniqueConstraint,
    delete,
    func,
    select,
)

# A person is known by issuer and subject: names and addresses are given to others one day.
users = Table(
    "users",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("issuer", Text, nullable=False),
    Column("subject", String(255), nullable=False),
    # What stories and the audit log call them; nobody else's.
    Column("name", String(64), nullable=False, unique=True),
    Column("email", String(320), nullable=False),
    # As the provider's groups said at the last login.
    Column("role", String(16), nullable=False),
    Column("project", String(64)),
    Column("created_at", Float, nullable=False),
    Column("last_login_at", Float, nullable=False),
    Column("disabled_at", Float),
    UniqueConstraint("issuer", "subject"),
)

# A command that was told a code, until somebody decides, or it is too late.
device_logins = Table(
    "device_logins",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("code", String(16), nullable=False, unique=True),
    Column("client", String(64), nullable=False),
    Column("source", String(64), nullable=False, index=True),
    Column("asked_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("interval_s", Float, nullable=False),
    Column("polled_at", Float),
    # "", approved, denied; and for whom it was approved.
    Column("decision", String(16), nullable=False, server_default=""),
    Column("user_id", String(64)),
    Column("token_id", String(64)),
)


def by_subject(conn: Connection, issuer: str, subject: str) -> Row[Any] | None:
    """The person whom a provider knows under this subject."""
    query = select(users).where(users.c.issuer == issuer, users.c.subject == subject)
    return conn.execute(query).first()


def user(conn: Connection, user_id: str) -> Row[Any] | None:
    """A person by id."""
    return conn.execute(select(users).where(users.c.id == user_id)).first()


def user_named(conn: Connection, name: str) -> Row[Any] | None:
    """A person by the name that stories call them."""
    return conn.execute(select(users).where(users.c.name == name)).first()


def users_page(conn: Connection, limit: int, after: str | None) -> Sequence[Row[Any]]:
    """A page of people, the oldest first, starting after id `after`; with those who are disabled."""
    query = select(users).order_by(users.c.id).limit(limit)
    return conn.execute(query if after is None else query.where(users.c.id > after)).all()


def forget_old_logins(tx: Transaction, now: float) -> None:
    """Remove the codes that are too old."""
    tx.conn.execute(delete(device_logins).where(device_logins.c.expires_at <= now))


def logins_waiting(conn: Connection, source: str) -> tuple[int, int]:
    """How many codes are out in all, and how many of them one address asked for."""
    in_all = conn.execute(select(func.count()).select_from(device_logins)).scalar_one()
    its = select(func.count()).select_from(device_logins).where(device_logins.c.source == source)
    return int(in_all), int(conn.execute(its).scalar_one())


def login_of_device(conn: Connection, digest: str) -> Row[Any] | None:
    """What a command waits for, by the hash of its own code."""
    return conn.execute(select(device_logins).where(device_logins.c.hash == digest)).first()


def login_of_code(conn: Connection, code: str) -> Row[Any] | None:
    """What a command waits for, by the code that a person reads."""
    return conn.execute(select(device_logins).where(device_logins.c.code == code)).first()
