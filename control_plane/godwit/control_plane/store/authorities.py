"""The authorities that sign certificates of agents, and of control planes towards them: one of each number, for all."""

from dataclasses import dataclass

from godwit.control_plane.envelope import Sealed
from godwit.control_plane.store.database import Transaction
from godwit.control_plane.store.schema import metadata
from sqlalchemy import Column, Connection, Float, Integer, String, Table, Text, insert, select, update

authorities = Table(
    "authorities",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("certificate", Text, nullable=False),
    Column("key_id", String(16), nullable=False),
    Column("wrapped", Text, nullable=False),
    Column("sealed", Text, nullable=False),
    Column("created_at", Float, nullable=False),
)


@dataclass(frozen=True)
class Authority:
    """One of them: its certificate in PEM, and its private key as it lies here."""

    number: int
    certificate: str
    key: Sealed
    created_at: float


def known(conn: Connection) -> list[Authority]:
    """All of them, oldest first; they are few."""
    rows = conn.execute(select(authorities).order_by(authorities.c.number))
    return [
        Authority(row.number, row.certificate, Sealed(row.key_id, row.wrapped, row.sealed), row.created_at)
        for row in rows
    ]


def add(tx: Transaction, authority: Authority) -> None:
    """Write a new one; who has write transactions is alone, so that a number is given once."""
    key = authority.key
    tx.conn.execute(
        insert(authorities).values(
            number=authority.number, certificate=authority.certificate, created_at=authority.created_at,
            key_id=key.key_id, wrapped=key.wrapped, sealed=key.text,
        )
    )  # fmt: skip


def rewrap(tx: Transaction, number: int, key: Sealed) -> None:
    """Write a data key that was wrapped anew."""
    wrapped = {"key_id": key.key_id, "wrapped": key.wrapped}
    tx.conn.execute(update(authorities).where(authorities.c.number == number).values(**wrapped))
