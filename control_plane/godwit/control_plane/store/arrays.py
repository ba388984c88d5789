"""Arrays: jobs that were submitted as one. How the jobs of one stand is counted, never kept."""

from collections.abc import Iterable, Sequence
from typing import Any

from godwit.control_plane.store import entities, schema
from godwit.control_plane.store.database import Transaction, batches
from godwit.domain import lifecycle
from godwit.domain.arrays import Array
from godwit.domain.errors import NotFound
from godwit.domain.ids import ArrayId, ProjectId
from godwit.domain.jobs import Job, JobState
from sqlalchemy import Connection, Row, Select, exists, func, insert, select

LIVE_JOBS = tuple(state for state in JobState if not lifecycle.is_final(state))


def add(tx: Transaction, new: Array) -> None:
    """Write an array; its jobs are written by `entities.insert_all` in the same transaction."""
    values = {"id": new.id, "project": new.project, "name": new.name, "size": new.size, "created_at": new.created_at}
    tx.conn.execute(insert(schema.arrays).values(**values))


def find(conn: Connection, name_or_id: str) -> Array | None:
    """An array by id, or the newest array of that name."""
    table = schema.arrays
    row = conn.execute(select(table).where(table.c.id == name_or_id)).first()
    if row is None:
        row = conn.execute(select(table).where(table.c.name == name_or_id).order_by(table.c.id.desc()).limit(1)).first()
    return None if row is None else _from(row)


def get(conn: Connection, name_or_id: str, project: str | None = None) -> Array:
    """As `find`, of this project if one is named. Raises `NotFound`."""
    found = find(conn, name_or_id)
    if found is None or project not in {None, found.project}:
        raise NotFound(f"there is no job or array {name_or_id!r}; `godwit ps -a` lists them all")
    return found


def subject(conn: Connection, name_or_id: str) -> dict[str, str]:
    """Whose events are meant: of a job as `job_id`, or of an array as `array_id`. Raises `NotFound`."""
    table = schema.jobs
    for column in (table.c.id, table.c.name):
        found = conn.execute(select(table.c.id).where(column == name_or_id).order_by(table.c.id.desc()).limit(1))
        job_id = found.scalar()
        if job_id is not None:
            return {"job_id": job_id}
    return {"array_id": get(conn, name_or_id).id}


def page(
    conn: Connection,
    limit: int,
    before: str | None,
    *,
    is_alive: bool | None,
    name: str | None,
    project: str | None = None,
) -> list[Array]:
    """A page of arrays, newest first, starting after id `before`; `is_alive`: with a job that has not ended."""
    table = schema.arrays
    query = select(table).order_by(table.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(table.c.id < before)
    if name is not None:
        query = query.where(table.c.name == name)
    if project is not None:
        query = query.where(table.c.project == project)
    if is_alive is not None:
        lives = exists().where(schema.jobs.c.array_id == table.c.id, schema.jobs.c.state.in_(LIVE_JOBS))
        query = query.where(lives if is_alive else ~lives)
    return [_from(row) for row in conn.execute(query)]


def states(conn: Connection, array_ids: Iterable[str]) -> dict[str, dict[JobState, int]]:
    """How many jobs of each array are in each state."""
    table = schema.jobs
    counted = select(table.c.array_id, table.c.state, func.count()).group_by(table.c.array_id, table.c.state)
    found: dict[str, dict[JobState, int]] = {}
    for some in batches(array_ids):
        for array_id, state, count in conn.execute(counted.where(table.c.array_id.in_(some))):
            found.setdefault(array_id, {})[JobState(state)] = count
    return found


def jobs(conn: Connection, array_id: str, of_states: Sequence[JobState], limit: int | None = None) -> list[Job]:
    """Jobs of an array in some states, by their number."""
    table = schema.jobs
    query = select(table).where(table.c.array_id == array_id, table.c.state.in_(of_states))
    query = query.order_by(table.c.array_index).limit(limit)
    return [entities.job_from(row) for row in conn.execute(query)]


def job_ids(array_id: str) -> Select[Any]:
    """The ids of the jobs of an array, as a part of other queries."""
    return select(schema.jobs.c.id).where(schema.jobs.c.array_id == array_id)


def _from(row: Row[Any]) -> Array:
    return Array(ArrayId(row.id), ProjectId(row.project), row.name, row.size, row.created_at)
