"""A dev environment through the command line, with real processes on simulated clouds: it moves and comes back."""

from pathlib import Path

import pytest

from tests.end_to_end.conftest import System, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("ray"), pytest.mark.timeout(540)]

HAS = 'echo "$(cat ~/link) $(stat -c %a ~/note) $(cat ~/work/code.py)"'


def state(system: System) -> str:
    """Where the newest box stands."""
    return str(system.read("ps", "-a")[0]["state"])


def runs(system: System, script: str) -> str:
    """What a script says in the box."""
    done = system.godwit("exec", "box", "--", "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_box_keeps_its_home_when_it_moves_and_when_it_comes_back(system: System, tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("mine")
    made = system.godwit("dev", "-y", "--gpus", "H100:1", "--workdir", str(tmp_path), keys=["exit 7"])
    assert made.returncode == 7, "a terminal was opened, and the shell's exit code is told"
    runs(system, "echo kept > ~/note; chmod 640 ~/note; ln -s note ~/link")
    (node,) = [one for one in system.read("nodes") if one["state"] == "ready"]
    there = next(name for name in ("sim-aurora", "sim-borealis") if name != node["provider"])
    moved = system.godwit("migrate", "-y", "--to", there, "box")
    assert moved.returncode == 0, moved.stderr
    assert runs(system, HAS) == "kept 640 mine\n"
    assert system.godwit("exec", "box", "--", "sh", "-c", "exit 4").returncode == 4
    assert system.godwit("cancel", "box").returncode == 0
    wait_for("its end", 120, lambda: state(system) == "cancelled")
    back = system.godwit("dev", "-y", keys=["exit"])
    assert back.returncode == 0, back.stderr
    assert runs(system, HAS) == "kept 640 mine\n"
    assert system.read("ps")[0]["gpus"] == "H100:1", "as it was before"
