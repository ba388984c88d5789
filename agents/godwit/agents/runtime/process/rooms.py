"""A room: a PID namespace and a mount namespace, so that a program finds its pids and its paths again elsewhere.

CRIU gives a restored process the pid that it had, and opens its files by the paths that they had. In a room every
attempt has all pids to itself, and sees its own folder at `HERE`, wherever that lies on the node.
"""

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path("/run/godwit/here")
"""Where every program sees its attempt's folder; the folder is made on the node, and nothing is ever written there."""

FIRST_PID = 1000
"""The program's pids begin here. Below are those that CRIU itself takes when it restores in a fresh room. A kernel that
ran out of pids begins again at 300 (RESERVED_PIDS in kernel/pid.c), so a restored program never meets them."""

_CLONE_NEWNS, _CLONE_NEWPID = 0x00020000, 0x20000000  # <linux/sched.h>
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000  # <linux/mount.h>
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>

_libc = ctypes.CDLL(None, use_errno=True)


def see_here(folder: Path) -> None:
    """This process and its children see `folder` at `HERE` from now on. Raises `OSError`."""
    HERE.mkdir(parents=True, exist_ok=True)
    _unshare(_CLONE_NEWNS)
    _mount("none", "/", "", _MS_REC | _MS_PRIVATE)
    _mount(str(folder), str(HERE), "", _MS_BIND)


def begin() -> int:
    """Children of this process are born in a PID namespace of their own from now on; returns the pid of its first one.

    That first one reaps orphans and dies with this process; with it dies every other. Call `see_here` before, since
    /proc shows the room from now on. Raises `OSError`.
    """
    _unshare(_CLONE_NEWPID)
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        _be_first(told)
    os.close(told)
    try:
        if os.read(ready, 1) != b"1":
            raise OSError("the first process of the room could not mount its /proc")
    finally:
        os.close(ready)
    return pid


def in_room(act: Callable[[], None]) -> None:
    """Do something in a child, which is in the room as this process is not, and wait for it. Raises `OSError`."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            act()
            code = 0
        finally:
            os._exit(code)
    if os.waitpid(pid, 0)[1] != 0:
        raise OSError("a step within the program's room failed")


def next_pid(after: int) -> None:
    """The next process of the room gets a pid above `after`. Raises `OSError`."""
    in_room(lambda: _write(Path("/proc/sys/kernel/ns_last_pid"), str(after)))


def greatest_pid() -> int:
    """The greatest id of a process or a thread in the room; /proc is the room's."""
    ids = [int(task.name) for task in Path("/proc").glob("[0-9]*/task/[0-9]*")]
    return max(ids, default=FIRST_PID)


def tell_all(number: signal.Signals) -> None:
    """Send a signal to every process of the room but its first. Raises `OSError`."""
    in_room(lambda: _kill_all(number))


def empty() -> None:
    """End every process of the room but its first, and reap those that are this process's children.

    There is no bound, as there is none for the guard: a process that does not die is still there.
    """
    tell_all(signal.SIGKILL)
    while any(path.name != "1" for path in Path("/proc").glob("[0-9]*")):
        _reap()
        time.sleep(0.01)


def die_with_parent() -> None:
    """End this process when the thread that made it does."""
    _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def _be_first(told: int) -> None:
    code = 1
    try:
        die_with_parent()
        _mount("proc", "/proc", "proc", 0)
        os.write(told, b"1")
        os.close(told)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        while True:
            signal.sigwait({signal.SIGCHLD})
            _reap()
    finally:
        os._exit(code)


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return  # it has none now


def _kill_all(number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # nobody is there
        os.kill(-1, number)


def _write(path: Path, text: str) -> None:
    path.write_text(text)


def _unshare(flags: int) -> None:
    _checked("unshare", _libc.unshare(flags))


def _mount(source: str, target: str, kind: str, flags: int) -> None:
    _checked(f"mount {target}", _libc.mount(source.encode(), target.encode(), kind.encode(), flags, None))


def _checked(what: str, result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
