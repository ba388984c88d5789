"""How hard GPUs worked: minutes, kept for two days, and hours, kept for a quarter, of each job on each node.

A minute is written once; an hour is made from its minutes once they are closed, so that twice is once.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from godwit.control_plane.loads import Key, Sums
from godwit.control_plane.store import queries, schema, writes
from godwit.control_plane.store.database import Transaction, batches
from godwit.control_plane.store.schema import metadata
from godwit.scheduler.idle_jobs import BUSY_PERCENT
from pydantic_core import from_json
from sqlalchemy import Column, Connection, Float, Index, Integer, String, Table, and_, delete, func, insert, select

HOUR_S = 3_600.0
MINUTES_KEPT_S, HOURS_KEPT_S = 2 * 86_400.0, 100 * 86_400.0
"""Minutes for the question what happened last night, hours as long as those of the ledger."""

TOLD = "job.idle"
"""The kind of the event by which the owner of a job is told that its GPUs do nothing."""

_UNTIL = "gpu_hours_until"


def _table(name: str, unit: str) -> Table:
    """Named by the instant at which the minute or hour begins; `samples` counts readings of single GPUs.

    Percent and watts are of one GPU; None where no driver told them.
    """
    return Table(
        name,
        metadata,
        Column(unit, Float, primary_key=True),
        Column("node_id", String(64), primary_key=True),
        Column("job_id", String(64), primary_key=True),
        Column("gpus", Integer, nullable=False),
        Column("samples", Integer, nullable=False),
        Column("busy_mean", Float, nullable=False),
        Column("busy_max", Float, nullable=False),
        Column("memory_mean", Float),
        Column("memory_max", Float),
        Column("watts_mean", Float),
        Column("watts_max", Float),
        Index(None, "job_id", unit),
        sqlite_with_rowid=False,
    )


gpu_minutes = _table("gpu_minutes", "minute")
gpu_hours = _table("gpu_hours", "hour")


@dataclass(frozen=True)
class Worked:
    """What the GPUs of a job did over some minutes, of which that many are known, summed over its nodes.

    Percent of one GPU.
    """

    node_minutes: int
    busy_mean: float
    busy_max: float

    @property
    def is_busy(self) -> bool:
        """Whether any of them did anything."""
        return self.busy_max >= BUSY_PERCENT


def add_minute(tx: Transaction, minute: float, told: Mapping[Key, Sums]) -> int:
    """Write a minute down, unless it is there; returns the number of rows.

    What a node tells of attempts that it never had counts for nothing.
    """
    jobs = _jobs(tx.conn, {attempt_id for _, attempt_id in told})
    by_job: dict[Key, Sums] = defaultdict(Sums)
    for (node_id, attempt_id), sums in told.items():
        job_id, nodes = jobs.get(attempt_id, ("", frozenset()))
        if node_id in nodes:
            by_job[node_id, job_id].merge(sums)
    table = gpu_minutes
    there = {
        (row.node_id, row.job_id)
        for row in tx.conn.execute(select(table.c.node_id, table.c.job_id).where(table.c.minute == minute))
    }
    rows = [{"minute": minute, **_row(key, sums)} for key, sums in by_job.items() if key not in there]
    if rows:
        tx.conn.execute(insert(table), rows)
    return len(rows)


def sum_next(tx: Transaction, edge: float) -> bool:
    """Make the next hour whose minutes are all closed (before `edge`) from them; False when there is none."""
    minutes, hours = gpu_minutes, gpu_hours
    told = queries.meta(tx.conn, _UNTIL)
    first = tx.conn.execute(select(func.min(minutes.c.minute)).where(minutes.c.minute >= float(told or 0.0))).scalar()
    if first is None or first // HOUR_S * HOUR_S + HOUR_S > edge:
        return False
    hour = first // HOUR_S * HOUR_S
    tx.conn.execute(delete(hours).where(hours.c.hour == hour))
    samples = func.sum(minutes.c.samples)

    def mean(column: Any) -> Any:
        return func.sum(column * minutes.c.samples) / samples

    of_hour = select(
        func.min(minutes.c.minute) * 0 + hour,
        minutes.c.node_id,
        minutes.c.job_id,
        func.max(minutes.c.gpus),
        samples,
        mean(minutes.c.busy_mean),
        func.max(minutes.c.busy_max),
        mean(minutes.c.memory_mean),
        func.max(minutes.c.memory_max),
        mean(minutes.c.watts_mean),
        func.max(minutes.c.watts_max),
    ).where(and_(minutes.c.minute >= hour, minutes.c.minute < hour + HOUR_S))
    names = [column.name for column in hours.columns]
    tx.conn.execute(insert(hours).from_select(names, of_hour.group_by(minutes.c.node_id, minutes.c.job_id)))
    writes.replace_meta(tx, _UNTIL, str(hour + HOUR_S))
    return True


def forget(tx: Transaction, now: float) -> None:
    """Drop what has been kept long enough."""
    tx.conn.execute(delete(gpu_minutes).where(gpu_minutes.c.minute < now - MINUTES_KEPT_S))
    tx.conn.execute(delete(gpu_hours).where(gpu_hours.c.hour < now - HOURS_KEPT_S))


def worked(conn: Connection, since: float) -> dict[str, Worked]:
    """By job what its GPUs did in the minutes from `since` on."""
    table = gpu_minutes
    mean = func.sum(table.c.busy_mean * table.c.samples) / func.sum(table.c.samples)
    query = select(table.c.job_id, func.count(), mean, func.max(table.c.busy_max))
    rows = conn.execute(query.where(table.c.minute >= since).group_by(table.c.job_id))
    return {job_id: Worked(known, busy_mean, busy_max) for job_id, known, busy_mean, busy_max in rows}


def busy_at(conn: Connection, job_id: str) -> float | None:
    """The last minute that is kept in which a GPU of the job did anything."""
    table = gpu_minutes
    of_job = (table.c.job_id == job_id, table.c.busy_max >= BUSY_PERCENT)
    return conn.execute(select(func.max(table.c.minute)).where(*of_job)).scalar()


def told_at(conn: Connection, job_id: str) -> float | None:
    """When the owner of a job was last told that its GPUs do nothing."""
    table = schema.events
    of_job = (table.c.job_id == job_id, table.c.kind == TOLD)
    return conn.execute(select(func.max(table.c.at)).where(*of_job)).scalar()


def _jobs(conn: Connection, attempt_ids: Iterable[str]) -> dict[str, tuple[str, frozenset[str]]]:
    """By attempt its job and the nodes that it has or had."""
    table, found = schema.attempts, {}
    for batch in batches(sorted(attempt_ids)):
        query = select(table.c.id, table.c.job_id, table.c.slots).where(table.c.id.in_(batch))
        for row in conn.execute(query):
            found[row.id] = (row.job_id, frozenset(slot["node_id"] for slot in from_json(row.slots)))
    return found


def _row(key: Key, sums: Sums) -> dict[str, Any]:
    return {
        "node_id": key[0], "job_id": key[1], "gpus": sums.gpus, "samples": sums.busy.count,
        "busy_mean": sums.busy.mean, "busy_max": sums.busy.most,
        "memory_mean": sums.memory.mean, "memory_max": sums.memory.most,
        "watts_mean": sums.watts.mean, "watts_max": sums.watts.most,
    }  # fmt: skip
