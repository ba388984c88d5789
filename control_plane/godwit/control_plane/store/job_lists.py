"""Pages of jobs: rows without their specifications, newest first."""

from collections.abc import Collection, Sequence
from heapq import merge
from itertools import islice
from typing import Any

from godwit.control_plane.store import schema
from sqlalchemy import Connection, Row, Select, select

_COLUMNS = [column for column in schema.jobs.c if column.name != "spec"]


def page(
    conn: Connection,
    limit: int,
    before: str | None,
    states: Collection[str],
    name: str | None = None,
    array_id: str | None = None,
    *,
    is_single: bool = False,
    project: str | None = None,
) -> Sequence[Row[Any]]:
    """At most `limit` rows, newest first, starting after id `before`; `is_single`: of no array."""
    jobs = schema.jobs.c
    query = select(*_COLUMNS).order_by(jobs.id.desc()).limit(limit)
    if before is not None:
        query = query.where(jobs.id < before)
    if name is not None:
        query = query.where(jobs.name == name)
    if project is not None:
        query = query.where(jobs.project == project)
    if array_id is not None or is_single:
        query = query.where(jobs.array_id == array_id)
    return _of_states(conn, query, limit, set(states))


def _of_states(conn: Connection, query: Select[Any], limit: int, states: set[str]) -> Sequence[Row[Any]]:
    # One state is read in order from its index; several at once would all be read, and sorted.
    if not states:
        return conn.execute(query).all()
    found = [conn.execute(query.where(schema.jobs.c.state == state)).all() for state in states]
    return list(islice(merge(*found, key=lambda row: row.id, reverse=True), limit))
