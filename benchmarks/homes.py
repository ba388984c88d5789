"""A control plane to measure: a process of its own on a fresh home, stopped and removed whatever happens."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.request import ProxyHandler, Request, build_opener

import psutil
from godwit.control_plane.first_config import FIRST_CONFIG

BIN = Path(sys.executable).parent
"""Where the commands lie that were installed beside this interpreter; its symbolic link is not followed, on purpose."""

START_S, STOP_S, READY_S = 90.0, 120.0, 60.0
"""How long `godwit up`, `godwit down` and the first offers may take; a busy machine needs a tenth of it."""

POLL_S = 0.05

_direct = build_opener(ProxyHandler({}))  # a proxy of the environment must not see loopback traffic


@dataclass(frozen=True)
class Home:
    """A home whose control plane serves at `url`, as process `pid`."""

    folder: Path
    url: str
    token: str
    pid: int

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which the `godwit` command finds this home."""
        return environment_of(self.folder)

    @property
    def port(self) -> int:
        """Where it listens on loopback."""
        return int(self.url.rpartition(":")[2])

    def get(self, path: str) -> dict[str, object]:
        """The JSON answer to a GET. Raises `urllib.error.HTTPError` on a refusal."""
        request = Request(self.url + path, headers={"Authorization": f"Bearer {self.token}"})
        with _direct.open(request, timeout=30) as answer:
            return dict(json.load(answer))


@contextmanager
def serving(config: str = "", **environment: str) -> Iterator[Home]:
    """A control plane with the default configuration that serves and has seen the clouds' offers.

    `config` replaces the default one; `environment` is what its process sees beside this one's.
    """
    folder = Path(tempfile.mkdtemp(prefix="gw-bench-"))
    # What is measured is how much it can do, not how much one caller may.
    limits = "\nlimits: {requests_per_s: 0, agent_requests_per_s: 0}\n"
    (folder / "config.yaml").write_text((config or FIRST_CONFIG) + limits)
    try:
        try:
            godwit(folder, "up", "--detach", timeout_s=START_S, **environment)
            record = json.loads((folder / "control_plane.json").read_text())
            home = Home(folder, record["url"], (folder / "token").read_text().strip(), record["pid"])
            wait_until(lambda: bool(home.get("/v1/offers")["items"]), READY_S, "offers")
            yield home
        finally:
            _stop(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _stop(folder: Path) -> None:
    """End all that runs on a home. Raises what `godwit down` raised, after ending by force what it left."""
    try:
        godwit(folder, "down", timeout_s=STOP_S)
    except (RuntimeError, subprocess.TimeoutExpired):
        left = [process for process in psutil.process_iter(["cmdline"]) if _names(process, folder)]
        for process in [*left, *(child for parent in left for child in parent.children(recursive=True))]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        raise


def _names(process: psutil.Process, folder: Path) -> bool:
    return any(word.startswith(str(folder)) for word in process.info["cmdline"] or [])


def environment_of(folder: Path) -> dict[str, str]:
    """This process's environment, pointed at a home and at nothing else."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("GODWIT_", "RAY_"))}
    return {**kept, "GODWIT_HOME": str(folder), "PYTHONUNBUFFERED": "1"}


def godwit(folder: Path, *arguments: str, timeout_s: float, **environment: str) -> str:
    """Run a `godwit` command to its end; returns its output. Raises `RuntimeError` with the output when it fails."""
    argv = [str(BIN / "godwit"), *arguments]
    env = environment_of(folder) | environment
    ended = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=timeout_s, check=False)
    if ended.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}")
    return ended.stdout


def wait_until(holds: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Look at `holds` until it is so. Raises `TimeoutError`, naming `what`, after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {what} within {timeout_s:g} s")
        time.sleep(POLL_S)
