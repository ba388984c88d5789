"""How many replicas each service needed, the most in each five minutes of the last days."""

from collections.abc import Mapping

from godwit.control_plane.store.database import Transaction
from godwit.control_plane.store.schema import metadata
from sqlalchemy import BigInteger, Column, Connection, Float, String, Table, delete, insert, select, update

service_needs = Table(
    "service_needs",
    metadata,
    Column("service_id", String(64), primary_key=True),
    Column("bucket", BigInteger, primary_key=True, autoincrement=False),
    Column("most", Float, nullable=False),
)


def of(conn: Connection, service_id: str, since: int) -> dict[int, float]:
    """The most that it needed by bucket, from bucket `since` on."""
    table = service_needs
    rows = conn.execute(
        select(table.c.bucket, table.c.most).where(table.c.service_id == service_id, table.c.bucket >= since)
    )
    return {row.bucket: row.most for row in rows}


def remember(tx: Transaction, needed: Mapping[str, tuple[int, float]], oldest: int) -> None:
    """Write what services needed, as (bucket, most), and forget what is older than bucket `oldest`."""
    table = service_needs
    for service_id, (bucket, most) in needed.items():
        one = (table.c.service_id == service_id, table.c.bucket == bucket)
        known = tx.conn.execute(select(table.c.most).where(*one)).scalar()
        if known is None:
            tx.conn.execute(insert(table).values(service_id=service_id, bucket=bucket, most=most))
        elif most > known:
            tx.conn.execute(update(table).where(*one).values(most=most))
    tx.conn.execute(delete(table).where(table.c.bucket < oldest))
