"""docker-compose.yml, whole, in a real container engine: images are built, everything gets healthy, and jobs run.

`make compose-test`. It takes minutes, most of them for the packages of the images.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.compose.engine import Engine, engine, pip_configuration

pytestmark = [pytest.mark.compose, pytest.mark.xdist_group("ray"), pytest.mark.timeout(5400)]

ROOT = Path(__file__).parents[2]
SOURCES = ("domain", "scheduler", "providers", "control_plane", "gateway", "agents", "sdk", "cli")
SENT = ("pyproject.toml", "README.md", "LICENSE", ".dockerignore", "docker-compose.yml", "deploy", *SOURCES)
IMAGES = ("control-plane", "gateway", "cloud")
SERVICE = """\
kind: service
name: hello
run: echo from a replica > hello && exec python -m http.server "$PORT"
replicas: 1
readiness: {path: /hello}
resources: {gpus: "H100:1", spot: never}
"""
HEALTHY_S, JOB_S = 600.0, 900.0
"""Far more than it takes (half a minute each) where nothing else runs."""


@dataclass(frozen=True)
class Platform:
    """A compose project that is up."""

    engine: Engine
    folder: Path
    url: str
    token: str
    gateway: str

    def compose(self, *arguments: str) -> str:
        """What compose says."""
        command = (*self.engine.compose, "-p", "godwit-test", *arguments)
        return self.engine.run(*command, cwd=self.folder, timeout_s=HEALTHY_S)

    def container(self, service: str) -> str:
        """The id of a service's container."""
        return self.compose("ps", "-q", service).strip()

    def inspected(self, service: str) -> dict[str, Any]:
        """What the engine tells of a container to whoever may ask."""
        (found,) = json.loads(self.engine.run("docker", "inspect", self.container(service)))
        return dict(found)

    def godwit(self, *arguments: str, timeout_s: float = JOB_S) -> subprocess.CompletedProcess[str]:
        """The command line, through the proxy."""
        env = {
            **os.environ,
            "GODWIT_URL": self.url,
            "GODWIT_TOKEN": self.token,
            "GODWIT_HOME": str(self.folder / "own"),
        }
        command = [sys.executable, "-m", "godwit.cli.main", *arguments]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=timeout_s, check=False)

    def until_healthy(self, *services: str) -> None:
        """Wait until these containers say so."""
        deadline, waiting = time.monotonic() + HEALTHY_S, set(services)
        while waiting:
            waiting = {one for one in waiting if self.inspected(one)["State"]["Health"]["Status"] != "healthy"}
            assert time.monotonic() < deadline, f"{waiting} are not healthy: {self.compose('logs', '--tail', '30')}"
            time.sleep(0.5)


def _free_port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


