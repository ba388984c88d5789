"""The tables of the ledger: what machines are billed, closed hours, tokens that services made, budgets."""

from godwit.control_plane.store.schema import metadata
from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, String, Table

# A machine that is or was paid for, living node's or not. `is_told`: its provider said when the meter stopped.
# Hours before `posted_until` are in `ledger_hours`; `is_closed` once all of them are.
bills = Table(
    "bills",
    metadata,
    Column("provider", String(64), primary_key=True),
    Column("id", String(255), primary_key=True),
    Column("node_id", String(64)),
    Column("offer_key", String(255), nullable=False),
    Column("gpu_count", Integer, nullable=False),
    Column("price_usd_per_hour", Float, nullable=False),
    Column("spot", Boolean, nullable=False),
    Column("began_at", Float, nullable=False),
    Column("ended_at", Float),
    Column("is_told", Boolean, nullable=False),
    Column("step_s", Float, nullable=False),
    Column("least_s", Float, nullable=False),
    Column("posted_until", Float, nullable=False),
    Column("is_closed", Boolean, nullable=False),
    Index(None, "is_closed", "posted_until"),
    Index(None, "node_id"),
)

# An hour is named by the instant at which it begins.
ledger_hours = Table(
    "ledger_hours",
    metadata,
    Column("hour", Float, primary_key=True),
    Column("provider", String(64), primary_key=True),
    Column("bill_id", String(255), primary_key=True),
    Column("job_id", String(64), primary_key=True),
    Column("reason", String(16), primary_key=True),
    Column("how", String(16), primary_key=True),
    Column("node_id", String(64), nullable=False),
    Column("project", String(64), nullable=False),
    Column("submitted_by", String(64), nullable=False),
    Column("spot", Boolean, nullable=False),
    Column("gpu_s", Float, nullable=False),
    Column("usd", Float, nullable=False),
    Index(None, "provider", "bill_id", "hour"),
    Index(None, "job_id", "hour"),
    # In SQLite rows lie in the order of the key, so that a span of time is read in one go.
    sqlite_with_rowid=False,
)

# Sums of closed hours, without their machines; a day is named by the instant at which it begins.
ledger_days = Table(
    "ledger_days",
    metadata,
    Column("day", Float, primary_key=True),
    Column("provider", String(64), primary_key=True),
    Column("job_id", String(64), primary_key=True),
    Column("reason", String(16), primary_key=True),
    Column("how", String(16), primary_key=True),
    Column("spot", Boolean, primary_key=True),
    Column("project", String(64), nullable=False),
    Column("submitted_by", String(64), nullable=False),
    Column("gpu_s", Float, nullable=False),
    Column("usd", Float, nullable=False),
    Index(None, "job_id", "day"),
    sqlite_with_rowid=False,
)

served_tokens = Table(
    "served_tokens",
    metadata,
    Column("hour", Float, primary_key=True),
    Column("project", String(64), primary_key=True),
    Column("service", String(64), primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("tokens_in", BigInteger, nullable=False),
    Column("tokens_out", BigInteger, nullable=False),
)

# Of projects, for each calendar month; those of jobs are in their specifications.
budgets = Table(
    "budgets",
    metadata,
    Column("project", String(64), primary_key=True),
    Column("usd", Float, nullable=False),
    Column("on_spent", String(16), nullable=False),
    Column("set_by", String(64), nullable=False),
    Column("set_at", Float, nullable=False),
)

# The shares of budgets that were passed, each told once: of a month that began at `since`, of a job once.
budget_alerts = Table(
    "budget_alerts",
    metadata,
    Column("subject", String(16), primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("since", Float, primary_key=True),
    Column("share", Float, primary_key=True),
    Column("budget_usd", Float, nullable=False),
    Column("spent_usd", Float, nullable=False),
    Column("at", Float, nullable=False),
)
