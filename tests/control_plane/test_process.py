"""The control plane as a process: one per home, and a kill loses nothing that was promised."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from godwit.control_plane import stopping
from godwit.control_plane.home import Home
from godwit.domain.errors import Conflict
from godwit.providers import registry

from tests.control_plane.world import spec

DEADLINE_S = 30.0
JOB = spec().model_dump(exclude_defaults=True)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose control plane has no providers."""
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    (folder / "config.yaml").write_text("port: 0\nproviders: []\n")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # A free port as if it were that of last time: the default one may be somebody's on this machine.
        (folder / "port").write_text(f"{listener.getsockname()[1]}\n")
    return folder


@contextmanager
def serving(home: Path) -> Iterator[subprocess.Popen[str]]:
    """A control plane that serves; killed at the end, should it still run."""
    process = start(home)
    try:
        deadline = time.monotonic() + DEADLINE_S
        while announced(home).get("pid") != process.pid:
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            assert time.monotonic() < deadline, "it does not serve"
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.communicate()


def start(home: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "godwit.control_plane", "serve", "--home", str(home)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def announced(home: Path) -> dict[str, object]:
    path = home / "control_plane.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def client(home: Path) -> httpx.Client:
    token = (home / "token").read_text().strip()
    return httpx.Client(base_url=str(announced(home)["url"]), headers={"Authorization": f"Bearer {token}"})


def test_a_kill_keeps_the_port_the_identity_the_token_and_the_jobs(home: Path) -> None:
    with serving(home) as process:
        before = announced(home)
        with client(home) as http:
            job = http.post("/v1/jobs", json=JOB).json()
        process.kill()
        process.wait(DEADLINE_S)
    with serving(home), client(home) as http:
        after = announced(home)
        assert (after["url"], after["identity"]) == (before["url"], before["identity"])
        assert after["pid"] != before["pid"]
        assert http.get(f"/v1/jobs/{job['id']}").json()["state"] == "queued"


def test_a_second_control_plane_on_the_same_home_ends_and_names_the_first(home: Path) -> None:
    with serving(home) as process:
        second = start(home)
        _, said = second.communicate(timeout=DEADLINE_S)
        assert second.returncode == 5
        assert f"process id {process.pid} " in said
        assert "Traceback" not in said
        assert announced(home)["pid"] == process.pid


def test_told_to_end_it_ends_well_and_takes_its_announcement_back(home: Path) -> None:
    with serving(home) as process:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0, said
        assert not (home / "control_plane.json").exists()


def test_stop_ends_the_one_that_serves_and_may_be_repeated(home: Path) -> None:
    with serving(home) as process:
        for _ in range(2):
            command = [sys.executable, "-m", "godwit.control_plane", "stop", "--home", str(home)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
            assert (done.returncode, done.stderr) == (0, "")
        assert process.wait(DEADLINE_S) is not None
        assert announced(home) == {}


def test_stop_leaves_a_home_alone_that_a_named_control_plane_holds(home: Path) -> None:
    stop = [sys.executable, "-m", "godwit.cli.main", "down", "--home", str(home)]
    with serving(home) as process:
        before = sorted(home.iterdir())
        with Home(home, "b").hold():
            refused = subprocess.run(stop, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
        assert refused.returncode == 5
        assert f": b (process {os.getpid()}); nothing was stopped" in refused.stderr
        assert "systemctl stop godwit" in refused.stderr
        assert (refused.stdout, len(refused.stderr.splitlines())) == ("", 1)
        assert sorted({*home.iterdir()} - {home / "control_plane.b.lock"}) == before
        with client(home) as http:
            assert http.get("/v1/version").is_success, "the one without a name was let alone, too"
        subprocess.run(stop, capture_output=True, timeout=DEADLINE_S, check=True)
        assert process.wait(DEADLINE_S) is not None, "with the other one gone it is stopped as ever"


def test_a_refused_stop_ends_no_machines(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[Path] = []
    monkeypatch.setattr(registry, "stop_simulated", ended.append)
    monkeypatch.setattr(registry, "stop_local", ended.append)
    with Home(home, "a").hold(), pytest.raises(Conflict, match="nothing was stopped"):
        stopping.stop(home)
    assert ended == []
    stopping.stop(home)
    assert ended == [home, home]


def test_a_wrong_configuration_is_told_in_one_line(home: Path) -> None:
    (home / "config.yaml").write_text("providers: [{kind: locl, name: x}]")
    process = start(home)
    _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1
    assert "locl" in said
    assert "Traceback" not in said


def test_no_secret_is_in_the_arguments_or_the_log(home: Path) -> None:
    with serving(home) as process:
        token = (home / "token").read_text().strip()
        assert token not in Path(f"/proc/{process.pid}/cmdline").read_text()
        with client(home) as http:
            assert http.get("/v1/jobs").status_code == 200
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=DEADLINE_S)
        assert token not in said
        assert os.environ.get("GODWIT_TOKEN") is None or os.environ["GODWIT_TOKEN"] not in said


def test_the_limits_of_its_configuration_hold_for_who_asks_it(home: Path) -> None:
    with (home / "config.yaml").open("a") as config:
        config.write("limits: {requests_per_s: 0.01, burst: 3}\n")
    with serving(home), client(home) as http:
        assert [http.get("/v1/jobs").status_code for _ in range(3)] == [200, 200, 200]
        refused = http.get("/v1/jobs")
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 100
