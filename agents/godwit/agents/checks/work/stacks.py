"""What the processes of an attempt are doing: their Python stacks, in groups of equal ones, the odd ones out named.

By py-spy, which reads another process's memory and does not stop it. It needs the right to trace: root has it, and the
same user unless the kernel restricts that to descendants (Yama, ptrace_scope 1). Where there is no such right, what
/proc says to everybody has to do: whether a process sleeps, and in which function of the kernel.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

PROCESSES_MAX = 64
"""A node of eight GPUs has eight ranks and some loaders each; the ranks come first."""

DUMP_S, ALL_S = 5.0, 25.0
"""For one process, which takes 0.2 s, and for all of them."""

FRAMES_MAX = 40
LIBRARIES = ("/site-packages/", "/dist-packages/", "/lib/python3", "<frozen")

_OF_RAY = ("/ray/dashboard/", "/ray/_private/", "/ray/autoscaler/", "ray.util.client.server", "ray start")
_NOT_THE_PROGRAM = (*_OF_RAY, "ray::IDLE", "JobSupervisor", "multiprocessing.resource_tracker", "/runtime/guard.py")
"""Our guard, and Ray's own processes of a cluster, by their command lines (Ray 2.60). What the dashboard starts has it
as its parent."""


@dataclass(frozen=True)
class Target:
    """One process of the program: its number, and what to call it, such as "rank 3".

    Processes of one `kind` should do the same at the same time; empty: such as nobody else.
    """

    pid: int
    name: str
    kind: str = ""


@dataclass(frozen=True)
class Stack:
    """What one process does: its frames from the innermost, or `problem`: why they could not be had."""

    target: Target
    frames: tuple[str, ...] = ()
    problem: str = ""

    @property
    def text(self) -> str:
        """On one line."""
        return " < ".join(self.frames) if self.frames else f"no Python stack ({self.problem})"


@dataclass(frozen=True)
class Group:
    """Processes that do the same."""

    members: tuple[Target, ...]
    text: str

    @property
    def names(self) -> str:
        """Who they are."""
        return ", ".join(target.name for target in self.members)


def targets(run_folder: Path) -> list[Target]:
    """The Python processes of the attempt with this run folder, ranks first; Ray's own are left out."""
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            if environment.get("GODWIT_RUN_DIR") != str(run_folder):
                continue
            command = " ".join(process.cmdline())
            if "python" in Path(process.exe()).name and not _is_other(command, process.parent()):
                found.append((_rank_of(environment), process.pid, command.strip()))
        except (psutil.Error, OSError):
            continue  # it ended meanwhile, or is another user's
    ranked = [Target(pid, f"rank {rank}", "rank") for rank, pid, _ in sorted(found) if rank >= 0]
    others = [
        Target(pid, f"process {pid} ({command[:60]})", command if command.startswith("ray::") else "")
        for rank, pid, command in sorted(found)
        if rank < 0
    ]
    return [*ranked, *others][:PROCESSES_MAX]


def _is_other(command: str, parent: psutil.Process | None) -> bool:
    if any(word in command for word in _NOT_THE_PROGRAM):
        return True
    # Workers are children of the raylet, which names the dashboard's command in its own: it is no Python process.
    above = [] if parent is None else parent.cmdline()
    is_python = bool(above) and Path(above[0]).name.startswith("python")
    return is_python and any("/ray/dashboard/" in word for word in above)


def _rank_of(environment: dict[str, str]) -> int:
    word = environment.get("RANK", "")
    return int(word) if word.isdigit() else -1


def collect(whom: Sequence[Target]) -> list[Stack]:
    """The stack of each; blocks for up to `ALL_S`."""
    spy, until, found = _spy(), time.monotonic() + ALL_S, []
    for target in whom:
        if spy is None:
            found.append(Stack(target, problem=f"py-spy is not installed; {_state(target.pid)}"))
        elif time.monotonic() < until:
            found.append(_dump(spy, target))
        else:
            found.append(Stack(target, problem="no time was left"))
    return found


