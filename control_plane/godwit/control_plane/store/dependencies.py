"""What jobs wait for. Jobs of one array share one set of dependencies, so that none is counted more than once.

The queue that a plan looks at is a window, and jobs that wait for others must not fill it: `blocked` keeps those out
that no rule of `scheduler.dependencies` would let go. What it lets in is still judged there.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from godwit.control_plane.store import arrays, schema
from godwit.control_plane.store.database import Transaction, batches
from godwit.domain.afters import Dependency, When
from godwit.domain.ids import ProjectId
from godwit.domain.jobs import JobState
from godwit.scheduler.dependencies import Standing
from sqlalchemy import ColumnElement, Connection, Row, Select, exists, insert, or_, select

_BAD_ENDS = (JobState.FAILED, JobState.CANCELLED)


def add(tx: Transaction, set_id: str, dependencies: Sequence[Dependency]) -> None:
    """Write what the jobs with this `after_id` wait for."""
    rows = [{"set_id": set_id, "on_id": d.on, "name": d.name, "wanted": d.when} for d in dependencies]
    tx.conn.execute(insert(schema.dependencies), rows)


def named(conn: Connection, project: ProjectId, name_or_id: str) -> Dependency | None:
    """A job or an array of a project by id, or the newest that has this name."""
    found: list[Row[Any]] = []
    for table in (schema.jobs, schema.arrays):
        columns = select(table.c.id, table.c.name, table.c.created_at).where(table.c.project == project)
        row = conn.execute(columns.where(table.c.id == name_or_id)).first()
        if row is not None:
            return Dependency(row.id, row.name)
        found += conn.execute(columns.where(table.c.name == name_or_id).order_by(table.c.id.desc()).limit(1))
    newest = max(found, key=lambda row: (row.created_at, row.id), default=None)
    return None if newest is None else Dependency(newest.id, newest.name)


def recent_names(conn: Connection, project: ProjectId, limit: int) -> set[str]:
    """Names of the newest jobs and arrays of a project."""
    names: set[str] = set()
    for table in (schema.jobs, schema.arrays):
        newest = select(table.c.name).where(table.c.project == project).order_by(table.c.id.desc()).limit(limit)
        names |= set(conn.execute(newest).scalars())
    return names


def standings(conn: Connection, set_ids: Collection[str]) -> dict[str, tuple[Standing, ...]]:
    """How far everything in these sets is, by set; in order of names."""
    if not set_ids:
        return {}
    table = schema.dependencies
    query = select(table).order_by(table.c.set_id, table.c.name, table.c.on_id)
    rows = [row for some in batches(set_ids) for row in conn.execute(query.where(table.c.set_id.in_(some)))]
    found: dict[str, list[Standing]] = {set_id: [] for set_id in set_ids}
    told = standing_of(conn, [Dependency(row.on_id, row.name, When(row.wanted)) for row in rows])
    for row, standing in zip(rows, told, strict=True):
        found[row.set_id].append(standing)
    return {set_id: tuple(those) for set_id, those in found.items()}


def standing_of(conn: Connection, dependencies: Sequence[Dependency]) -> list[Standing]:
    """How far each of these is, in their order."""
    ids, jobs = {d.on for d in dependencies}, schema.jobs
    query = select(jobs.c.id, jobs.c.state)
    by_job = {r.id: r.state for some in batches(ids) for r in conn.execute(query.where(jobs.c.id.in_(some)))}
    by_array = arrays.states(conn, [i for i in ids if i not in by_job])
    return [
        Standing(d, {JobState(by_job[d.on]): 1} if d.on in by_job else by_array.get(d.on, {}), d.on in by_array)
        for d in dependencies
    ]


def unblocked() -> ColumnElement[bool]:
    """Whether a job waits for nothing that has not ended."""
    after_id = schema.jobs.c.after_id
    return or_(after_id.is_(None), after_id.not_in(_sets_in_use(arrays.LIVE_JOBS)))


def lost(limit: int) -> Select[Any]:
    """Queued jobs for which something that must succeed first did not, whether or not more of it is to come."""
    table = schema.jobs
    sets = _sets_in_use(_BAD_ENDS).where(schema.dependencies.c.wanted == When.SUCCEEDED)
    return select(table).where(table.c.state == JobState.QUEUED, table.c.after_id.in_(sets)).limit(limit)


def _sets_in_use(states: Iterable[JobState]) -> Select[Any]:
    """Sets that queued jobs wait for, with something in one of these states."""
    table, waiting, first = schema.dependencies, schema.jobs.alias("waiting"), schema.jobs.alias("first")
    in_use = select(waiting.c.after_id).where(waiting.c.state == JobState.QUEUED, waiting.c.after_id.is_not(None))
    of_state = first.c.state.in_(list(states))
    return select(table.c.set_id).where(
        table.c.set_id.in_(in_use.distinct()),
        or_(
            exists().where(first.c.id == table.c.on_id, of_state),
            exists().where(first.c.array_id == table.c.on_id, of_state),
        ),
    )
