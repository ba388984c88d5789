"""Sums over closed hours, and over what is kept beside them: tokens of services, checkpoints in stores."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from godwit.control_plane.store import schema
from godwit.control_plane.store.bills import hour_of
from godwit.control_plane.store.database import Transaction
from godwit.control_plane.store.ledger_tables import ledger_hours, served_tokens
from godwit.control_plane.store.moves import migrations
from godwit.domain.migrations import MigrationState
from sqlalchemy import BigInteger, Column, Connection, cast, func, insert, or_, select, update

KEYS: Mapping[str, Column[Any]] = {
    "project": ledger_hours.c.project,
    "user": ledger_hours.c.submitted_by,
    "job": ledger_hours.c.job_id,
    "provider": ledger_hours.c.provider,
    "reason": ledger_hours.c.reason,
}
"""What rows can be summed by, and the column of each."""

_SUMS = (func.sum(ledger_hours.c.gpu_s).label("gpu_s"), func.sum(ledger_hours.c.usd).label("usd"))


def by_key(conn: Connection, by: str, since: float, until: float, project: str | None) -> Sequence[Any]:
    """Sums by key, reason and market between two hours: rows of key, reason, spot, gpu_s, usd."""
    table, key = ledger_hours, KEYS[by].label("key")
    query = select(key, table.c.reason.label("reason"), table.c.spot, *_SUMS).where(*_within(since, until, project))
    return conn.execute(query.group_by(KEYS[by], table.c.reason, table.c.spot)).all()


def by_hour(conn: Connection, since: float, until: float, project: str | None) -> Sequence[Any]:
    """Sums by hour and reason."""
    table = ledger_hours
    query = select(table.c.hour, table.c.reason, *_SUMS).where(*_within(since, until, project))
    return conn.execute(query.group_by(table.c.hour, table.c.reason)).all()


def by_how(conn: Connection, since: float, until: float, project: str | None) -> Sequence[Any]:
    """Sums by reason, its kind, provider and job: from which it is told what was lost."""
    table = ledger_hours
    parts = (table.c.reason, table.c.how, table.c.provider, table.c.job_id)
    return conn.execute(select(*parts, *_SUMS).where(*_within(since, until, project)).group_by(*parts)).all()


def of_jobs(conn: Connection, job_ids: Sequence[str]) -> dict[str, float]:
    """Dollars of each of these jobs in all closed hours."""
    table = ledger_hours
    query = select(table.c.job_id, func.sum(table.c.usd)).where(table.c.job_id.in_(job_ids)).group_by(table.c.job_id)
    return {row[0]: float(row[1]) for row in conn.execute(query)}


def _within(since: float, until: float, project: str | None) -> list[Any]:
    table = ledger_hours
    of = [] if project is None else [table.c.project == project]
    return [table.c.hour >= since, table.c.hour < until, *of]


def served(conn: Connection, since: float, until: float) -> Sequence[Any]:
    """Tokens and requests by project and service between two hours."""
    table = served_tokens
    summed = (table.c.requests, table.c.tokens_in, table.c.tokens_out)
    # PostgreSQL's sum of whole numbers is a decimal.
    counts = [cast(func.sum(column), BigInteger).label(column.name) for column in summed]
    query = select(table.c.project, table.c.service, *counts).where(table.c.hour >= since, table.c.hour < until)
    return conn.execute(query.group_by(table.c.project, table.c.service)).all()


def add_served(
    tx: Transaction, project: str, service: str, requests: int, tokens_in: int, tokens_out: int, now: float
) -> None:
    """Count what a service did; the caller sees to it that each window is told once."""
    table = served_tokens
    key = (table.c.hour == hour_of(now), table.c.project == project, table.c.service == service)
    more = {"requests": requests, "tokens_in": tokens_in, "tokens_out": tokens_out}
    sums = {name: table.c[name] + count for name, count in more.items()}
    if not tx.conn.execute(update(table).where(*key).values(sums)).rowcount:
        tx.conn.execute(insert(table).values(hour=hour_of(now), project=project, service=service, **more))


def egress(conn: Connection, since: float, until: float) -> Sequence[Any]:
    """What moves that were made paid for data that left a provider: rows of job_id and the sum as JSON (`sum`)."""
    table = migrations
    of = (table.c.state == MigrationState.DONE, table.c.state_since >= since, table.c.state_since < until)
    return conn.execute(select(table.c.job_id, table.c.sum).where(*of)).all()


def stored(conn: Connection, since: float, until: float) -> Sequence[Any]:
    """Checkpoints that lay in a store between two instants: job_id, at, deleted_at, size_bytes, manifest_url."""
    table = schema.checkpoints
    columns = (table.c.job_id, table.c.at, table.c.deleted_at, table.c.size_bytes, table.c.manifest_url)
    # One without a time of its end was deleted before that was written down, unless it still is.
    lay = or_(table.c.deleted_at > since, (table.c.deleted_at.is_(None)) & (table.c.manifest_url != ""))
    return conn.execute(select(*columns).where(table.c.at < until, lay)).all()


def egress_usd(sum_text: str) -> float:
    """What the arithmetic of a move says of data that left a provider."""
    return float(json.loads(sum_text).get("egress_usd", 0.0))
