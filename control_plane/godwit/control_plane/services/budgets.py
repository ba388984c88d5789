"""Budgets: what is spent of them, who is told when, and what is stopped once one is spent."""

from collections import defaultdict
from collections.abc import Sequence

from godwit.control_plane.context import Context
from godwit.control_plane.services import jobs, ledger_rows
from godwit.control_plane.store import bills, entities, ledger_sums, queries, tenancy
from godwit.control_plane.store import budgets as stored
from godwit.control_plane.store.database import Transaction
from godwit.control_plane.store.ledger_sums import Span
from godwit.domain import lifecycle
from godwit.domain.events import Event
from godwit.domain.wire.costs import BudgetIn, BudgetView, OnBudget
from godwit.scheduler.ledger import budgets
from godwit.scheduler.ledger.budgets import WARN, Budget
from sqlalchemy import Connection

ACTOR = "budgets"


def listed(context: Context, project: str | None = None) -> list[BudgetView]:
    """Every budget, those of projects first; of one project if one is named."""
    now = context.now()
    with context.db.read() as conn:
        names = {row.id: (row.name, row.project) for row in stored.of_jobs(conn)}
        found = [one for one in standing(conn, now) if project in {None, one.key, names.get(one.key, ("", ""))[1]}]
        return [_view(conn, one, names.get(one.key, (one.key, ""))[0], now) for one in found]


def put(context: Context, project: str, wanted: BudgetIn, actor: str) -> BudgetView:
    """Set a project's budget. Raises `NotFound`."""
    usd, then = wanted.budget_usd, wanted.on_spent
    _set(context, project, usd, then, f"project {project} may spend ${usd:,.2f} a month ({then})", actor)
    return next(one for one in listed(context, project) if one.subject == "project")


def remove(context: Context, project: str, actor: str) -> None:
    """Take a project's budget away, if it has one. Raises `NotFound`."""
    _set(context, project, None, WARN, f"project {project} has no budget any more", actor)


def _set(context: Context, project: str, usd: float | None, then: str, reason: str, actor: str) -> None:
    now = context.now()
    with context.db.write() as tx:
        name = tenancy.project(tx.conn, project).name
        stored.replace(tx, name, usd, then, actor, now)
        data = {"budget_usd": usd, "on_spent": then}
        entities.append(tx, Event(now, "budget.set", "project", name, reason, actor, data=data))


def step(context: Context) -> int:
    """Tell of shares that were passed, and stop what is to be stopped; safe to repeat. Returns how many were told."""
    now, told = context.now(), 0
    with context.db.read() as conn:
        found = standing(conn, now)
        new = [(one, budgets.to_tell(one, stored.alerts(conn, one.subject, one.key, one.since))) for one in found]
    for one, shares in new:
        if shares or one.stops_all:
            with context.db.write() as tx:
                told += sum(_tell(tx, one, share, now) for share in shares)
                if one.stops_all:
                    _stop(tx, one, now)
    return told


def standing(conn: Connection, now: float) -> list[Budget]:
    """Every budget with what is spent of it by now: of projects in this month, of jobs that have not ended."""
    of_projects, of_jobs = stored.of_projects(conn), stored.of_jobs(conn)
    if not of_projects and not of_jobs:
        return []
    month = budgets.month_of(now)
    spent: dict[str, float] = defaultdict(float)
    for row in ledger_sums.by_key(conn, "project", Span(month, now)):
        spent[f"project {row.key}"] += row.usd
    for job_id, usd in ledger_sums.of_jobs(conn, [row.id for row in of_jobs]).items():
        spent[f"job {job_id}"] += usd
    pace: dict[str, float] = defaultdict(float)
    for open_row in ledger_rows.still_open(conn, 0.0, now):
        if open_row["hour"] >= month:
            spent[f"project {open_row['project']}"] += open_row["usd"]
        spent[f"job {open_row['job_id']}"] += open_row["usd"]
        if open_row["hour"] >= bills.hour_of(now) - bills.HOUR_S:
            pace[f"project {open_row['project']}"] += open_row["usd"]
            pace[f"job {open_row['job_id']}"] += open_row["usd"]
    past_h = (now - bills.hour_of(now) + bills.HOUR_S) / bills.HOUR_S
    policies = {row.project: row.on_spent for row in of_projects}
    wanted = [("project", row.project, row.usd, month, row.on_spent) for row in of_projects]
    wanted += [("job", row.id, row.budget_usd, row.created_at, policies.get(row.project, WARN)) for row in of_jobs]
    return [
        Budget(subject, key, usd, spent[f"{subject} {key}"], since, on_spent, pace[f"{subject} {key}"] / past_h)
        for subject, key, usd, since, on_spent in wanted
    ]


def _tell(tx: Transaction, budget: Budget, share: float, now: float) -> bool:
    if not stored.add_alert(tx, budget, share, now):
        return False
    data = {"share": share, "budget_usd": budget.usd, "spent_usd": budget.spent_usd, "on_spent": budget.on_spent}
    kind, job_id = ("budget.spent" if share >= 1 else "budget.alert"), budget.key if budget.subject == "job" else None
    entities.append(
        tx, Event(now, kind, budget.subject, budget.key, budget.told(share), ACTOR, job_id=job_id, data=data)
    )
    return True


def _stop(tx: Transaction, budget: Budget, now: float) -> None:
    """End what has not ended, as its owner would: programs are asked first, and their checkpoints stay."""
    reason = f"stopped: {budget.why_not()}"
    if budget.subject == "job":
        found: Sequence[str] = [budget.key]
    else:
        found = stored.live_job_ids(tx.conn, budget.key)
    for job_id in found:
        job = queries.job(tx.conn, job_id)
        if not lifecycle.is_final(job.state):
            jobs.end(tx, job, reason, ACTOR, now)


def _view(conn: Connection, budget: Budget, label: str, now: float) -> BudgetView:
    return BudgetView(
        subject=budget.subject, key=budget.key, label=label, budget_usd=budget.usd, since=budget.since,
        spent_usd=round(budget.spent_usd, 4), usd_per_hour=round(budget.usd_per_hour, 4),
        on_spent=OnBudget(budget.on_spent), ends_at=budget.ends_at(now),
        alerts=stored.alerts(conn, budget.subject, budget.key, budget.since),
    )  # fmt: skip
