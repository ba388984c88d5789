"""Which control plane runs the loops of a shard: one row, whose generation rises with each new holder.

No instant is compared: clocks of machines differ. A holder that lives raises `beats`; whoever has seen the row stand
still for long enough, by its own clock, may take it. And a holder that was replaced writes nothing more, because each
of its transactions looks at the generation first.
"""

from dataclasses import dataclass

from godwit.control_plane.store.database import Transaction
from godwit.control_plane.store.schema import metadata
from godwit.domain.errors import StaleWrite
from sqlalchemy import BigInteger, Column, Connection, String, Table, insert, select, update

leases = Table(
    "leases",
    metadata,
    Column("shard", String(64), primary_key=True),
    Column("holder", String(64), nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("beats", BigInteger, nullable=False),
)

NOBODY = ""


class LeaseLost(StaleWrite):
    """Another control plane runs the loops of this shard now; nothing was written."""


@dataclass(frozen=True)
class Leased:
    """Who holds a shard; `NOBODY` after it was given up."""

    holder: str
    generation: int
    beats: int


def find(conn: Connection, shard: str) -> Leased | None:
    """Who holds a shard; None if nobody ever did."""
    row = conn.execute(select(leases).where(leases.c.shard == shard)).first()
    return None if row is None else Leased(row.holder, row.generation, row.beats)


def take(tx: Transaction, shard: str, holder: str, seen: Leased | None) -> Leased:
    """Take a shard that is as it was `seen`. Raises `StaleWrite` when it is not, or when another one was first."""
    if find(tx.conn, shard) != seen:
        raise StaleWrite(f"the lease of {shard} was renewed or taken meanwhile")
    taken = Leased(holder, 1 if seen is None else seen.generation + 1, 0)
    values = {"holder": taken.holder, "generation": taken.generation, "beats": 0}
    if seen is None:
        tx.conn.execute(insert(leases).values(shard=shard, **values))
        return taken
    is_it = (leases.c.shard == shard, leases.c.generation == seen.generation, leases.c.beats == seen.beats)
    if tx.conn.execute(update(leases).where(*is_it).values(**values)).rowcount != 1:
        raise StaleWrite(f"the lease of {shard} was renewed or taken meanwhile")
    return taken


def renew(tx: Transaction, shard: str, generation: int) -> None:
    """Say that its holder lives. Raises `LeaseLost`."""
    is_it = (leases.c.shard == shard, leases.c.generation == generation)
    if tx.conn.execute(update(leases).where(*is_it).values(beats=leases.c.beats + 1)).rowcount != 1:
        raise LeaseLost


def give_up(tx: Transaction, shard: str, generation: int) -> None:
    """Let the next one take it at once. Of a lease that is lost already, nothing changes."""
    is_it = (leases.c.shard == shard, leases.c.generation == generation)
    tx.conn.execute(update(leases).where(*is_it).values(holder=NOBODY, beats=leases.c.beats + 1))


def check(conn: Connection, shard: str, generation: int) -> None:
    """To be called in a transaction before it writes. Raises `LeaseLost`."""
    now = conn.execute(select(leases.c.generation).where(leases.c.shard == shard)).scalar()
    if now != generation:
        raise LeaseLost
