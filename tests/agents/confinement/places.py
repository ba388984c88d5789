"""Attempts under a real guard, confined as this machine permits."""

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from godwit.agents.confinement import keeper
from godwit.agents.confinement.keeper import Keeper, Machine
from godwit.agents.runtime import guard
from godwit.agents.runtime.custody import Custody
from godwit.agents.runtime.folder import AttemptFolder
from godwit.domain.wire.agents import Peer, StartAttempt

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives programs users of their own")


@contextmanager
def node_dirs() -> Iterator[Path]:
    """A node's folder that others may walk through: pytest's own are closed to them."""
    folder = Path("/tmp") / f"gwc-{secrets.token_hex(3)}"
    folder.mkdir(mode=0o700)
    before = os.umask(0)
    os.umask(before)
    try:
        yield folder
    finally:
        os.umask(before)  # who confines is from then on careful with its files
        shutil.rmtree(folder, ignore_errors=True)


def python_of_jobs(needs: str = "") -> str:
    """A Python that other users may run and that can do what is needed: often not that of the tests, which may lie in
    somebody's home. Where there is one, a node that finds no way to confine is wrong."""
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        if Path(python).exists() and _may_be_run_by_nobody(python, needs):
            with node_dirs() as folder:
                found = keeper.look("auto", folder, python, 0)
            assert found.ids, found.words
            return python
    pytest.skip(f"no Python here can be run by other users and do this: {needs or 'anything'}")


def _may_be_run_by_nobody(python: str, statement: str) -> bool:
    nobody: dict[str, Any] = {"user": 65_534, "group": 65_534, "extra_groups": [], "cwd": "/"}
    try:
        return subprocess.run([python, "-c", statement], capture_output=True, check=False, **nobody).returncode == 0
    except OSError:
        return False


def looked(node_dir: Path, **more: Any) -> Keeper:
    found = keeper.look("require", node_dir, python_of_jobs(), 1)
    return Keeper(found.ids, found.groups, found.trees, more.get("machine", found.machine))


def small(memory_bytes: int = 1 << 30, pids: int = 1000) -> Machine:
    return Machine(memory_bytes, pids, 1)


def command(attempt_id: str, **more: Any) -> StartAttempt:
    fields: dict[str, Any] = {
        "intent_id": "i", "job_id": "job-1", "job_name": "a", "attempt_id": attempt_id, "epoch": 1, "rank": 0,
        "peers": [Peer(rank=0, node_id="n", address="127.0.0.1")], "gpus": [], "port": 20_000, "ray_token": "t",
        "run": "", "setup": None, "workdir_digest": None, "env": {}, "store": "", **more,
    }  # fmt: skip
    return StartAttempt(**fields)


class Attempt:
    """One attempt, its guard, and what its program said."""

    def __init__(self, node_dir: Path, found: Keeper, name: str = "att-1", **more: Any) -> None:
        self.folder = AttemptFolder(node_dir, name)
        self.folder.make()
        found.confine(self.folder, command(name, **more))
        lease = node_dir / "lease"
        guard.write_whole(lease, f"{guard.boottime_s() + 60} boot")
        self.custody = Custody(self.folder, lease)

    def start(self, script: str) -> None:
        where = {"cwd": str(self.folder.workdir), "log": str(self.folder.output)}
        step = {"name": "program", "argv": ["sh", "-c", script], **where}
        env = {**os.environ, "GODWIT_RUN_DIR": str(self.folder.run), "ROOM": str(self.folder.root)}
        self.custody.start([step], env)

    def said(self) -> str:
        return self.folder.output.read_text() if self.folder.output.exists() else ""

    def uid(self) -> int:
        return self.folder.run.stat().st_uid
