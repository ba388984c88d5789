"""Whole-system bad days: the control plane dies, an agent's machine dies, the person at the terminal leaves."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.end_to_end.conftest import System, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.ray, pytest.mark.xdist_group("ray"), pytest.mark.timeout(540)]

COUNT = "for i in 1 2 3 4 5 6; do echo line $i; sleep 2; done"


def _state(system: System, job: str) -> str:
    return str(system.read("explain", job)["job"]["state"])


def test_a_control_plane_that_is_killed_and_started_again_changes_nothing(system: System) -> None:
    follower = system.start("run", "-y", "--name", "steady", "--", COUNT)
    wait_for("the start", 60, lambda: (found := system.read("ps")) and found[0]["state"] == "running")
    before = system.read("ps")[0]
    os.kill(system.pid(), signal.SIGKILL)
    assert system.godwit("up", "--detach").returncode == 0
    out, err = follower.communicate(timeout=90)
    assert follower.returncode == 0, err
    assert out.splitlines() == [f"line {number}" for number in range(1, 7)]
    after = system.read("ps")[0]
    assert after["state"] == "succeeded"
    assert (after["epoch"], after["interruptions"]) == (before["epoch"], before["interruptions"])


def test_ctrl_c_leaves_the_job_running_and_cancel_ends_it(system: System) -> None:
    follower = system.start("run", "-y", "--name", "left", "--", "sleep 600")
    wait_for("the start", 60, lambda: (found := system.read("ps")) and found[0]["state"] == "running")
    follower.send_signal(signal.SIGINT)
    _out, err = follower.communicate(timeout=30)
    assert follower.returncode == 0
    assert "godwit logs -f left" in err
    assert _state(system, "left") == "running"
    second = system.start("run", "-y", "--name", "cancelled", "--infra", "sim-cascade", "--", "sleep 600")
    wait_for("the second start", 60, lambda: _has(system, "cancelled") and _state(system, "cancelled") == "running")
    assert system.godwit("cancel", "cancelled").returncode == 0
    second.communicate(timeout=60)
    assert second.returncode == 130


def _has(system: System, name: str) -> bool:
    return any(job["name"] == name for job in system.read("ps"))


def test_a_job_goes_on_elsewhere_when_its_machines_processes_are_killed(system: System, tmp_path: Path) -> None:
    # The first time it waits for ever; the next time it sees that it was here before, and ends well.
    been_here = tmp_path / "been-here"
    run = f"if [ -e {been_here} ]; then echo went on; else touch {been_here}; echo first; sleep 600; fi"
    follower = system.start("run", "-y", "--name", "moved", "--gpus", "H100:1", "--", run)
    wait_for("its output", 90, lambda: "first" in system.godwit("logs", "moved").stdout)
    address = next(node["address"] for node in system.read("nodes") if node["gpus"])
    machine = [process for process in psutil.process_iter() if _address_of(process) == address]
    assert machine
    for process in machine:
        with suppress(psutil.NoSuchProcess):  # one that ended with its parent
            process.kill()
    out, err = follower.communicate(timeout=120)
    assert follower.returncode == 0, err
    assert "went on" in out


def _address_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("GODWIT_NODE_ADDRESS")
    except psutil.Error:
        return None
