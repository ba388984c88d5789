"""How the demo of a job that moves accounts for its steps: by what the training printed."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

DIGITS = Path(__file__).parent.parent.parent / "examples" / "digits"


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The demo's module; a script's folder is its own path."""
    monkeypatch.syspath_prepend(str(DIGITS))
    yield import_module("steps")
    for name in ("steps", "fleet"):
        sys.modules.pop(name, None)


def printed(first: int, last: int, workers: int, attempt: int, total: int = 12) -> list[str]:
    lines = (f"step {each}/{total} loss 0.1000 accuracy 0.9806 workers {workers}" for each in range(first, last + 1))
    return ["Ray tells something", *(f"(TrainController pid=7) {line} attempt {attempt}" for line in lines)]


def test_each_group_of_workers_has_its_stretch_and_what_was_done_again_is_counted(steps: Any) -> None:
    lines = [*printed(1, 5, 2, 1), *printed(4, 7, 4, 1), *printed(6, 8, 3, 1), *printed(9, 12, 3, 2)]
    found = steps.stretches(lines)
    assert [(each.who, str(each)) for each in found] == [
        ("attempt 1 on 2 nodes", "steps 1 to 5"),
        ("attempt 1 on 4 nodes", "steps 4 to 7, 2 of them again"),
        ("attempt 1 on 3 nodes", "steps 6 to 8, 2 of them again"),
        ("attempt 2 on 3 nodes", "steps 9 to 12"),
    ]


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (printed(1, 5, 2, 1) + printed(7, 12, 2, 1), "step 7 was done after step 5"),
        (printed(1, 11, 2, 1), "11 of 12 steps were done"),
        (["nothing"], "0 of 0 steps were done"),
    ],
)
def test_a_step_that_nobody_did_is_an_error(steps: Any, lines: list[str], why: str) -> None:
    with pytest.raises(Exception, match=why):
        steps.stretches(lines)
