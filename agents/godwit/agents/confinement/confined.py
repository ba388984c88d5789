"""One attempt's user and cgroup: written down in its folder, so that whatever agent comes next ends the same.

<attempt>/confined.json     {"uid": 1879050000, "groups": [44], "cgroups": [...], "memory_bytes": 0}
"""

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from godwit.agents.confinement import cgroups, enter, users
from godwit.agents.runtime import guard, processes

NAME = "confined.json"

SHARED_FOLDERS = tuple(map(Path, ("/tmp", "/var/tmp", "/dev/shm")))  # noqa: S108 - where anybody may leave something
"""What an attempt left there is removed with it: nobody else has its user."""

AS_BEFORE = ("process",)
"""Steps that keep the agent's user: CRIU must be root to bring processes back."""


@dataclass(frozen=True)
class Confined:
    """As whom the processes of an attempt run, and where they are counted; uid 0 is the agent's own user.

    `memory_bytes` is what they may take together, 0 where nothing bounds it.
    """

    uid: int = 0
    groups: tuple[int, ...] = ()
    cgroups: tuple[str, ...] = ()
    memory_bytes: int = 0

    def steps(self, steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The guard's steps with what confines them in front."""
        return [
            step | {"argv": [*self._before(step["name"]), *step["argv"]]} if "argv" in step else step for step in steps
        ]

    def _before(self, step: str) -> list[str]:
        uid = 0 if step in AS_BEFORE else self.uid
        if not uid and not self.cgroups:
            return []
        counted = [word for folder in self.cgroups for word in ("--cgroup", folder)]
        groups = ["--groups", ",".join(map(str, self.groups))] if uid and self.groups else []
        return [sys.executable, "-I", "-S", enter.__file__, "--uid", str(uid), *groups, *counted, "--"]

    def environment(self, env: Mapping[str, str], folder: Path, machine_home: str | None) -> dict[str, str]:
        """What its programs find: a home of their own, unless the job names one, and a name."""
        if not self.uid:
            return dict(env)
        named = {"USER": users.NAME, "LOGNAME": users.NAME}
        if env.get("HOME") not in {machine_home, str(folder / "home")}:
            return {**env, **named}
        # What pip installs for a user, since the machine's packages are not its to change, is found as the rest is.
        path = f"{folder}/home/.local/bin{os.pathsep}{env.get('PATH', os.defpath)}"
        return {**env, **named, "HOME": str(folder / "home"), "PATH": path}

    def end(self) -> None:
        """End every process of the user and of the cgroup, and remove what they left in folders that all share.

        There is no bound, as there is none for the guard: what does not die is still there. Harmless to repeat.
        """
        while not cgroups.end(self.cgroups):
            pass
        while self.uid and (left := _of_user(self.uid)):
            for pid in left:
                processes.send(pid, signal.SIGKILL)
            time.sleep(cgroups.END_S)
        for shared in SHARED_FOLDERS if self.uid else ():
            _sweep(shared, self.uid)


def read(folder: Path) -> Confined:
    """What was written down for an attempt; nobody is confined where nothing was."""
    try:
        said = json.loads((folder / NAME).read_text())
    except FileNotFoundError:
        return Confined()
    return Confined(said["uid"], tuple(said["groups"]), tuple(said["cgroups"]), said["memory_bytes"])


def write(folder: Path, confined: Confined) -> None:
    """Write it down."""
    guard.write_whole(folder / NAME, json.dumps(asdict(confined)))


def _of_user(uid: int) -> list[int]:
    """Its processes, but those that only wait to be reaped."""
    return [pid for pid in processes.all_pids() if _is_of(pid, uid)]


def _is_of(pid: int, uid: int) -> bool:
    said = processes.status(pid)
    uids = said.partition("\nUid:")[2].partition("\n")[0].split()
    return str(uid) in uids and not said.partition("State:")[2].lstrip().startswith(("Z", "X"))


def _sweep(shared: Path, uid: int) -> None:
    for path in shared.glob("*") if shared.is_dir() else ():
        try:
            if path.lstat().st_uid != uid:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        except OSError:
            continue  # it went meanwhile
