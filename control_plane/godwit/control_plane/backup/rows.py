"""Tables as lines of JSON, the same for both databases: what one wrote the other reads."""

import json
from collections.abc import Iterable
from itertools import islice
from typing import IO

from sqlalchemy import Connection, Integer, MetaData, Table, func, insert, select, text

BATCH = 1_000
VERSIONS = "alembic_version"
"""Alembic's own table: migrations write it."""


def reflected(conn: Connection) -> MetaData:
    """The tables as this database has them, whatever revision it is at."""
    found = MetaData()
    found.reflect(conn)
    return found


def tables(found: MetaData) -> list[Table]:
    """Those that hold state, by name."""
    return [found.tables[name] for name in sorted(found.tables) if name != VERSIONS]


def write(conn: Connection, table: Table, file: IO[bytes]) -> int:
    """Write every row of a table as a line; returns how many. The order is that of the primary key."""
    count = 0
    rows = conn.execution_options(yield_per=BATCH).execute(select(table).order_by(*table.primary_key.columns))
    for row in rows.mappings():
        file.write(json.dumps(dict(row), ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
        count += 1
    return count


def read(conn: Connection, table: Table, lines: Iterable[bytes]) -> int:
    """Fill an empty table from such lines; returns how many rows it has now."""
    count, rows = 0, (json.loads(line) for line in lines)
    while batch := list(islice(rows, BATCH)):
        conn.execute(insert(table), batch)
        count += len(batch)
    number_on(conn, table)
    return count


def number_on(conn: Connection, table: Table) -> None:
    """Let PostgreSQL number rows from the last one on; SQLite does so by itself."""
    keys = list(table.primary_key.columns)
    if conn.dialect.name != "postgresql" or len(keys) != 1 or not isinstance(keys[0].type, Integer):
        return
    sequence = conn.execute(
        text("SELECT pg_get_serial_sequence(:of, :key)"), {"of": table.name, "key": keys[0].name}
    ).scalar()
    if sequence is not None:
        last = conn.execute(select(func.max(keys[0]))).scalar()
        conn.execute(
            text("SELECT setval(:of, :last, :used)"), {"of": sequence, "last": last or 1, "used": last is not None}
        )
