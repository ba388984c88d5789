"""What the fleet cost: closed hours as they were written down, and what is still open worked out anew."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from godwit.control_plane.context import Context
from godwit.control_plane.services import budgets, ledger_rows
from godwit.control_plane.services.ledger_rows import SETTLE_S, Rows
from godwit.control_plane.store import bills, ledger_facts, ledger_sums
from godwit.control_plane.store import services as stored_services
from godwit.control_plane.store.ledger_days import DAY_S, day_of
from godwit.control_plane.store.ledger_sums import Span
from godwit.domain.errors import InvalidRequest, Problem
from godwit.domain.wire.costs import By, CostRow, CostSeries, CostsView, WasteRow
from godwit.scheduler.ledger import extras, waste
from godwit.scheduler.ledger.uses import How, Use
from godwit.scheduler.ledger.waste import Habits, Spent
from sqlalchemy import Connection

WEEK_S = 7 * 86_400.0
"""What is looked at unless somebody says otherwise."""

HOURLY_S = 3 * DAY_S
"""Of longer times than this a series has a point for each day; the first may be a part of one."""

BUCKETS_MAX = 400
"""Points of a series; more than a chart has room for. Longer buckets are taken where there would be more."""


@dataclass
class _Sum:
    """What one key cost."""

    gpu_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    usd: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    spot_usd: float = 0.0
    egress_usd: float = 0.0
    storage_usd: float = 0.0
    tokens: int | None = None

    def add(self, reason: str, gpu_s: float, usd: float, *, spot: bool) -> None:
        """Some seconds of one reason."""
        self.gpu_s[reason] += gpu_s
        self.usd[reason] += usd
        self.spot_usd += usd if spot else 0.0

    @property
    def usd_in_all(self) -> float:
        """Nodes, egress and storage."""
        return sum(self.usd.values()) + self.egress_usd + self.storage_usd


@dataclass(frozen=True)
class Window:
    """What part of time is asked about, and how long the buckets of a series are, in seconds; None: as it suits."""

    since: float | None = None
    until: float | None = None
    bucket_s: float | None = None


def show(
    context: Context,
    by: By,
    asked: Window = Window(),
    limit: int = 100,
    cursor: str | None = None,
    project: str | None = None,
) -> CostsView:
    """Costs between two instants; of one project if one is named. Raises `InvalidRequest`.

    Hours that are closed count whole: `since` goes back to the beginning of its hour, and so does `until` where it lies
    among them.
    """
    now = context.now()
    until = now if asked.until is None else min(asked.until, now)
    since = bills.hour_of(until - WEEK_S if asked.since is None else asked.since)
    if since >= until:
        raise InvalidRequest(problems=[Problem(("since",), "lies after until; name an earlier instant")])
    start = _place_of(cursor)
    with context.db.read() as conn:
        settled = bills.settled_until(conn, bills.hour_of(now - SETTLE_S))
        until = bills.hour_of(until) if until < settled else until
        fresh = [r for r in ledger_rows.still_open(conn, since, until) if project in {None, r["project"]}]
        span = Span(since, until, project)
        sums = _by_key(conn, by, span, fresh)
        jobs = ledger_facts.owners(conn, sums if by is By.JOB else [])
        how = _by_how(conn, span, fresh)
        names = ledger_facts.owners(conn, {job_id for _, _, _, job_id in how if job_id})
        _add_extras(conn, by, since, until, sums, context.store_url, project)
        served = _served(conn, since, until, project, how)
        if by is By.PROJECT:
            _add_tokens(conn, since, until, sums)
        series = _series(conn, span, fresh, asked.bucket_s)
    ordered = sorted(sums.items(), key=lambda item: (-item[1].usd_in_all, item[0]))
    rows = [_row(key, _label(by, key, jobs), of) for key, of in ordered]
    lost = waste.lost(_spent(how, names), _habits(context))
    page = rows[start : start + limit]
    return CostsView(
        by=by, since=since, until=until, settled_until=min(settled, until), total=_total(sums), rows=page,
        next_cursor=str(start + limit) if start + limit < len(rows) else None, series=series,
        waste=[
            WasteRow(
                kind=w.kind, subject=w.subject, usd=round(w.usd, 4), gpu_s=round(w.gpu_s, 1), message=w.message,
                would_avoid=w.would_avoid,
            )
            for w in lost
        ],
        lost_usd=round(sum(w.usd for w in lost), 4), budgets=budgets.listed(context, project),
        usd_per_hour=_pace(context, project, now), services=served,
    )  # fmt: skip


def _place_of(cursor: str | None) -> int:
    if cursor is not None and not cursor.isdecimal():
        raise InvalidRequest(problems=[Problem(("cursor",), "was not given out by this list")])
    return int(cursor or 0)


_KEY: Mapping[By, Callable[[Mapping[str, Any]], str]] = {
    By.PROJECT: lambda row: str(row["project"]),
    By.USER: lambda row: str(row["submitted_by"]),
    By.JOB: lambda row: str(row["job_id"]),
    By.PROVIDER: lambda row: str(row["provider"]),
    By.REASON: lambda row: str(row["reason"]),
}


def _by_key(conn: Connection, by: By, span: Span, fresh: Rows) -> dict[str, _Sum]:
    sums: dict[str, _Sum] = defaultdict(_Sum)
    for row in ledger_sums.by_key(conn, by, span):
        sums[str(row.key)].add(row.reason, row.gpu_s, row.usd, spot=row.spot)
    for one in fresh:
        sums[_KEY[by](one)].add(str(one["reason"]), one["gpu_s"], one["usd"], spot=one["spot"])
    return sums


How4 = tuple[str, str, str, str]
"""Reason, its kind, provider, job."""


def _by_how(conn: Connection, span: Span, fresh: Rows) -> dict[How4, tuple[float, float]]:
    found: dict[How4, tuple[float, float]] = {}
    rows: Iterable[tuple[How4, float, float]] = [
        *(((r.reason, r.how, r.provider, r.job_id), r.gpu_s, r.usd) for r in ledger_sums.by_how(conn, span)),
        *(((str(r["reason"]), str(r["how"]), r["provider"], r["job_id"]), r["gpu_s"], r["usd"]) for r in fresh),
    ]
    for key, gpu_s, usd in rows:
        before = found.get(key, (0.0, 0.0))
        found[key] = (before[0] + gpu_s, before[1] + usd)
    return found


def _spent(how: Mapping[How4, tuple[float, float]], names: Mapping[str, Any]) -> Iterable[Spent]:
    for (reason, kind, provider, job_id), (gpu_s, usd) in how.items():
        name = names[job_id].name if job_id in names else job_id
        yield Spent(Use(reason), How(kind), provider, name, gpu_s, usd)


def _habits(context: Context) -> Habits:
    bounds = context.policy.bounds
    kept = max(bounds.min_nodes, sum(warm.count for warm in bounds.warm))
    return Habits(context.policy.idle_after_s, kept)


def _series(conn: Connection, span: Span, fresh: Rows, bucket_s: float | None) -> CostSeries:
    since, until = span.since, span.until
    unit = bills.HOUR_S if until - since <= HOURLY_S or bucket_s is not None else DAY_S
    least = max(unit, bucket_s or 0.0, (until - since) / BUCKETS_MAX)
    step = -(-least // unit) * unit
    span = replace(span, days=step % DAY_S == 0)
    since = day_of(since) if span.days else since  # the first day may be a part of one
    at = [since + n * step for n in range(int(-((since - until) // step)))]
    usd, gpu_s = (defaultdict[str, list[float]](lambda: [0.0] * len(at)) for _ in range(2))
    rows: Iterable[tuple[float, str, float, float]] = [
        *((r.at, r.reason, r.gpu_s, r.usd) for r in ledger_sums.by_time(conn, span)),
        *((r["hour"], str(r["reason"]), r["gpu_s"], r["usd"]) for r in fresh),
    ]
    for hour, reason, seconds, dollars in rows:
        place = min(len(at) - 1, max(0, int((hour - since) // step)))
        usd[reason][place] += dollars
        gpu_s[reason][place] += seconds
    reasons = [str(use) for use in Use if str(use) in usd]
    rounded = [{r: [round(v, digits) for v in of[r]] for r in reasons} for of, digits in ((usd, 4), (gpu_s, 1))]
    return CostSeries(bucket_s=step, at=at, reasons=reasons, usd=rounded[0], gpu_s=rounded[1])


def _add_extras(
    conn: Connection, by: By, since: float, until: float, sums: dict[str, _Sum], store_url: str, project: str | None
) -> None:
    """Egress of moves, and checkpoints that lie in stores; by job, project or user. Of others they are in the total."""
    moved = ledger_sums.egress(conn, since, until)
    stored = ledger_sums.stored(conn, since, until)
    owners = ledger_facts.owners(conn, {row.job_id for row in (*moved, *stored)})

    def of(job_id: str) -> _Sum | None:
        owner = owners.get(job_id)
        if project is not None and (owner is None or owner.project != project):
            return None
        keys = {
            By.JOB: job_id, By.PROJECT: "" if owner is None else owner.project,
            By.USER: "" if owner is None else owner.submitted_by,
        }  # fmt: skip
        return sums[keys.get(by, "")]

    for row in moved:
        if (one := of(row.job_id)) is not None:
            one.egress_usd += ledger_sums.egress_usd(row.sum)
    for row in stored:
        lay_s = min(until, row.deleted_at or until) - max(since, row.at)
        usd = extras.storage_usd(row.manifest_url or store_url, row.size_bytes, lay_s)
        if usd > 0 and (one := of(row.job_id)) is not None:
            one.storage_usd += usd


def _add_tokens(conn: Connection, since: float, until: float, sums: dict[str, _Sum]) -> None:
    for row in ledger_sums.served(conn, since, until):
        if row.project in sums:
            one = sums[row.project]
            one.tokens = (one.tokens or 0) + row.tokens_in + row.tokens_out


def _served(
    conn: Connection, since: float, until: float, project: str | None, how: Mapping[How4, tuple[float, float]]
) -> list[CostRow]:
    """What each service cost and served, dearest first."""
    names = stored_services.service_of_jobs(conn, {job_id for *_, job_id in how if job_id})
    sums: dict[str, _Sum] = defaultdict(_Sum)
    for (reason, _, _, job_id), (gpu_s, usd) in how.items():
        if job_id in names:
            sums[names[job_id]].add(reason, gpu_s, usd, spot=False)
    for row in ledger_sums.served(conn, since, until):
        if project in {None, row.project}:
            one = sums[f"{row.project}/{row.service}"]
            one.tokens = (one.tokens or 0) + row.tokens_in + row.tokens_out
    ordered = sorted(sums.items(), key=lambda item: (-item[1].usd_in_all, item[0]))
    return [_row(key, key.partition("/")[2], of) for key, of in ordered]


def _label(by: By, key: str, jobs: Mapping[str, Any]) -> str:
    if by is By.JOB and key in jobs:
        return str(jobs[key].name)
    return key or ("the fleet" if by in {By.JOB, By.PROJECT} else "nobody")


def _row(key: str, label: str, of: _Sum) -> CostRow:
    usd = of.usd_in_all
    return CostRow(
        key=key, label=label, usd=round(usd, 4), spot_usd=round(of.spot_usd, 4),
        gpu_s={r: round(of.gpu_s[r], 1) for use in Use if of.gpu_s.get(r := str(use))},
        usd_by_reason={r: round(of.usd[r], 4) for use in Use if of.usd.get(r := str(use))},
        egress_usd=round(of.egress_usd, 4), storage_usd=round(of.storage_usd, 4), tokens=of.tokens,
        usd_per_million_tokens=round(usd / of.tokens * 1e6, 4) if of.tokens else None,
    )  # fmt: skip


def _total(sums: Mapping[str, _Sum]) -> CostRow:
    whole = _Sum()
    for one in sums.values():
        for reason in one.usd:
            whole.add(reason, one.gpu_s[reason], one.usd[reason], spot=False)
        whole.spot_usd += one.spot_usd
        whole.egress_usd += one.egress_usd
        whole.storage_usd += one.storage_usd
        if one.tokens is not None:
            whole.tokens = (whole.tokens or 0) + one.tokens
    return _row("", "all", whole)


def _pace(context: Context, project: str | None, now: float) -> float:
    """Dollars an hour of what is paid for now; of a project, of what it held in the last minutes."""
    with context.db.read() as conn:
        if project is None:
            going = bills.open_until(conn, now)
            paces = [was.bill.price_usd_per_hour for was in going if was.bill.ended_at is None]
            return round(sum(paces), 4)
        rows = ledger_rows.still_open(conn, bills.hour_of(now), now)
    spent = sum(float(row["usd"]) for row in rows if row["project"] == project)
    return round(spent / max(60.0, now - bills.hour_of(now)) * 3600, 4)
