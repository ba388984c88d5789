"""Whole-system bad days: the control plane dies, an agent's machine dies, the person at the terminal leaves."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.end_to_end.conftest import System, serving, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.ray, pytest.mark.xdist_group("ray"), pytest.mark.timeout(540)]

START_S = 120.0
"""From the command to the program's first word, on a machine that is busy."""

THREE_GATES = """
for i in 1 2 3; do echo line $i; until [ -e {folder}/gate-$i ]; do sleep 0.1; done; done; echo line 4
"""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One control plane and one fleet live through all of it."""
    with serving(tmp_path_factory.mktemp("bad-days") / "home") as system:
        yield system


def _job(system: System, name: str) -> Any:
    return system.read("explain", name)["job"]


def test_a_control_plane_that_is_killed_and_started_again_changes_nothing(system: System, tmp_path: Path) -> None:
    follower = system.start("run", "-y", "--name", "steady", "--", THREE_GATES.format(folder=tmp_path))
    wait_for("its output", START_S, lambda: "line 1" in system.godwit("logs", "steady").stdout)
    before = _job(system, "steady")
    (tmp_path / "gate-1").touch()
    os.kill(system.pid(), signal.SIGKILL)
    (tmp_path / "gate-2").touch()  # what it says while nobody serves is not lost
    assert system.godwit("up", "--detach").returncode == 0
    assert _job(system, "steady")["state"] == before["state"] == "running"
    (tmp_path / "gate-3").touch()
    out, err = follower.communicate(timeout=START_S)
    assert follower.returncode == 0, err
    assert out.splitlines() == [f"line {number}" for number in range(1, 5)]
    after = _job(system, "steady")
    assert after["state"] == "succeeded"
    assert (after["epoch"], after["interruptions"]) == (before["epoch"], before["interruptions"])


def test_ctrl_c_leaves_the_job_running_and_cancel_ends_it(system: System) -> None:
    follower = system.start("run", "-y", "--name", "left", "--", "sleep 600")
    wait_for("the start", START_S, lambda: _has(system, "left") and _job(system, "left")["state"] == "running")
    follower.send_signal(signal.SIGINT)
    _out, err = follower.communicate(timeout=30)
    assert follower.returncode == 0
    assert "godwit logs -f left" in err
    assert _job(system, "left")["state"] == "running"
    assert system.godwit("cancel", "left").returncode == 0
    wait_for("its end", 60, lambda: _job(system, "left")["state"] == "cancelled")


def test_whoever_follows_a_job_that_is_cancelled_learns_it_by_the_exit_code(system: System) -> None:
    follower = system.start("run", "-y", "--name", "cancelled", "--", "sleep 600")
    wait_for("the submission", 60, lambda: _has(system, "cancelled"))
    assert system.godwit("cancel", "cancelled").returncode == 0
    follower.communicate(timeout=60)
    assert follower.returncode == 130


def _has(system: System, name: str) -> bool:
    return any(job["name"] == name for job in system.read("ps"))


def test_a_job_goes_on_elsewhere_when_its_machines_processes_are_killed(system: System, tmp_path: Path) -> None:
    # The first time it waits for ever; the next time it sees that it was here before, and ends well.
    been_here = tmp_path / "been-here"
    run = f"if [ -e {been_here} ]; then echo went on; else touch {been_here}; echo first; sleep 600; fi"
    follower = system.start("run", "-y", "--name", "moved", "--gpus", "H100:1", "--", run)
    wait_for("its output", START_S, lambda: "first" in system.godwit("logs", "moved").stdout)
    nodes = system.read("nodes")
    address = next(node["address"] for node in nodes if any(gpu["attempt_id"] for gpu in node["gpus"]))
    machine = [process for process in psutil.process_iter() if _address_of(process) == address]
    assert machine
    for process in machine:
        with suppress(psutil.NoSuchProcess):  # one that ended with its parent
            process.kill()
    out, err = follower.communicate(timeout=2 * START_S)
    assert follower.returncode == 0, err
    assert "went on" in out


def _address_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("GODWIT_NODE_ADDRESS")
    except psutil.Error:
        return None
