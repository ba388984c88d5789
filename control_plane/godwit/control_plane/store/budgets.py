"""Budgets of projects, which of their shares were passed, and whose is spent."""

from collections.abc import Mapping, Sequence
from typing import Any

from godwit.control_plane.store import schema
from godwit.control_plane.store.database import Transaction
from godwit.control_plane.store.ledger_tables import budget_alerts, budgets
from godwit.domain import lifecycle
from godwit.domain.jobs import JobState
from godwit.scheduler.ledger.budgets import STOP, STOP_NEW, WARN, Budget, month_of
from sqlalchemy import Connection, and_, delete, insert, or_, select, update

_FINAL = tuple(state for state in JobState if lifecycle.is_final(state))


_STOPPING = select(budgets.c.project, budgets.c.on_spent).where(budgets.c.on_spent.in_((STOP_NEW, STOP)))
"""Asked with every plan, so that it is built once."""


def of_projects(conn: Connection) -> Sequence[Any]:
    """Every project's budget: project, usd, on_spent, set_by, set_at."""
    return conn.execute(select(budgets).order_by(budgets.c.project)).all()


def of_jobs(conn: Connection) -> Sequence[Any]:
    """Jobs with a budget that have not ended: id, name, project, budget_usd, created_at."""
    table = schema.jobs
    columns = (table.c.id, table.c.name, table.c.project, table.c.budget_usd, table.c.created_at)
    of = (table.c.budget_usd.is_not(None), table.c.state.not_in(_FINAL))
    return conn.execute(select(*columns).where(*of).order_by(table.c.id)).all()


def replace(tx: Transaction, project: str, usd: float | None, on_spent: str, actor: str, now: float) -> None:
    """Set a project's budget, None for none. Shares that are not passed of the new one may be told of again."""
    if usd is None:
        tx.conn.execute(delete(budgets).where(budgets.c.project == project))
    else:
        values = {"usd": usd, "on_spent": on_spent, "set_by": actor[:64], "set_at": now}
        if not tx.conn.execute(update(budgets).where(budgets.c.project == project).values(values)).rowcount:
            tx.conn.execute(insert(budgets).values(project=project, **values))
    forgotten = [budget_alerts.c.subject == "project", budget_alerts.c.key == project]
    if usd is not None:
        forgotten.append(budget_alerts.c.spent_usd < budget_alerts.c.share * usd)
    tx.conn.execute(delete(budget_alerts).where(*forgotten))


def alerts(conn: Connection, subject: str, key: str, since: float) -> list[float]:
    """The shares that were told of."""
    table = budget_alerts
    of = (table.c.subject == subject, table.c.key == key, table.c.since == since)
    return [row.share for row in conn.execute(select(table.c.share).where(*of).order_by(table.c.share))]


def add_alert(tx: Transaction, budget: Budget, share: float, now: float) -> bool:
    """A share was passed; False when that is known already."""
    if share in alerts(tx.conn, budget.subject, budget.key, budget.since):
        return False
    row = {
        "subject": budget.subject, "key": budget.key, "since": budget.since, "share": share, "budget_usd": budget.usd,
        "spent_usd": budget.spent_usd, "at": now,
    }  # fmt: skip
    tx.conn.execute(insert(budget_alerts).values(row))
    return True


def spent(conn: Connection, now: float) -> Mapping[str, str]:
    """Why nothing new starts of projects and jobs (by name or id) whose budget is spent and says so."""
    policies = {row.project: row.on_spent for row in conn.execute(_STOPPING)}
    if not policies:
        return {}
    table, jobs = budget_alerts, schema.jobs
    whole = and_(table.c.share == 1.0, or_(table.c.subject == "job", table.c.since == month_of(now)))
    query = select(table, jobs.c.project).outerjoin_from(table, jobs, jobs.c.id == table.c.key).where(whole)
    found = {}
    for row in conn.execute(query):
        on_spent = policies.get(row.key if row.subject == "project" else row.project or "", WARN)
        budget = Budget(row.subject, row.key, row.budget_usd, row.spent_usd, row.since, on_spent)
        if budget.stops_new:
            found[row.key] = budget.why_not()
    return found


def live_job_ids(conn: Connection, project: str) -> list[str]:
    """A project's jobs that have not ended."""
    table = schema.jobs
    query = select(table.c.id).where(table.c.project == project, table.c.state.not_in(_FINAL)).order_by(table.c.id)
    return [str(row.id) for row in conn.execute(query)]
