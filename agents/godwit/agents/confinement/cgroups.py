"""Where an attempt's processes are counted and bounded: control groups, of version 2 or 1, or some of each.

    <the agent's own group>/godwit/<attempt>        in each hierarchy that has a controller that is wanted

What is written there is root's to write, and never a program's (cgroups(7), docs.kernel.org/admin-guide/cgroup-v2).
"""

import os
import signal
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from godwit.agents.runtime import processes

CONTROLLERS = ("memory", "pids", "cpu")

GROUP, LEAF = "godwit", "godwit-agent"
"""Below the agent's own group: that of all attempts, and one for itself, since version 2 lets no group with controllers
for its children have processes of its own."""

END_S = 0.02


@dataclass(frozen=True)
class Bounds:
    """What one attempt may take: bytes of memory, processes and threads, and its part of the CPUs (1.0: all)."""

    memory_bytes: int
    pids: int
    share: float

    def files(self, version: int) -> dict[str, tuple[str, str]]:
        """Which file of which controller says it."""
        weight, shares = max(1, round(100 * self.share)), max(2, round(1024 * self.share))
        if version == 2:
            return {
                "memory": ("memory.max", str(self.memory_bytes)),
                "pids": ("pids.max", str(self.pids)),
                "cpu": ("cpu.weight", str(weight)),
            }
        return {
            "memory": ("memory.limit_in_bytes", str(self.memory_bytes)),
            "pids": ("pids.max", str(self.pids)),
            "cpu": ("cpu.shares", str(shares)),
        }


@dataclass(frozen=True)
class Tree:
    """One hierarchy: its version, the agent's own group in it, and the controllers that are taken from it."""

    version: int
    own: Path
    controllers: frozenset[str]


def trees(mountinfo: str, cgroup: str) -> list[Tree]:
    """The hierarchies that this process is in, from /proc/self/mountinfo and /proc/self/cgroup (cgroups(7)). Pure.

    A controller is in one hierarchy. That of version 2 is told of even without any: all of a group can be ended there.
    Which of its controllers are there is asked of its files later.
    """
    paths = {names: path for _, names, path in (line.split(":", 2) for line in cgroup.splitlines())}
    found, seen = list[Tree](), set[str]()
    for root, point, kind, options in _mounts(mountinfo):
        if kind == "cgroup2" and "" in paths:
            found.append(Tree(2, _folder(root, point, paths[""]), frozenset()))
        for names, path in paths.items():
            here = set(names.split(",")) & set(CONTROLLERS) & set(options.split(","))
            if kind == "cgroup" and here - seen:
                found.append(Tree(1, _folder(root, point, path), frozenset(here - seen)))
                seen |= here
    return found


def _mounts(mountinfo: str) -> list[tuple[str, str, str, str]]:
    rows = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        if after.startswith(("cgroup ", "cgroup2 ")):
            fields, (kind, _, options) = before.split(), after.split(" ", 2)
            rows.append((fields[3], fields[4], kind, options))
    return rows


def _folder(root: str, point: str, path: str) -> Path:
    """In a container the mount may show a part of the hierarchy only: what `root` says is left out of the path."""
    below = path.removeprefix(root) if root != "/" and path.startswith(root) else path if root == "/" else ""
    return Path(point) / below.strip("/")


def prepare(known: Collection[Tree]) -> list[Tree]:
    """Make the group of all attempts in each hierarchy; returns those where that worked, with what each controls."""
    ready = list[Tree]()
    for tree in known:
        try:
            (tree.own / GROUP).mkdir(exist_ok=True)
            ready.append(tree if tree.version == 1 else Tree(2, tree.own, _opened(tree.own)))
        except OSError:
            continue  # read-only, as in most containers: the node says that it has none
    return ready


def _opened(own: Path) -> frozenset[str]:
    """The controllers that attempts can have in version 2, handed down to them."""
    there = set((own / "cgroup.controllers").read_text().split()) & set(CONTROLLERS)
    if not there:
        return frozenset()
    try:
        for _ in range(2):
            try:
                _hand_down(own, there)
                _hand_down(own / GROUP, there)
                return frozenset(there)
            except OSError:
                _move_aside(own)
    except OSError:
        return frozenset()  # somebody else's processes are in our group: it is not for us to move them
    return frozenset()


def _hand_down(group: Path, controllers: Collection[str]) -> None:
    (group / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in sorted(controllers)))


def _move_aside(own: Path) -> None:
    """Our own processes into a leaf; raises `OSError` where there are others."""
    pids = members(own)
    above = [os.getpid()]
    while above[-1] > 1:
        above.append(processes.parent_of(above[-1]))
    oldest = [pid for pid in above if pid in pids][-1:]
    ours = {pid for first in oldest for pid in (first, *processes.descendants(first))}
    if not set(pids) <= ours:
        raise OSError(f"{own} has processes that are not the agent's")
    (own / LEAF).mkdir(exist_ok=True)
    for pid in pids:
        (own / LEAF / "cgroup.procs").write_text(str(pid))


def make(ready: Collection[Tree], name: str, bounds: Bounds) -> list[str]:
    """Make an attempt's groups, bounded; harmless to repeat. Raises `OSError`."""
    folders = []
    for tree in ready:
        folder = tree.own / GROUP / name
        folder.mkdir(exist_ok=True)
        for controller, (file, value) in bounds.files(tree.version).items():
            if controller in tree.controllers:
                (folder / file).write_text(value)
        folders.append(str(folder))
    return folders


def members(folder: Path) -> list[int]:
    """The processes in a group; none when it is gone."""
    try:
        return [int(line) for line in (folder / "cgroup.procs").read_text().split()]
    except FileNotFoundError:
        return []


def oom_kills(folders: Collection[str]) -> int:
    """How many processes the kernel ended there for want of memory (version 1 says it since Linux 4.13)."""
    return max((_counted(Path(folder) / file) for folder in folders for file in _OOM_FILES), default=0)


_OOM_FILES = ("memory.events", "memory.oom_control")


def _counted(path: Path) -> int:
    try:
        rows: Mapping[str, str] = dict(line.split(maxsplit=1) for line in path.read_text().splitlines())
        return int(rows.get("oom_kill", "0"))
    except (OSError, ValueError):
        return 0


def end(folders: Collection[str]) -> bool:
    """Kill all that is in the groups, and remove them; returns whether they are gone. Call it until they are."""
    for folder in map(Path, folders):
        try:
            (folder / "cgroup.kill").write_text("1")  # Linux 5.14, version 2: all at once
        except OSError:
            for pid in members(folder):
                processes.send(pid, signal.SIGKILL)
    gone = all(_removed(Path(folder)) for folder in folders)
    if not gone:
        time.sleep(END_S)
    return gone


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False  # a process is still there
    return True