def _spy() -> str | None:
    beside = Path(sys.executable).with_name("py-spy")
    return str(beside) if beside.exists() else shutil.which("py-spy")


def _dump(spy: str, target: Target) -> Stack:
    command = [spy, "dump", "--nonblocking", "--json", "--pid", str(target.pid)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DUMP_S, check=False)
        threads = json.loads(done.stdout) if done.returncode == 0 else []
    except (subprocess.TimeoutExpired, OSError, ValueError) as exc:
        return Stack(target, problem=f"{type(exc).__name__}; {_state(target.pid)}")
    frames = frames_of(threads)
    if not frames:
        said = (done.stderr.strip().splitlines() or ["py-spy said nothing"])[-1]
        return Stack(target, problem=f"{said[:200]}; {_state(target.pid)}")
    return Stack(target, frames)


def frames_of(threads: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    """The frames of the thread that does the program's work, from the innermost: "forward (model.py:12)".

    That is the main thread, unless only another one is in code that is no library's (Ray Train runs the training
    function in a thread of its own).
    """
    listed = [thread for thread in threads if thread.get("frames")]
    mains = [thread for thread in listed if thread.get("os_thread_id") == thread.get("pid")]
    own = [thread for thread in listed if any(_is_own(frame) for frame in thread["frames"])]
    chosen = next((thread for thread in (*(t for t in mains if t in own), *own, *mains, *listed)), None)
    if chosen is None:
        return ()
    return tuple(
        f"{frame['name']} ({frame.get('short_filename') or frame.get('filename')}:{frame.get('line')})"
        for frame in chosen["frames"][:FRAMES_MAX]
    )


def _is_own(frame: dict[str, Any]) -> bool:
    return not any(word in str(frame.get("filename")) for word in LIBRARIES)


def _state(pid: int) -> str:
    """What /proc says to everybody."""
    try:
        state = psutil.Process(pid).status()
        where = Path(f"/proc/{pid}/wchan").read_text().strip("0 \n")
    except (psutil.Error, OSError):
        return "it is gone"
    return f"it is {state}" + (f" in {where}" if where else "")


def moved_bytes(whom: Iterable[Target]) -> int:
    """How many bytes these processes have read and written so far, files and sockets alike where they use read(2)."""
    total = 0
    for target in whom:
        try:
            lines = Path(f"/proc/{target.pid}/io").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith(("rchar", "wchar")))
    return total


def grouped(stacks: Iterable[Stack]) -> list[Group]:
    """Equal stacks together, the smallest group first: the odd ones out are the suspects."""
    groups: dict[str, list[Target]] = {}
    for stack in stacks:
        groups.setdefault(stack.text, []).append(stack.target)
    return sorted(
        (Group(tuple(members), text) for text, members in groups.items()), key=lambda g: (len(g.members), g.names)
    )


def odd(stacks: Iterable[Stack]) -> list[Target]:
    """Those who do something else than most of their kind; nobody where a kind has no majority."""
    found: list[Target] = []
    kinds: dict[str, list[Stack]] = {}
    for stack in stacks:
        if stack.target.kind:
            kinds.setdefault(stack.target.kind, []).append(stack)
    for alike in kinds.values():
        *smaller, largest = grouped(alike)
        if len(largest.members) * 2 > len(alike):
            found += [target for group in smaller for target in group.members]
    return found


def evidence(stacks: Sequence[Stack], groups_max: int = 8, text_max: int = 3_500) -> dict[str, str | int | float]:
    """The groups as pieces of evidence, bounded; "odd" names those who do something else than most of their kind."""
    groups = grouped(stacks)
    told: dict[str, str | int | float] = {"processes": len(stacks), "groups": len(groups)}
    unlike = odd(stacks)
    if unlike:
        told["odd"] = ", ".join(target.name for target in unlike)[:500]
    for number, group in enumerate(groups[:groups_max], 1):
        told[f"stack{number}"] = f"{group.names[:500]}: {group.text}"[:text_max]
    return told
