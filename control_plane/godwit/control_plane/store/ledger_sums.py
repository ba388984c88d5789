"""Sums over closed hours, and over what is kept beside them: tokens of services, checkpoints in stores."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from godwit.control_plane.store import schema
from godwit.control_plane.store.bills import hour_of
from godwit.control_plane.store.database import Transaction, batches
from godwit.control_plane.store.ledger_days import DAY_S, day_of, summed_until
from godwit.control_plane.store.ledger_tables import ledger_days, ledger_hours, served_tokens
from godwit.control_plane.store.moves import migrations
from godwit.domain.migrations import MigrationState
from sqlalchemy import BigInteger, Connection, cast, func, insert, or_, select, update

KEYS: Mapping[str, str] = {
    "project": "project", "user": "submitted_by", "job": "job_id", "provider": "provider", "reason": "reason",
}  # fmt: skip
"""What rows can be summed by, and the column of each."""


@dataclass(frozen=True)
class Span:
    """A part of closed time, whole hours; `project`: only what it owns. Whole days in it are read as such if `days`."""

    since: float
    until: float
    project: str | None = None
    days: bool = True

    def parts(self, conn: Connection) -> Iterator[tuple[Any, Any, list[Any]]]:
        """The tables to read, the column of time of each, and what its rows must fulfil; each hour is in one."""
        first = self.since if self.since == day_of(self.since) else day_of(self.since) + DAY_S
        last = min(day_of(self.until), summed_until(conn)) if self.days else first
        hours, edges = ledger_hours.c.hour, [(self.since, self.until)]
        if first < last:
            edges = [(self.since, first), (last, self.until)]
            yield ledger_days.c, ledger_days.c.day, self._where(ledger_days.c, ledger_days.c.day, first, last)
        for low, high in edges:
            if low < high:
                yield ledger_hours.c, hours, self._where(ledger_hours.c, hours, low, high)

    def _where(self, of: Any, time: Any, low: float, high: float) -> list[Any]:
        return [time >= low, time < high, *([] if self.project is None else [of.project == self.project])]


def by_key(conn: Connection, by: str, span: Span) -> Iterator[Any]:
    """Sums by key, reason and market: rows of key, reason, spot, gpu_s, usd; the same key may come twice."""
    for of, _, where in span.parts(conn):
        keys = (of[KEYS[by]].label("key"), of.reason.label("reason"), of.spot)
        query = select(*keys, *_sums(of)).where(*where)
        yield from conn.execute(query.group_by(of[KEYS[by]], of.reason, of.spot))


def by_time(conn: Connection, span: Span) -> Iterator[Any]:
    """Sums by hour, or day, and reason: rows of at, reason, gpu_s, usd."""
    for of, time, where in span.parts(conn):
        yield from conn.execute(select(time.label("at"), of.reason, *_sums(of)).where(*where).group_by(time, of.reason))


def by_how(conn: Connection, span: Span) -> Iterator[Any]:
    """Sums by reason, its kind, provider and job: from which it is told what was lost; the same may come twice."""
    for of, _, where in span.parts(conn):
        parts = (of.reason, of.how, of.provider, of.job_id)
        yield from conn.execute(select(*parts, *_sums(of)).where(*where).group_by(*parts))


def of_jobs(conn: Connection, job_ids: Sequence[str]) -> dict[str, float]:
    """Dollars of each of these jobs in all closed hours."""
    found: dict[str, float] = {}
    edge = summed_until(conn)
    for batch in batches(job_ids):
        for of, where in ((ledger_days.c, ledger_days.c.day < edge), (ledger_hours.c, ledger_hours.c.hour >= edge)):
            query = select(of.job_id, func.sum(of.usd)).where(of.job_id.in_(batch), where).group_by(of.job_id)
            for job_id, usd in conn.execute(query):
                found[job_id] = found.get(job_id, 0.0) + float(usd)
    return found


def _sums(of: Any) -> tuple[Any, Any]:
    return func.sum(of.gpu_s).label("gpu_s"), func.sum(of.usd).label("usd")


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
