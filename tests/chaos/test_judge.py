"""A judge that finds nothing wrong is worth something only if it finds what is."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from godwit.domain.ids import ProviderName
from godwit.scheduler.ledger.accounting import account
from godwit.scheduler.ledger.bills import Bill

from tests.chaos import judge, work
from tests.chaos.clouds import NAMES
from tests.chaos.work import Job, Sort

BILL = Bill("i-1", ProviderName(NAMES[0]), None, 1, 3600.0, False, began_at=100.0, ended_at=160.0)
SORT = Sort("shell", nodes=1, steps=10, step_s=0.1, at_once=1)
JOB = Job("shell-0", SORT, submitted_at=0.0)


class Meter:
    """Clouds of which the first has had one machine, for so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._meters = [{"id": "i-1", "seconds": seconds}]

    def read(self, cloud: str, path: str) -> Any:
        """Its bill."""
        assert path == "v1/billing"
        meters = self._meters if cloud == NAMES[0] else []
        return {"meters": meters, "total_usd": sum(meter["seconds"] for meter in meters)}


def apart(meter_s: float, bills: Sequence[Bill], part: float = 1.0) -> str:
    """What is wrong with the books; only a part of the seconds has a reason."""
    entries = [entry for bill in bills for entry in account(bill, None, 0.0, 1e6)]
    return " ".join(judge.books_of(Meter(meter_s), bills, [replace(e, gpu_s=part * e.gpu_s) for e in entries]).apart)


def test_books_that_agree_are_right_and_any_that_do_not_are_wrong() -> None:
    assert apart(60.0, [BILL]) == ""
    assert "60.0 s in the ledger, 90.0 s on the meter" in apart(90.0, [BILL])
    assert "i-1 is on a meter, and in no bill" in apart(60.0, [])
    assert "i-2 is billed, and on no meter" in apart(60.0, [BILL, replace(BILL, id="i-2")])
    assert "30.000 have a reason" in apart(60.0, [BILL], part=0.5)


def diary(folder: Path, epoch: int, began: float, steps: range) -> None:
    """A process that did a step each second."""
    entries = [{"what": "step", "at": began + number, "step": step} for number, step in enumerate(steps)]
    (folder / f"{epoch}-0-{epoch}.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))


@pytest.mark.parametrize(
    ("began", "second", "saved", "wrong"),
    [
        (20.0, range(5, 11), 5, ""),
        (3.0, range(5, 11), 5, "ran twice at once"),
        (20.0, range(2, 11), 5, "epoch 2 began at 2, though 5 was saved"),
        (20.0, range(5, 9), 5, "never came to its last step"),
    ],
)
def test_a_job_that_runs_twice_or_loses_steps_is_wrong(
    tmp_path: Path, began: float, second: range, saved: int, wrong: str
) -> None:
    diary(tmp_path, 1, 0.0, range(6))
    diary(tmp_path, 2, began, second)
    found = " ".join(judge.ran_once(tmp_path, JOB, {"checkpoints": [{"epoch": 1, "step": saved}]}))
    assert found == wrong or (wrong and wrong in found)


@pytest.mark.parametrize(
    ("sort", "state", "code", "is_right"),
    [
        (SORT, "succeeded", 0, True),
        (SORT, "failed", 137, False),
        (replace(SORT, fails_at=5), "failed", work.OWN_FAULT, True),
        (replace(SORT, fails_at=5), "failed", 137, False),
        (replace(SORT, fails_at=5), "succeeded", 0, False),
        (replace(SORT, cancelled_after_s=1.0), "cancelled", None, True),
        (replace(SORT, cancelled_after_s=1.0), "failed", 1, False),
    ],
)
def test_only_the_end_that_a_job_should_come_to_is_right(
    sort: Sort, state: str, code: int | None, is_right: bool
) -> None:
    assert (work.right_end({"state": state, "exit_code": code}, sort) == "") is is_right
