"""A program that knows nothing of saving is moved to another machine, and goes on as if nothing had happened."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.criu import FOUND, needs_criu
from tests.end_to_end.conftest import System, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(540), needs_criu]

JOB = """
name: counter
checkpoint: {mode: process}
resources: {gpus: "H100:1"}
run: |
  i=0
  until [ -e ENOUGH ]; do i=$((i+1)); echo "number $i"; sleep 0.05; done
  echo "enough"
"""


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    """A control plane with simulated clouds whose machines have CRIU; everything of it ends with the test."""
    monkeypatch.setenv("GODWIT_CRIU", shlex.join(FOUND.criu))
    started = System(tmp_path / "home")
    up = started.godwit("up", "--detach")
    assert up.returncode == 0, up.stderr
    yield started
    down = started.godwit("down")
    assert down.returncode == 0, down.stderr


def test_a_counter_goes_on_on_another_machine_and_no_number_is_lost_or_said_twice(
    system: System, tmp_path: Path
) -> None:
    enough = tmp_path / "enough"
    (tmp_path / "job.yaml").write_text(JOB.replace("ENOUGH", str(enough)))
    ran = system.godwit("run", "-y", "--detach", str(tmp_path / "job.yaml"))
    assert ran.returncode == 0, ran.stderr
    wait_for("its first numbers", 120, lambda: len(_numbers(system)) > 20)
    (first,) = _nodes(system)
    _drain(system, first)
    wait_for("another node", 120, lambda: [node for node in _nodes(system) if node != first])
    moved = len(_numbers(system))
    wait_for("more numbers from there", 120, lambda: len(_numbers(system)) > moved + 20)
    enough.touch()
    wait_for("its end", 60, lambda: system.read("explain", "counter")["job"]["state"] == "succeeded")
    numbers = _numbers(system)
    assert numbers == list(range(1, len(numbers) + 1))
    job = system.read("explain", "counter")
    assert job["job"]["epoch"] == 2
    assert any(event["kind"] == "job.restored" and event["data"]["step"] for event in job["events"])


def _numbers(system: System) -> list[int]:
    lines = system.godwit("logs", "counter").stdout.splitlines()
    return [int(line.split()[-1]) for line in lines if "number " in line]


def _nodes(system: System) -> list[str]:
    return [node["id"] for node in system.read("nodes") if any(gpu["job_id"] for gpu in node["gpus"])]


def _drain(system: System, node_id: str) -> None:
    url = json.loads((system.home / "control_plane.json").read_text())["url"]
    headers = {"Authorization": f"Bearer {(system.home / 'token').read_text().strip()}"}
    httpx.post(f"{url}/v1/nodes/{node_id}/drain", headers=headers, timeout=30, trust_env=False).raise_for_status()
