"""What must be true after all of it, from the database, the clouds' own meters and the jobs' diaries."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from godwit.scheduler.ledger.accounting import Entry
from godwit.scheduler.ledger.bills import Bill

from tests.chaos import census, rows
from tests.chaos.clouds import NAMES
from tests.chaos.fleet import Fleet
from tests.chaos.work import Client, Job, right_end
from tests.network import diaries

CLOSE = 1e-6
"""What sums of seconds since 1970 may be off by, as a part of them."""

UNIT_S = 1.0
"""The clouds bill by the second: a machine's seconds may differ by one where instants are rounded on the way."""


class Meters(Protocol):
    """Where clouds tell what is on their meters."""

    def read(self, cloud: str, path: str) -> Any:
        """What a cloud answers."""
        ...


@dataclass(frozen=True)
class Books:
    """The ledger beside the clouds' meters; seconds are of machines. `apart` has what is wrong, machine by machine."""

    machines: int
    ledger_s: float
    metered_s: float
    ledger_usd: float
    metered_usd: float
    apart: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """`wrong` is empty when all is as it must be."""

    wrong: tuple[str, ...]
    books: Books
    audited: int


def is_quiet(fleet: Fleet) -> bool:
    """Whether no machine runs, none is owned, and nothing is owed any more."""
    if any(machine for machine in fleet.clouds.machines()):
        return False
    return rows.asked(fleet.db, lambda _conn: rows.unsettled(fleet.db)) == [] and _is_told(fleet)


def _is_told(fleet: Fleet) -> bool:
    """Whether the ledger knows of each machine when its meter stopped."""
    found = rows.asked(fleet.db, lambda _conn: rows.paid(fleet.db, time.time())[0])
    return found is not None and all(bill.ended_at is not None for bill in found)


def judged(fleet: Fleet, client: Client, jobs: Sequence[Job]) -> Verdict:
    """Look at everything."""
    told = {job.name: client.ask("GET", f"/v1/jobs/{job.name}") for job in jobs}
    wrong = [f"{job.name} {why}" for job in jobs if (why := right_end(told[job.name], job.sort))]
    wrong += _submitted_once(fleet, jobs)
    for job in jobs:
        wrong += ran_once(fleet.diaries / job.name, job, told[job.name])
    wrong += rows.unsettled(fleet.db)
    wrong += [f"machine {machine} of nobody runs" for machine in fleet.clouds.machines()]
    wrong += [f"{one.part} {one.process.pid} of {one.instance_id} lives" for one in census.of(fleet.clouds.mark)]
    books = books_of(fleet.clouds, *rows.paid(fleet.db, time.time()))
    check = client.ask("GET", "/v1/audit/check")
    if not check["is_intact"]:
        wrong.append(f"the audit log is broken at {check['broken_at']}")
    answered = len(jobs) + sum(job.is_cancelled for job in jobs)
    if check["rows"] < answered:
        wrong.append(f"{answered} changes were answered, {check['rows']} are in the audit log")
    return Verdict((*wrong, *books.apart), books, check["rows"])


def _submitted_once(fleet: Fleet, jobs: Sequence[Job]) -> list[str]:
    there, wanted = sorted(rows.names(fleet.db)), sorted(job.name for job in jobs)
    lost, more = set(wanted) - set(there), len(there) - len(set(there))
    return [f"{name} was taken, and is not there" for name in sorted(lost)] + (
        [f"{more} are there twice"] if more else []
    )


def ran_once(folder: Path, job: Job, told: dict[str, Any]) -> list[str]:
    """What its diaries have against a job: two epochs at once, steps lost or never done, a process that lives."""
    lives = diaries.read(folder)
    wrong = [f"{job.name} ran twice at once: {one} and {other}" for one, other in diaries.double_runs(lives)]
    wrong += [f"{job.name}: a process of epoch {epoch} lives" for epoch in diaries.still_alive(folder)]
    if job.sort.ends == "succeeded" and max((life.last_step for life in lives), default=0) < job.sort.steps:
        wrong.append(f"{job.name} succeeded, and never came to its last step")
    for epoch in {life.epoch for life in lives}:
        first = min(
            (life for life in lives if life.epoch == epoch and life.rank == 0),
            key=lambda life: life.began,
            default=None,
        )
        saved = max((one["step"] for one in told["checkpoints"] if one["epoch"] < epoch), default=0)
        if first is not None and first.first_step < saved:
            wrong.append(f"{job.name}: epoch {epoch} began at {first.first_step}, though {saved} was saved")
    return wrong


def books_of(clouds: Meters, bills: Sequence[Bill], entries: Sequence[Entry]) -> Books:
    """Compare the ledger with the meters, machine by machine."""
    meters = {cloud: clouds.read(cloud, "v1/billing") for cloud in NAMES}
    metered = {meter["id"]: meter for bill in meters.values() for meter in bill["meters"]}
    known = {bill.id: bill for bill in bills}
    apart = [f"machine {id_} is on a meter, and in no bill" for id_ in sorted(set(metered) - set(known))]
    apart += [f"machine {id_} is billed, and on no meter" for id_ in sorted(set(known) - set(metered))]
    for id_ in sorted(set(known) & set(metered)):
        seconds, meter_s = known[id_].paid_until - known[id_].began_at, metered[id_]["seconds"]
        if abs(seconds - meter_s) > UNIT_S:
            apart.append(f"machine {id_}: {seconds:.1f} s in the ledger, {meter_s:.1f} s on the meter")
    gpu_s = sum(bill.gpu_count * (bill.paid_until - bill.began_at) for bill in bills)
    sorted_s = sum(entry.gpu_s for entry in entries)
    if abs(gpu_s - sorted_s) > CLOSE * max(gpu_s, 1.0):
        apart.append(f"{gpu_s:.3f} GPU-seconds are paid, {sorted_s:.3f} have a reason")
    return Books(
        len(metered),
        sum(bill.paid_until - bill.began_at for bill in bills),
        sum(meter["seconds"] for meter in metered.values()),
        sum(entry.usd for entry in entries),
        sum(bill["total_usd"] for bill in meters.values()),
        tuple(apart),
    )
