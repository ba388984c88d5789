"""What this node does to confine programs, found out by trying it, and the confinement of each attempt.

GODWIT_CONFINE says `auto` (what the node permits), `require` (a user of its own for each attempt, or the agent does not
start) or `off`.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import structlog
from godwit.agents.confinement import cgroups, confined, enter, owner, users
from godwit.agents.confinement.cgroups import Bounds, Tree
from godwit.agents.confinement.confined import Confined
from godwit.agents.runtime.folder import AttemptFolder
from godwit.domain.errors import InvalidRequest
from godwit.domain.resources import WHOLE_GPU_MILLI
from godwit.domain.wire.agents import StartAttempt

log = structlog.get_logger()

Mode = Literal["auto", "require", "off"]

TRY_S = 30.0
"""A Python that starts from a cold disk takes seconds; an agent that comes up must not wait for one that hangs."""

WALKED_THROUGH, PRIVATE = 0o711, 0o700

DEVICES = ("nvidia[0-9]*", "nvidiactl", "nvidia-uvm", "dri/renderD*", "kfd", "infiniband/*")
"""Devices of GPUs and of networks between them, in /dev."""

RESERVED_PART, RESERVED_MIN_BYTES, RESERVED_MAX_BYTES = 0.05, 512 << 20, 4 << 30
"""Memory that is left to the agent and the system beside attempts: an agent takes 0.15 GiB, and copies of checkpoints
pass through the cache."""

_TRY = """
import importlib.util, os, sys
shut = [one for one in sys.argv[3:] if not os.access(one, os.R_OK | os.W_OK)]
sys.exit(f"it may not use {', '.join(shut)}") if shut else None
sys.exit("it may not read Ray") if sys.argv[1] == "True" and not importlib.util.find_spec("ray") else None
open(sys.argv[2], "w").close()
"""


@dataclass(frozen=True)
class Machine:
    """What bounds follow from: bytes of memory, processes that the kernel allows, and how many GPUs there are."""

    memory_bytes: int
    pids: int
    gpus: int


@dataclass(frozen=True)
class Keeper:
    """Confines attempts as far as this node permits; `why_not` says why none has a user of its own."""

    ids: range = range(0)
    groups: tuple[int, ...] = ()
    trees: tuple[Tree, ...] = ()
    machine: Machine = Machine(0, 0, 0)
    why_not: str = "not looked at"

    @property
    def words(self) -> str:
        """What people are told: `user+cgroup`, `user`, `cgroup: why no user` or `none: why`."""
        kinds = [word for word, there in (("user", self.ids), ("cgroup", self.trees)) if there]
        return "+".join(kinds or ["none"]) + ("" if self.ids else f": {self.why_not}")

    def confine(self, folder: AttemptFolder, command: StartAttempt) -> None:
        """Give an attempt its user and its cgroup, and the user its folders; harmless to repeat, for one that has them.

        Raises `OSError`, `ValueError`.
        """
        if (folder.root / confined.NAME).exists() or not (self.ids or self.trees):
            return
        name = f"{folder.node_dir}/{folder.attempt_id}"
        uid = users.choose(self.ids, name, _taken(folder.node_dir)) if self.ids and not command.process_saves else 0
        group = f"{folder.attempt_id}-{users.digest(name)}"
        bound = bounds(self.machine, command)
        groups = cgroups.make(self.trees, group, bound)
        if uid:
            _hand_over(folder, uid)
        bounded = bound.memory_bytes if any("memory" in tree.controllers for tree in self.trees) else 0
        confined.write(folder.root, Confined(uid, self.groups if uid else (), tuple(groups), bounded))


def bounds(machine: Machine, command: StartAttempt) -> Bounds:
    """An attempt's part of its node: that of the GPUs which it holds; all of it for one without."""
    whole = len(command.gpus) * command.gpu_milli / WHOLE_GPU_MILLI
    share = min(1.0, whole / machine.gpus) if command.gpus and machine.gpus else 1.0
    reserved = min(max(round(machine.memory_bytes * RESERVED_PART), RESERVED_MIN_BYTES), RESERVED_MAX_BYTES)
    return Bounds(round(max(machine.memory_bytes - reserved, machine.memory_bytes // 2) * share), machine.pids, share)


def look(mode: Mode, node_dir: Path, python: str, gpus: int) -> Keeper:
    """Find out what this node permits: takes a tenth of a second. Raises `InvalidRequest` where that is too little."""
    if mode == "off":
        return Keeper(why_not="GODWIT_CONFINE is off")
    keeper = _looked(node_dir, python, gpus)
    if mode == "require" and not keeper.ids:
        raise InvalidRequest(
            f"GODWIT_CONFINE is require, and programs cannot run as users of their own here: {keeper.why_not}; "
            "mend that, or set GODWIT_CONFINE=auto"
        )
    log.info("programs are confined", how=keeper.words)
    return keeper


def _looked(node_dir: Path, python: str, gpus: int) -> Keeper:
    if os.geteuid() != 0 or not sys.platform.startswith("linux"):
        return Keeper(why_not="its agent does not run as root on Linux")
    trees = tuple(cgroups.prepare(cgroups.trees(_text("/proc/self/mountinfo"), _text("/proc/self/cgroup"))))
    pids_max = int(_text("/proc/sys/kernel/pid_max") or 32_768)
    machine = Machine(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), pids_max // 2, gpus)
    ids = users.ids(users.mapped(_text("/proc/self/uid_map")))
    if not ids:
        return Keeper(trees=trees, machine=machine, why_not="no ids for it are mapped in this user namespace")
    devices = [path for pattern in DEVICES for path in sorted(Path("/dev").glob(pattern))]
    groups = device_groups(path.stat() for path in devices)
    node_dir.chmod(WALKED_THROUGH)
    why_not = _try(node_dir, ids[-1], groups, python, [str(path) for path in devices])
    if why_not:
        node_dir.chmod(PRIVATE)
        return Keeper(trees=trees, machine=machine, why_not=why_not)
    close(node_dir)
    return Keeper(ids, groups, trees, machine, "")


def device_groups(seen: Iterable[os.stat_result]) -> tuple[int, ...]:
    """The groups by which devices are used that not everybody may use, such as `video` and `render`; never root's."""
    return tuple(sorted({one.st_gid for one in seen if one.st_gid and one.st_mode & 0o060 and not one.st_mode & 0o006}))


def close(node_dir: Path) -> None:
    """From here on the agent's own files are its alone, though its folder may be walked through; older ones too."""
    os.umask(0o077)
    for path in node_dir.iterdir():
        if path.is_file() and not path.is_symlink():
            path.chmod(path.stat().st_mode & PRIVATE)
    for shelf in ("kept",):
        if (node_dir / shelf).is_dir():
            (node_dir / shelf).chmod(PRIVATE)


def _try(node_dir: Path, uid: int, groups: Collection[int], python: str, devices: Collection[str]) -> str:
    """Run the Python of jobs as a user in a folder of its own; says why that cannot be done."""
    place = Path(tempfile.mkdtemp(prefix="try-", dir=node_dir))
    try:
        os.chown(place, uid, uid)
        before = [sys.executable, "-I", "-S", enter.__file__, "--uid", str(uid)]
        before += ["--groups", ",".join(map(str, groups))] if groups else []
        has_ray = (Path(python).parent / "ray").exists()
        argv = [*before, "--", python, "-c", _TRY, str(has_ray), str(place / "tried"), *devices]
        done = subprocess.run(argv, cwd="/", capture_output=True, text=True, timeout=TRY_S, check=False)
        if done.returncode != 0 or not (place / "tried").exists():
            return (done.stderr.strip().splitlines() or [f"a trial ended with code {done.returncode}"])[-1][-500:]
    except (OSError, subprocess.TimeoutExpired) as exc:
        return f"it cannot be tried: {exc}"[:500]
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return ""


def _hand_over(folder: AttemptFolder, uid: int) -> None:
    """What the program may write becomes its user's; what lies beside it stays the agent's."""
    for above in (folder.root.parent, folder.root):
        above.chmod(WALKED_THROUGH)
    (folder.root / "home").mkdir(exist_ok=True)
    folder.ray.mkdir(exist_ok=True)
    for path in (folder.run, folder.workdir, folder.checkpoints, folder.root / "home", folder.ray):
        path.chmod(PRIVATE)
        os.chown(path, uid, uid)
        owner.give(path, like=path)
    folder.output.touch()  # now, since the agent writes in it before the program does
    owner.give(folder.output, like=folder.run)


def _taken(node_dir: Path) -> set[int]:
    return {confined.read(path).uid for path in node_dir.glob("*/*") if (path / confined.NAME).exists()}


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
