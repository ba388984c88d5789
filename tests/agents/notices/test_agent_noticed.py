"""A real agent that is sent SIGTERM: on a spot machine that is the machine's end, elsewhere only its own."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from godwit.domain.wire.agents import StartAttempt

from tests.agents.conftest import FakeControlPlane, Machine

STAND_IN = Path(__file__).parents[2] / "network" / "stand_in_ray.py"
SPOT = {"GODWIT_SPOT": "1", "GODWIT_NOTICE_S": "3600"}
LONG_S = 90.0

SAVES = 'trap "echo saved; exit 0" TERM; echo began; while :; do sleep 0.1; done'


@pytest.fixture
def image(tmp_path: Path) -> dict[str, str]:
    """A Python beside which stands what stands in for Ray: a cluster starts in no time."""
    for name, words in (("python", sys.executable), ("ray", f"{sys.executable} -S {STAND_IN}")):
        (tmp_path / name).write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        (tmp_path / name).chmod(0o755)
    return {"GODWIT_PYTHON": str(tmp_path / "python")}


def test_a_spot_machine_that_goes_down_lets_its_program_save_and_tells_of_it(
    machines: Callable[..., list[Machine]],
    plane: FakeControlPlane,
    starts: Callable[..., list[StartAttempt]],
    eventually: Callable[..., Any],
    image: dict[str, str],
) -> None:
    (machine,) = machines(1, more={**SPOT, **image})
    (start,) = starts([machine], SAVES)
    plane.order(machine.name, start)
    eventually(lambda: "began" in plane.text("att-1"), LONG_S, "the program")
    assert machine.process is not None
    machine.process.send_signal(signal.SIGTERM)
    assert machine.process.wait(LONG_S) == 1, "who started it starts it again, should the machine stay"
    (notice,) = plane.seen(machine.name, "notice-seen")
    assert notice.source == "sigterm"
    assert 0 < notice.within_s <= 3600
    end = plane.end_of(machine.name)
    assert end is not None
    assert (end.outcome, end.detail) == ("interrupted", "the machine is being shut down")
    assert "saved" in plane.text("att-1")
    eventually(lambda: not machine.processes(), LONG_S, "the end of every process")


def test_an_agent_elsewhere_ends_at_once_and_tells_of_nothing(
    machines: Callable[..., list[Machine]], plane: FakeControlPlane
) -> None:
    (machine,) = machines(1)
    assert machine.process is not None
    machine.process.send_signal(signal.SIGTERM)
    assert machine.process.wait(LONG_S) == -signal.SIGTERM
    assert plane.seen(machine.name, "notice-seen") == []
