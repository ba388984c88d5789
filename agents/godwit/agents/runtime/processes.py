"""Processes of this machine as /proc shows them: who is below whom, what they are told, how they end.

The guard stands on it: it needs nothing but the standard library.
"""

import os
import signal
import time
from collections.abc import Collection
from pathlib import Path

_PROC = Path("/proc")


def kill_descendants(root: int, spared: Collection[int] = ()) -> None:
    """Kill every process below `root` but the spared and those below them, and reap them; returns when none is left.

    There is no bound: a process in uninterruptible sleep dies when the kernel lets it, and saying "gone" before that
    would be a lie that gives its GPUs away.
    """
    pause_s = 0.01
    while pids := set(descendants(root)).difference(*([pid, *descendants(pid)] for pid in spared)):
        for pid in pids:
            send(pid, signal.SIGKILL)
        while _wait_any() is not None:
            pass
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, 0.5)


def descendants(root: int) -> list[int]:
    """All processes below `root`, children before their own children; zombies count until reaped."""
    children: dict[int, list[int]] = {}
    for pid in all_pids():
        children.setdefault(parent_of(pid), []).append(pid)
    found, todo = [], [root]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def catches_sigterm(pid: int) -> bool:
    """Whether a process does something of its own at SIGTERM."""
    caught = status(pid).partition("SigCgt:")[2].split(maxsplit=1)  # a mask in hex; bit n - 1 is signal n (proc(5))
    return bool(caught) and bool(int(caught[0], 16) >> (signal.SIGTERM - 1) & 1)


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    state = status(pid).partition("State:")[2].strip()
    return bool(state) and not state.startswith("Z")


def status(pid: int) -> str:
    """What /proc says of a process; nothing once it is gone."""
    try:
        return (_PROC / str(pid) / "status").read_text()
    except OSError:
        return ""


def all_pids() -> list[int]:
    """Every process of this machine."""
    return [int(name) for name in os.listdir(_PROC) if name.isdigit()]


def parent_of(pid: int) -> int:
    """The parent of a process; 0 once it is gone."""
    try:
        # The name in parentheses may hold spaces and parentheses; what follows the last one is fixed (proc(5)).
        return int((_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0  # it ended meanwhile


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal; nothing when the process is gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it ended meanwhile


def reap(main: int) -> int | None:
    """Reap everything that ended; returns the exit code of `main` once it did (128 + n for signal n)."""
    code = None
    while (ended := _wait_any()) is not None:
        if ended[0] == main:
            code = ended[1]
    return code


def _wait_any() -> tuple[int, int] | None:
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    code = os.waitstatus_to_exitcode(status)
    return (pid, code if code >= 0 else 128 - code) if pid else None
