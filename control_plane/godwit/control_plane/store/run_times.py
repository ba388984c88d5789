"""How long jobs ran: what the last of each name took, and what is known of those that are there."""

import json
from collections.abc import Collection, Iterable
from functools import cache
from typing import Any

from godwit.control_plane.store import schema
from godwit.control_plane.store.database import Transaction, batches
from godwit.domain.ids import JobId
from godwit.domain.jobs import AttemptState, Job
from godwit.scheduler.estimates import Past
from sqlalchemy import Connection, Select, bindparam, delete, func, insert, select

KEPT = 5
"""Runs remembered for a name: few enough to follow a program that changes, enough that one odd run is outvoted."""


def remember(tx: Transaction, job: Job, seconds: float) -> None:
    """A job has succeeded after running for so long over all its attempts."""
    table = schema.run_times
    here = (table.c.project == job.project, table.c.name == job.family)
    known = json.loads(tx.conn.execute(select(table.c.seconds).where(*here)).scalar() or "[]")
    tx.conn.execute(delete(table).where(*here))
    kept = json.dumps([*known, round(seconds, 3)][-KEPT:])
    tx.conn.execute(insert(table).values(project=job.project, name=job.family, seconds=kept))


def served_s(conn: Connection, job_ids: Collection[str]) -> dict[str, float]:
    """Seconds that the ended attempts of these jobs held nodes, by job."""
    rows = (row for some in batches(job_ids) for row in conn.execute(_served(), {"of": some}))
    return {job_id: float(seconds) for job_id, seconds in rows}


@cache
def _served() -> Select[Any]:
    table = schema.attempts
    held = func.sum(table.c.state_since - table.c.created_at)
    query = select(table.c.job_id, held).where(table.c.state == AttemptState.ENDED).group_by(table.c.job_id)
    return query.where(table.c.job_id.in_(bindparam("of", expanding=True)))


def pasts(conn: Connection, jobs: Iterable[Job]) -> dict[JobId, Past]:
    """What is known of these jobs from before; those of which nothing is known are left out."""
    jobs = list(jobs)
    earlier = _earlier(conn, {job.family for job in jobs if job.spec.run_time_s is None})
    again = [job.id for job in jobs if job.epoch > 0]
    served = served_s(conn, again)
    resumed = _resumed(conn, [job.id for job in jobs if job.epoch > 1])
    found: dict[JobId, Past] = {}
    for job in jobs:
        past = Past(served.get(job.id, 0.0), earlier.get((job.project, job.family), ()), resumed.get(job.id, 0))
        if past != Past():
            found[job.id] = past
    return found


_EARLIER = select(schema.run_times).where(schema.run_times.c.name.in_(bindparam("names", expanding=True)))


def _earlier(conn: Connection, names: Collection[str]) -> dict[tuple[str, str], tuple[float, ...]]:
    rows = (row for some in batches(names) for row in conn.execute(_EARLIER, {"names": some}))
    return {(row.project, row.name): tuple(json.loads(row.seconds)) for row in rows}


def _resumed(conn: Connection, job_ids: Collection[str]) -> dict[str, int]:
    """The newest step that was committed before the present attempt of each job."""
    rows = (row for some in batches(job_ids) for row in conn.execute(_last_steps(), {"of": some}))
    return {row[0]: row[1] for row in rows}


@cache
def _last_steps() -> Select[Any]:
    table, jobs = schema.checkpoints, schema.jobs
    query = select(table.c.job_id, func.max(table.c.step)).join(jobs, jobs.c.id == table.c.job_id)
    of = table.c.job_id.in_(bindparam("of", expanding=True))
    return query.where(table.c.epoch < jobs.c.epoch, of).group_by(table.c.job_id)
