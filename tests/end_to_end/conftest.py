"""A whole system of processes for a test: a control plane with a home of its own, and its command line."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


class System:
    """A control plane that the test starts, kills and asks, through the command line only."""

    def __init__(self, home: Path) -> None:
        self.home = home
        kept = {key: value for key, value in os.environ.items() if key not in ("GODWIT_URL", "GODWIT_TOKEN")}
        self.environment = {**kept, "GODWIT_HOME": str(home)}

    def godwit(self, *words: str, keys: Sequence[str] = ()) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end; `keys` are typed, one a line."""
        command = [sys.executable, "-m", "godwit.cli.main", *words]
        typed = "".join(f"{key}\n" for key in keys)
        return subprocess.run(
            command, env=self.environment, input=typed, capture_output=True, text=True, timeout=180, check=False
        )

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Start a command and go on."""
        command = [sys.executable, "-m", "godwit.cli.main", *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=self.environment, stdout=pipe, stderr=pipe, text=True)

    def read(self, *words: str) -> Any:
        """What a read command answers, as JSON."""
        ended = self.godwit(*words, "-o", "json")
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    def pid(self) -> int:
        """The control plane's process."""
        return int(json.loads((self.home / "control_plane.json").read_text())["pid"])


def wait_for(what: str, within_s: float, look: Callable[[], Any]) -> Any:
    """Look until there is something; fails the test after `within_s`."""
    deadline = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < deadline, f"{what} did not come within {within_s} s"
        time.sleep(0.2)
    return found


@contextmanager
def serving(home: Path, config: str | None = None) -> Iterator[System]:
    """A control plane that serves, with the built-in providers unless `config` says otherwise; all of it ends here."""
    # A test run that was started in the background ignores SIGINT, and children would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    started = System(home)
    if config is not None:
        home.mkdir(mode=0o700)
        (home / "config.yaml").write_text(config)
    up = started.godwit("up", "--detach")
    assert up.returncode == 0, up.stderr
    try:
        yield started
    finally:  # a fleet that a failed test left behind would make those after it slow
        down = started.godwit("down")
    assert down.returncode == 0, down.stderr


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """A control plane of the test's own."""
    with serving(tmp_path / "home") as system:
        yield system
