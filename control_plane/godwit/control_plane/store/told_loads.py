"""What each control plane heard of how hard GPUs work, for the others on its database: one row for each of them.

A row is replaced as a whole, by the one that it is of; `number` says that it was.
"""

import json
import zlib
from base64 import b85decode, b85encode
from collections.abc import Iterable, Mapping

from godwit.control_plane.store.schema import metadata
from godwit.domain.wire.loads import GpuLoad, NodeLoad
from sqlalchemy import Column, Connection, Float, Integer, String, Table, Text, delete, insert, select, update

told_loads = Table(
    "told_loads",
    metadata,
    Column("replica", String(96), primary_key=True),
    Column("number", Integer, nullable=False),
    Column("written_at", Float, nullable=False),
    Column("data", Text, nullable=False),
)

KEPT_S = 3_600.0
"""Rows of control planes that are gone are dropped after an hour. Nobody reads them before: they do not change."""

Told = Mapping[str, tuple[float, NodeLoad]]
"""By node how many seconds ago it told what."""


def put(conn: Connection, replica: str, told: Told, now: float) -> None:
    """Replace what a control plane heard."""
    table = told_loads
    data = packed(told)
    changed = conn.execute(
        update(table).where(table.c.replica == replica).values(number=table.c.number + 1, written_at=now, data=data)
    )
    if not changed.rowcount:
        conn.execute(insert(table).values(replica=replica, number=1, written_at=now, data=data))
        conn.execute(delete(table).where(table.c.written_at < now - KEPT_S))


def numbers(conn: Connection) -> dict[str, int]:
    """By control plane which writing of its row this is."""
    return {row.replica: row.number for row in conn.execute(select(told_loads.c.replica, told_loads.c.number))}


def get(conn: Connection, replicas: Iterable[str]) -> dict[str, Told]:
    """What these control planes heard."""
    table = told_loads
    rows = conn.execute(select(table.c.replica, table.c.data).where(table.c.replica.in_(sorted(replicas))))
    return {row.replica: unpacked(row.data) for row in rows}


def forget(conn: Connection, replica: str) -> None:
    """A control plane ends."""
    conn.execute(delete(told_loads).where(told_loads.c.replica == replica))


def packed(told: Told) -> str:
    """As text: some 20 bytes for each GPU."""
    rows = [
        [node_id, round(age_s, 1), round(load.read_at, 1),
         [[g.index, g.busy_percent, g.memory_percent, g.power_watts, g.attempt_id] for g in load.gpus]]
        for node_id, (age_s, load) in told.items()
    ]  # fmt: skip
    return b85encode(zlib.compress(json.dumps(rows, separators=(",", ":")).encode(), 1)).decode()


def unpacked(data: str) -> Told:
    """What `packed` made a text of. It is believed: only control planes write it."""
    rows = json.loads(zlib.decompress(b85decode(data)))
    return {
        node_id: (age_s, NodeLoad.model_construct(read_at=read_at, gpus=[_gpu(*of) for of in gpus]))
        for node_id, age_s, read_at, gpus in rows
    }


def _gpu(index: int, busy: float, memory: float | None, watts: float | None, attempt_id: str | None) -> GpuLoad:
    return GpuLoad.model_construct(
        index=index, busy_percent=busy, memory_percent=memory, power_watts=watts, attempt_id=attempt_id
    )
