"""The process that hosts the simulated clouds: one per home, outlives its starter, survives kill -9."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from godwit.domain.ids import InstanceId
from godwit.domain.offers import InstanceState
from godwit.providers import registry
from godwit.providers.hosted import host_mark
from godwit.providers.processes import MARK
from godwit.providers.protocol import LaunchRequest, Provider

from tests.providers.waiting import until


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    registry.stop_simulated(tmp_path)


def aurora(home: Path) -> Provider:
    return next(iter(registry.build([{"kind": "simulated", "name": "sim-aurora"}], home).values()))


def launch(provider: Provider, token: str, script: str = "exec sleep 1000\n") -> InstanceId:
    offer = min((o for o in provider.offers() if not o.spot), key=lambda o: o.price_usd_per_hour)
    instance = provider.launch(LaunchRequest(offer, token, "me", script))
    until(lambda: [i.state for i in provider.instances() if i.id == instance.id] == [InstanceState.RUNNING])
    return instance.id


def server(home: Path) -> psutil.Process:
    return psutil.Process(json.loads((home / "simulated" / "server.json").read_text())["pid"])


def machine_processes(home: Path) -> list[psutil.Process]:
    mark = host_mark(home / "simulated")
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK, "").startswith(f"{mark}-"):
                found.append(process)
        except psutil.Error:
            continue  # it ended while we looked
    return found


def test_starting_twice_gives_the_same_process(home: Path) -> None:
    url = registry.start_simulated(home)
    pid = server(home).pid
    assert registry.start_simulated(home) == url
    assert server(home).pid == pid
    assert httpx.get(f"{url}/health").json()["pid"] == pid


def test_a_second_process_on_the_same_folder_is_refused(home: Path) -> None:
    registry.start_simulated(home)
    command = [sys.executable, "-m", "godwit.providers.simulated", "--state", str(home / "simulated")]
    second = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode == 3
    assert "another process hosts" in second.stderr


def test_it_survives_its_own_kill_and_finds_its_machines_again(home: Path) -> None:
    url = registry.start_simulated(home)
    provider = aurora(home)
    instance_id = launch(provider, "token-1")
    before = {process.pid for process in machine_processes(home)}
    server(home).send_signal(signal.SIGKILL)
    assert registry.start_simulated(home) == url, "on the same port, so that those who know it need not ask again"
    assert {process.pid for process in machine_processes(home)} == before, "booted once"
    listed = {i.id: i.state for i in provider.instances()}
    assert listed[instance_id] is InstanceState.RUNNING
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    until(lambda: {i.id: i.state for i in provider.instances()}[instance_id] is InstanceState.FAILED)


def test_machines_that_no_cloud_knows_any_more_are_ended_at_the_next_start(home: Path) -> None:
    registry.start_simulated(home)
    launch(aurora(home), "token-1")
    server(home).send_signal(signal.SIGKILL)
    (home / "simulated" / "state.json").unlink()
    registry.start_simulated(home)
    until(lambda: machine_processes(home) == [])
    assert aurora(home).instances() == []


def test_stopping_ends_machines_process_and_folders_even_after_a_kill(home: Path) -> None:
    registry.start_simulated(home)
    launch(aurora(home), "token-1", "setsid sleep 1000 & trap '' TERM; while :; do sleep 1; done\n")
    folder = Path(machine_processes(home)[0].environ()["GODWIT_NODE_DIR"])
    server(home).send_signal(signal.SIGKILL)
    registry.stop_simulated(home)
    assert machine_processes(home) == []
    assert not folder.parent.exists()
    registry.stop_simulated(home)


def test_stopping_a_running_one_leaves_nothing_and_keeps_the_books(home: Path) -> None:
    registry.start_simulated(home)
    instance_id = launch(aurora(home), "token-1")
    process = server(home)
    registry.stop_simulated(home)
    assert machine_processes(home) == []
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    registry.start_simulated(home)
    assert {i.id: i.state for i in aurora(home).instances()}[instance_id] is InstanceState.TERMINATED


def test_the_keys_and_the_state_are_for_this_user_only(home: Path) -> None:
    url = registry.start_simulated(home)
    for name in ("api_key", "state.json", "server.json"):
        launch(aurora(home), f"token-{name}")
        assert (home / "simulated" / name).stat().st_mode & 0o077 == 0
    key = (home / "simulated" / "api_key").read_text()
    assert key not in " ".join(server(home).cmdline())
    assert httpx.get(f"{url}/clouds/sim-aurora/v1/instances").status_code == 401
    assert httpx.put(f"{url}/clouds/sim-aurora/faults", json={}).status_code == 401
    assert httpx.post(f"{url}/stop").status_code == 401


def test_a_malformed_order_is_answered_with_what_is_wrong(home: Path) -> None:
    url = registry.start_simulated(home)
    headers = {"Authorization": f"Bearer {(home / 'simulated' / 'api_key').read_text()}"}
    answer = httpx.post(f"{url}/clouds/sim-aurora/v1/instances", json={"client_token": 7}, headers=headers)
    assert answer.status_code == 400
    assert "instance_type" in answer.json()["error"]["message"]
    assert httpx.get(f"{url}/clouds/sim-nowhere/v1/offers", headers=headers).status_code == 404


def test_doing_nothing_costs_next_to_nothing(home: Path) -> None:
    registry.start_simulated(home)
    process = server(home)
    before = sum(process.cpu_times()[:2])
    time.sleep(2.0)  # the measured span, not a wait for anything
    assert sum(process.cpu_times()[:2]) - before < 0.1
