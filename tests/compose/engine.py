"""A container engine for the test of the compose file: the one that runs here, or a private one.

A private one needs root, dockerd and debootstrap, and reaches no registry: what the files take from one is made from
Debian's packages, and tagged with the names that they use. Its daemon touches neither firewall nor bridges of the host;
the only traces are the bridge of the compose project while it runs, and afterwards Docker's own /run/docker and its
key in /etc/docker.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PYTHON = "python:3.11.13-slim-bookworm"
STAND_INS = {
    "postgres": "postgres:16.9-bookworm",
    "redis": "redis:7.2.10-bookworm",
    "proxy": "nginxinc/nginx-unprivileged:1.27.5-alpine",
}
PACKAGES = "python3,python3-venv,python-is-python3,ca-certificates"
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
COMMAND_S, BUILD_S = 120.0, 1800.0
"""How long one command may take, and one image: an environment with Ray takes minutes where others work, too."""


class StandInsUsed(UserWarning):
    """Images of a registry were not what was tested; pytest says so once more at the end."""

    def __init__(self) -> None:
        super().__init__(
            f"no registry was reached: {', '.join((PYTHON, *STAND_INS.values()))} were made of Debian's packages "
            "(tests/compose/standins); what was tested is docker-compose.yml and our own layers, not those images"
        )


@dataclass(frozen=True)
class Engine:
    """A daemon that answers at `host`, empty for the usual one."""

    host: str = ""
    compose: tuple[str, ...] = ("docker", "compose")
    env: dict[str, str] = field(default_factory=dict)

    def run(self, *command: str, timeout_s: float = COMMAND_S, cwd: Path | None = None) -> str:
        """What a command says; one that fails fails the test, with the end of what it said."""
        ended = subprocess.run(
            command, env=self._env(), cwd=cwd, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        said = ended.stdout + ended.stderr
        assert ended.returncode == 0, f"{' '.join(command)}: {said[-4000:]}"
        return ended.stdout

    def answers(self, *command: str) -> bool:
        """Whether a command ends well."""
        try:
            ended = subprocess.run(command, env=self._env(), capture_output=True, timeout=COMMAND_S, check=False)
        except FileNotFoundError:
            return False
        return ended.returncode == 0

    def build(self, folder: Path, target: str, tag: str, *options: str) -> None:
        """Build one stage; packages come from the network of this machine."""
        options = ("--network", "host", "--target", target, "--tag", tag, *options)
        self.run("docker", "build", *options, str(folder), timeout_s=BUILD_S)

    def _env(self) -> dict[str, str]:
        # Debian's client comes with its own BuildKit; a newer one elsewhere on PATH may lack the plugin that it wants.
        own = {"PATH": f"/usr/bin:{os.environ['PATH']}", "DOCKER_BUILDKIT": "1", **self.env}
        return {**os.environ, **own, **({"DOCKER_HOST": self.host} if self.host else {})}


@contextmanager
def engine() -> Iterator[Engine]:
    """An engine that has every image the files name. Skips, with the reason, where none can be had."""
    usual = _with_compose(Engine())
    if usual.answers("docker", "info"):
        for name in (PYTHON, *STAND_INS.values()):
            if not usual.answers("docker", "image", "inspect", name) and not usual.answers("docker", "pull", name):
                pytest.skip(f"the container engine here has no {name} and cannot pull it")
        yield usual
        return
    missing = [name for name in ("dockerd", "debootstrap", "docker") if shutil.which(name) is None]
    if missing or os.getuid() != 0:
        reason = f"{', '.join(missing)} not installed" if missing else "not root"
        pytest.skip(f"no container engine runs here, and none can be started: {reason}")
    folder = Path(tempfile.mkdtemp(prefix="gw-engine-"))
    try:
        with _daemon(folder) as own:
            _make_images(own, folder)
            warnings.warn(StandInsUsed(), stacklevel=2)
            yield own
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _with_compose(of: Engine) -> Engine:
    if of.answers(*of.compose, "version"):
        return of
    if not of.answers("docker-compose", "version"):
        pytest.skip("neither `docker compose` nor docker-compose is installed")
    return Engine(of.host, ("docker-compose",))


@contextmanager
def _daemon(folder: Path) -> Iterator[Engine]:
    own = _with_compose(Engine(f"unix://{folder}/socket"))
    roots = [f"--data-root={folder}/data", f"--exec-root={folder}/run", f"--pidfile={folder}/pid"]
    apart = ["--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false", "--bridge=none"]
    with (folder / "log").open("wb") as log:
        daemon = subprocess.Popen(["dockerd", "-H", own.host, *roots, *apart], stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + COMMAND_S
            while not own.answers("docker", "info"):
                if daemon.poll() is not None or time.monotonic() > deadline:
                    pytest.skip(f"a container engine cannot be started here: {(folder / 'log').read_text()[-600:]}")
                time.sleep(0.2)
            yield own
        finally:
            daemon.terminate()
            daemon.wait(60)


def _make_images(own: Engine, folder: Path) -> None:
    root = folder / "base"
    own.run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(root), timeout_s=BUILD_S)
    if BUNDLE.exists():  # where a network has an authority of its own, this machine trusts it, and builds have to
        shutil.copyfile(BUNDLE, root / BUNDLE.relative_to("/"))
    shutil.rmtree(root / "var/cache/apt", ignore_errors=True)
    own.run("sh", "-c", f"tar -C {root} -c . | docker import - {PYTHON}", timeout_s=BUILD_S)
    shutil.rmtree(root)
    for target, tag in STAND_INS.items():
        own.build(HERE / "standins", target, tag, "--build-arg", f"BASE={PYTHON}")


def pip_configuration(folder: Path) -> Path:
    """A file with where pip finds packages on this machine: its index and its authorities, and nothing else."""
    told = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True, timeout=COMMAND_S
    )
    named = dict(line.split("=", 1) for line in told.stdout.splitlines() if "=" in line)
    lines = [f"index-url = {value.strip(chr(39))}" for key, value in named.items() if key.endswith(".index-url")]
    path = folder / "pip.conf"
    path.write_text(
        "\n".join(["[global]", *lines, "timeout = 180", *([f"cert = {BUNDLE}"] if BUNDLE.exists() else [])])
    )
    return path
