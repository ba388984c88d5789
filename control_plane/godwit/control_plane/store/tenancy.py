"""Rows of projects, and what of attempts and queues is read by project."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cache

from godwit.control_plane.store import dependencies, schema
from godwit.control_plane.store.database import Transaction
from godwit.domain.errors import Conflict, NotFound
from godwit.domain.ids import JobId, NodeId, ProjectId
from godwit.domain.jobs import AttemptState, Job, JobState, Outcome
from godwit.domain.projects import Limit, Project
from godwit.scheduler.restarts import COUNTED_MAX
from sqlalchemy import Connection, Row, Select, and_, delete, func, insert, or_, select, update

QUEUE_WINDOW = 200
"""Queued jobs of each project that one plan looks at, the most urgent first. The rest wait behind them whatever is
free, so reading them would be waste; of each project, because one whose quota is used up must not hide the others."""

QUEUE_WINDOW_MAX = 2_000
"""Queued jobs that one plan looks at in all: a snapshot of them is read in about a tenth of a second."""


_PROJECTS = select(schema.projects).order_by(schema.projects.c.name)


def projects(conn: Connection) -> list[Project]:
    """Every project, by name."""
    return [_project(row) for row in conn.execute(_PROJECTS)]


def projects_page(conn: Connection, limit: int, after: str | None) -> list[Project]:
    """A page of projects by name, starting after the name `after`."""
    table = schema.projects
    query = select(table).order_by(table.c.name).limit(limit)
    if after is not None:
        query = query.where(table.c.name > after)
    return [_project(row) for row in conn.execute(query)]


def find(conn: Connection, name: str) -> Project | None:
    """A project by name, if there is one."""
    row = conn.execute(select(schema.projects).where(schema.projects.c.name == name)).first()
    return None if row is None else _project(row)


def project(conn: Connection, name: str) -> Project:
    """A project by name. Raises `NotFound`."""
    found = find(conn, name)
    if found is None:
        raise NotFound(f"there is no project {name!r}; `godwit projects` lists them")
    return found


def count(conn: Connection) -> int:
    """How many projects there are."""
    return conn.execute(select(func.count()).select_from(schema.projects)).scalar_one()


def add(tx: Transaction, new: Project) -> None:
    """Write a new project."""
    tx.conn.execute(insert(schema.projects).values(name=new.name, version=new.version, **_values(new)))


def save(tx: Transaction, changed: Project) -> Project:
    """Write a changed project; returns it with its new version. Raises `Conflict` when another writer was first."""
    table = schema.projects
    statement = update(table).where(table.c.name == changed.name, table.c.version == changed.version)
    if tx.conn.execute(statement.values(version=changed.version + 1, **_values(changed))).rowcount != 1:
        raise Conflict(f"project {changed.name} was changed by somebody else; read it again and repeat")
    return replace(changed, version=changed.version + 1)


def remove(tx: Transaction, name: str) -> None:
    """Forget a project."""
    tx.conn.execute(delete(schema.projects).where(schema.projects.c.name == name))


def jobs_by_state(conn: Connection, states: tuple[JobState, ...]) -> dict[str, dict[str, int]]:
    """How many jobs of each project are in each of these states."""
    table = schema.jobs
    query = select(table.c.project, table.c.state, func.count()).where(table.c.state.in_(states))
    found: dict[str, dict[str, int]] = {}
    for name, state, number in conn.execute(query.group_by(table.c.project, table.c.state)):
        found.setdefault(name, {})[state] = number
    return found


def saved_at(conn: Connection) -> dict[JobId, float]:
    """When each running job last committed a checkpoint in its present attempt."""
    return {row.job_id: row.saved_at for row in conn.execute(_saved_at())}


@cache
def _saved_at() -> Select[tuple[object, ...]]:
    table = schema.attempts
    query = select(table.c.job_id, table.c.saved_at, table.c.saved_bytes)
    return query.where(table.c.state != AttemptState.ENDED, table.c.saved_at.is_not(None))


def saved_bytes(conn: Connection) -> dict[JobId, int]:
    """How large the last checkpoint of each attempt that has not ended is, where it has one."""
    return {row.job_id: row.saved_bytes for row in conn.execute(_saved_at()) if row.saved_bytes is not None}


def yielded_at(conn: Connection) -> dict[JobId, float]:
    """When each job that waits or starts again last gave way to another."""
    return {row.job_id: row.at for row in conn.execute(_yielded_at())}


@cache
def _yielded_at() -> Select[tuple[object, ...]]:
    table, jobs = schema.attempts, schema.jobs
    again = (JobState.RECOVERING, JobState.STARTING, JobState.RUNNING)
    return (
        select(table.c.job_id, func.max(table.c.state_since).label("at"))
        .join_from(table, jobs, table.c.job_id == jobs.c.id)
        .where(jobs.c.state.in_(again), table.c.outcome == Outcome.PREEMPTED)
        .group_by(table.c.job_id)
    )


def stood_on(conn: Connection) -> dict[JobId, tuple[NodeId, ...]]:
    """Where each job that was interrupted stood, in rank order."""
    return {
        row.job_id: tuple(slot["node_id"] for slot in json.loads(row.slots)) for row in conn.execute(_interrupted())
    }


@cache
def _interrupted() -> Select[tuple[object, ...]]:
    table, jobs = schema.attempts, schema.jobs
    last = (table.c.job_id == jobs.c.id) & (table.c.epoch == jobs.c.epoch)
    query = select(table.c.job_id, table.c.slots).join_from(table, jobs, last)
    return query.where(jobs.c.state == JobState.RECOVERING, table.c.state == AttemptState.ENDED)


def failed_starts(conn: Connection) -> dict[JobId, int]:
    """How many of the newest attempts of each interrupted job, in a row, were interrupted before their programs ran."""
    counts: dict[JobId, int] = {}
    over: set[JobId] = set()
    for row in conn.execute(_last_attempts()):
        if not row.failed_start:
            over.add(row.job_id)
        if row.job_id not in over:
            counts[row.job_id] = counts.get(row.job_id, 0) + 1
    return counts


@cache
def _last_attempts() -> Select[tuple[object, ...]]:
    table, jobs = schema.attempts, schema.jobs
    lately = (table.c.job_id == jobs.c.id) & (table.c.epoch > jobs.c.epoch - COUNTED_MAX)
    query = select(table.c.job_id, table.c.failed_start).join_from(table, jobs, lately)
    return query.where(jobs.c.state == JobState.RECOVERING).order_by(table.c.job_id, table.c.epoch.desc())


def waiting_window() -> Select[tuple[object, ...]]:
    """Ids of the queued jobs that a plan looks at: the first of each project, and of these as many as it takes."""
    table = schema.jobs
    order = (table.c.priority.desc(), table.c.created_at)
    place = func.row_number().over(partition_by=table.c.project, order_by=order).label("place")
    ranked = select(table.c.id, table.c.priority, table.c.created_at, place)
    # Who waits for other jobs would fill the window and get nothing.
    first = ranked.where(table.c.state == JobState.QUEUED, dependencies.unblocked()).subquery()
    return (
        select(first.c.id)
        .where(first.c.place <= QUEUE_WINDOW)
        .order_by(first.c.priority.desc(), first.c.place, first.c.created_at)
        .limit(QUEUE_WINDOW_MAX)
    )


def ahead_of_window(conn: Connection, of: Job) -> int:
    """How many queued jobs come before one of their project and are too many for the window of a plan."""
    table = schema.jobs
    earlier = and_(table.c.priority == of.spec.priority, table.c.created_at < of.created_at)
    query = select(func.count()).where(
        table.c.state == JobState.QUEUED, table.c.project == of.project, dependencies.unblocked(),
        or_(table.c.priority > of.spec.priority, earlier),
    )  # fmt: skip
    return max(0, conn.execute(query).scalar_one() - QUEUE_WINDOW)


def _project(row: Row[tuple[object, ...]]) -> Project:
    limits = {name: Limit(**limit) for name, limit in json.loads(row.limits).items()}
    shared = bool(row.shares_nodes)
    return Project(ProjectId(row.name), limits, row.cohort, row.weight, shared, row.created_at, row.version)


def _values(of: Project) -> Mapping[str, object]:
    limits = {name: asdict(limit) for name, limit in sorted(of.limits.items())}
    return {
        "limits": json.dumps(limits), "cohort": of.cohort, "weight": of.weight, "created_at": of.created_at,
        "shares_nodes": of.shares_nodes,
    }  # fmt: skip