def _checkout(folder: Path) -> Path:
    """What a clone has of these files, so that secrets of somebody's own trial stay as they are."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", *SENT], cwd=ROOT, capture_output=True,
                            text=True, check=True)  # fmt: skip
    for name in listed.stdout.splitlines():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists():
            shutil.copy2(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = _checkout(tmp_path_factory.mktemp("compose"))
    subprocess.run(["sh", str(folder / "deploy/compose/secrets.sh")], check=True, timeout=30)
    with engine() as plain:
        configuration = pip_configuration(folder)
        secret = ("--secret", f"id=pip,src={configuration}", "-f", str(folder / "deploy/Dockerfile"))
        for image in IMAGES:
            plain.build(folder, image, f"godwit-{image}", *secret)
        ports = {"GODWIT_PUBLISHED": _free_port(), "GODWIT_GATEWAY_PUBLISHED": _free_port()}
        found = Engine(plain.host, plain.compose, ports)
        token = (folder / "deploy/compose/secrets/token").read_text().strip()
        url, gateway = (f"http://127.0.0.1:{port}" for port in ports.values())
        up = Platform(found, folder, url, token, gateway)
        try:
            up.compose("up", "--no-build", "--detach")
            yield up
        finally:
            up.compose("down", "--volumes", "--timeout", "5")


def _services(platform: Platform) -> list[str]:
    return [one for one in platform.compose("config", "--services").split() if one != "gateway-token"]


def _state(platform: Platform, job: str) -> str:
    """The state of a job; empty while nobody can be asked, as in the seconds after a death."""
    listed = platform.godwit("ps", "-a", "-o", "json")
    states = [one["state"] for one in json.loads(listed.stdout or "[]") if one["name"] == job]
    return str(states[0]) if states else ""


def test_everything_gets_healthy(platform: Platform) -> None:
    platform.until_healthy(*_services(platform))


def test_no_program_is_root_and_none_may_write_its_files(platform: Platform) -> None:
    for service in _services(platform):
        container, host = platform.container(service), platform.inspected(service)["HostConfig"]
        assert host["ReadonlyRootfs"]
        assert host["CapDrop"] == ["ALL"]
        assert not host["Privileged"]
        look = "touch /nothing 2>/dev/null && echo writable; for p in /proc/[0-9]*; do grep -h '^Uid' $p/status; done"
        told = platform.engine.run("docker", "exec", container, "sh", "-c", f"{look} 2>/dev/null || true")
        assert "writable" not in told
        # The process that reaps orphans may be root where the image begins as root; what it started is not.
        users = [line.split()[1] for line in told.splitlines()]
        assert any(user != "0" for user in users), service
        if service != "postgres":
            assert "0" not in users, service


def test_neither_inspection_nor_layers_show_a_secret(platform: Platform) -> None:
    secrets = [path.read_text().strip() for path in (platform.folder / "deploy/compose/secrets").iterdir()]
    secrets.append(pip_configuration(platform.folder).read_text())
    shown = [json.dumps(platform.inspected(service)) for service in _services(platform)]
    for image in IMAGES:
        shown.append(platform.engine.run("docker", "history", "--no-trunc", f"godwit-{image}"))
        look = "find / -xdev -name pip.conf -size +0 2>/dev/null; ls /src /asked /root/.cache/pip 2>/dev/null; true"
        assert (
            platform.engine.run("docker", "run", "--rm", "--network", "none", f"godwit-{image}", "sh", "-c", look) == ""
        )
    assert len(secrets) == 7
    assert [secret for secret in secrets for text in shown if secret in text] == []


def test_a_gateway_has_a_token_of_its_own_that_cannot_give_tokens(platform: Platform) -> None:
    token = platform.engine.run("docker", "exec", platform.container("gateway"), "cat", "/run/godwit/token").strip()
    assert token
    assert token != platform.token
    refused = replace(platform, token=token).godwit("tokens", "create", "x", "--role", "admin")
    assert refused.returncode != 0


def test_the_control_plane_brings_neither_ray_nor_torch(platform: Platform) -> None:
    for service in ("control-plane-a", "gateway"):
        look = "import importlib.util as i; print([n for n in ('ray', 'torch') if i.find_spec(n)])"
        found = platform.engine.run("docker", "exec", platform.container(service), "python", "-c", look)
        assert found.strip() == "[]"


def test_a_job_runs_and_its_output_comes_back(platform: Platform) -> None:
    ran = platform.godwit("run", "-y", "--gpus", "H100:1", "--name", "first", "--", "echo", "hello from a container")
    assert ran.returncode == 0, ran.stdout + ran.stderr + platform.compose("logs", "--tail", "40")
    assert "hello from a container" in platform.godwit("logs", "first").stdout


def test_a_request_to_the_published_port_is_answered_by_a_replica(platform: Platform) -> None:
    platform.until_healthy("gateway")
    spec = platform.folder / "service.yaml"
    spec.write_text(SERVICE)
    ran = platform.godwit("run", "-y", str(spec))
    assert ran.returncode == 0, ran.stdout + ran.stderr + platform.compose("logs", "--tail", "40")
    key = platform.godwit("keys", "add").stdout.strip()
    deadline = time.monotonic() + JOB_S
    while (answer := _asked(platform, key)) != (200, "from a replica\n"):
        assert answer[0] in {401, 404, 503}, f"{answer}: not for want of routes, which come within seconds"
        assert time.monotonic() < deadline, f"{answer}: {platform.compose('logs', '--tail', '40', 'gateway')}"
        time.sleep(0.5)
    assert _asked(platform, "no-key")[0] == 401
    assert platform.godwit("services", "rm", "hello").returncode == 0


def _asked(platform: Platform, key: str) -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {key}"}
    asked = urllib.request.Request(f"{platform.gateway}/services/default/hello/hello", headers=headers)
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


def test_jobs_run_on_while_processes_die_and_the_broker_forgets_everything(platform: Platform) -> None:
    submitted = platform.godwit(
        "run", "-y", "--detach", "--gpus", "A100:1", "--name", "second", "--", "echo", "still here"
    )
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    platform.compose("kill", "control-plane-a", "worker-a", "redis")
    platform.compose("start", "redis")
    deadline = time.monotonic() + JOB_S
    while (state := _state(platform, "second")) != "succeeded":
        assert time.monotonic() < deadline, f"{state}: {platform.compose('logs', '--tail', '40')}"
        time.sleep(1)
    assert "still here" in platform.godwit("logs", "second").stdout
    platform.compose("start", "control-plane-a", "worker-a")
    platform.until_healthy("control-plane-a", "worker-a", "redis")
