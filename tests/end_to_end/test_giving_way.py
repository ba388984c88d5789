"""A job gives way to a more urgent one on a fleet that is full, and goes on from what it saved when it was told."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.conftest import System, serving, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.ray, pytest.mark.xdist_group("ray"), pytest.mark.timeout(540)]

SMALL = """
providers: [{kind: simulated, name: sim-aurora}]
fleet: {max_nodes: 1}
scheduling: {preemption: priority, min_run_s: 0}
"""

PATIENT = """
if [ -n "$GODWIT_RESTORED_CHECKPOINT" ]; then echo "went on from $(cat $GODWIT_RESTORED_CHECKPOINT)"; exit 0; fi
cd $GODWIT_CHECKPOINT_DIR
trap 'echo what was saved > .7.tmp; mv .7.tmp step-7; exit 0' TERM
echo began; sleep 600 & wait
"""


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """A control plane whose fleet is one node at most; everything of it ends with the test."""
    with serving(tmp_path / "home", SMALL) as system:
        yield system


def test_a_job_gives_way_saves_and_goes_on_later(system: System) -> None:
    run = ("run", "-y", "--detach", "--gpus", "H100:1")
    assert system.godwit(*run, "--name", "patient", "--priority", "low", "--", PATIENT).returncode == 0
    wait_for("its output", 120, lambda: "began" in system.godwit("logs", "patient").stdout)
    assert system.godwit(*run, "--name", "urgent", "--priority", "high", "--", "echo urgent").returncode == 0
    wait_for("the end of the urgent one", 120, lambda: _state(system, "urgent") == "succeeded")
    wait_for("the end of the patient one", 120, lambda: _state(system, "patient") == "succeeded")
    assert "went on from what was saved" in system.godwit("logs", "patient").stdout
    job = system.read("explain", "patient")
    assert (job["job"]["epoch"], job["job"]["interruptions"]) == (2, 0)
    assert any(event["kind"] == "job.preempted" for event in job["events"])


def _state(system: System, job: str) -> str:
    return str(system.read("explain", job)["job"]["state"])
