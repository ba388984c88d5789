"""What projects and jobs held by attempts that have ended: kept when an attempt ends, in the transaction that ends it.

An attempt ends once, since its row is versioned; so what it held is counted once, whoever is killed in between.
"""

import json

from godwit.control_plane.store import schema
from godwit.control_plane.store.database import Transaction
from godwit.domain.ids import ProjectId
from godwit.domain.jobs import Attempt, Job
from godwit.scheduler.asks import Ask
from godwit.scheduler.averages import Average, gpu_s, held_by, spans
from sqlalchemy import Connection, select, update


def count(tx: Transaction, job: Job, attempt: Attempt, half_life_s: float, now: float) -> None:
    """An attempt of `job` ends now: what it held since it began is kept. Not idempotent: write its end beside it.

    All its nodes count until the last of them has stopped, but for those that left it before.
    """
    table, parts = schema.jobs, list(spans(attempt, now))
    served = sum(gpu_s([slot], to - since) for slot, since, to in parts)
    more = table.c.served_gpu_s + served
    tx.conn.execute(update(table).where(table.c.id == job.id).values(served_gpu_s=more))
    projects = schema.projects
    row = tx.conn.execute(select(projects.c.usage).where(projects.c.name == job.project)).first()
    if row is None:
        return  # removed meanwhile: nobody is left whom it could count against
    held, average = held_by(Ask.of(job.spec.resources), 1), _average_from(row.usage)
    for _, since, to in parts:
        average = average.plus(held, since, to, half_life_s)
    tx.conn.execute(update(projects).where(projects.c.name == job.project).values(usage=_text(average)))


_KEPT = select(schema.projects.c.name, schema.projects.c.usage).where(schema.projects.c.usage.is_not(None))


def averages(conn: Connection) -> dict[ProjectId, Average]:
    """What each project held on average by attempts that have ended, as it was kept; none for one without any."""
    return {ProjectId(row.name): _average_from(row.usage) for row in conn.execute(_KEPT)}


def served_gpu_s(conn: Connection, job_id: str) -> float:
    """GPU-seconds that a job got by attempts that have ended."""
    table = schema.jobs
    return float(conn.execute(select(table.c.served_gpu_s).where(table.c.id == job_id)).scalar() or 0.0)


def _average_from(text: str | None) -> Average:
    return Average() if text is None else Average(**json.loads(text))


def _text(average: Average) -> str:
    return json.dumps({"at": average.at, "amounts": dict(average.amounts)})
