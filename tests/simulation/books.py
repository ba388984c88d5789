"""The ledger of a world, looked at while everything goes wrong: what is closed stays, and is all that bills say."""

from collections import defaultdict

import pytest
from godwit.control_plane.store import bills, ledger_days
from godwit.control_plane.store.database import Database
from godwit.control_plane.store.ledger_tables import bills as bills_table
from godwit.control_plane.store.ledger_tables import ledger_days as days_table
from godwit.control_plane.store.ledger_tables import ledger_hours
from godwit.scheduler.ledger.bills import Bill
from sqlalchemy import Connection, select

from tests.simulation.invariants import Violation

Machine = tuple[str, str]
"""A provider, and its name for the machine."""

Parts = dict[tuple[float, str, str, str], tuple[float, float]]
"""(hour, job, reason, how) -> GPU-seconds and dollars."""


def _close(one: float, other: float) -> bool:
    return one == pytest.approx(other, rel=1e-6, abs=1e-6)


class Books:
    """What was closed when it was looked at last."""

    def __init__(self) -> None:
        self._seen: dict[Machine, tuple[float | None, Parts]] = {}
        self.changed = 0

    def forget(self) -> None:
        """The database is an older one."""
        self._seen.clear()

    def check(self, database: Database) -> None:
        """Compare with what is closed now. Raises `Violation`."""
        with database.read() as conn:
            posted = {(str(one.bill.provider), str(one.bill.id)): one for one in _postings(conn)}
            hours = _hours(conn)
            _check_days(conn, hours)
        stray = hours.keys() - posted.keys()
        if stray:
            raise Violation(f"hours are closed of machines without a bill: {stray}")
        for machine, was in posted.items():
            _check_whole(was.bill, was.posted_until, hours[machine])
            ended_at, before = self._seen.get(machine, (was.bill.ended_at, Parts()))
            if ended_at == was.bill.ended_at and not before.items() <= hours[machine].items():
                raise Violation(f"closed hours of {machine} were {before} and are {hours[machine]}")
            self.changed += ended_at != was.bill.ended_at
            self._seen[machine] = was.bill.ended_at, hours[machine]


def _postings(conn: Connection) -> list[bills.Posting]:
    return [bills.Posting(bills.bill_from(row), row.posted_until) for row in conn.execute(select(bills_table))]


def _hours(conn: Connection) -> dict[Machine, Parts]:
    found: dict[Machine, Parts] = defaultdict(dict)
    for row in conn.execute(select(ledger_hours)):
        found[row.provider, row.bill_id][row.hour, row.job_id, row.reason, row.how] = row.gpu_s, row.usd
    return found


def _check_whole(bill: Bill, posted_until: float, parts: Parts) -> None:
    """Each second of the closed hours of a machine has one account."""
    if any(hour >= posted_until for hour, *_ in parts):
        raise Violation(f"{bill.id} has closed hours after {posted_until:.0f}: {parts}")
    closed_s = max(0.0, min(bill.paid_until, posted_until) - bill.began_at)
    gpu_s, usd = sum(part[0] for part in parts.values()), sum(part[1] for part in parts.values())
    if not _close(gpu_s, closed_s * bill.gpu_count):
        raise Violation(f"{bill.id}: {gpu_s} GPU-seconds of {bill.gpu_count} GPUs in {closed_s} s")
    if not _close(usd, closed_s * bill.price_usd_per_hour / 3600):
        raise Violation(f"{bill.id}: ${usd} in {closed_s} s at ${bill.price_usd_per_hour}/h")


def _check_days(conn: Connection, hours: dict[Machine, Parts]) -> None:
    """A summed day is the sum of its hours."""
    until = ledger_days.summed_until(conn)
    wanted: dict[tuple[float, str], float] = defaultdict(float)
    for (provider, _), parts in hours.items():
        for (hour, *_), (_, usd) in parts.items():
            if hour < until:
                wanted[ledger_days.day_of(hour), provider] += usd
    found: dict[tuple[float, str], float] = defaultdict(float)
    for row in conn.execute(select(days_table).where(days_table.c.day < until)):
        found[row.day, row.provider] += row.usd
    for key in wanted.keys() | found.keys():
        if not _close(wanted[key], found[key]):
            raise Violation(f"the day {key} has ${found[key]}, and its hours have ${wanted[key]}")
