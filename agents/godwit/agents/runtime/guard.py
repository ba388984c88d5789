"""The guard: a process of its own session that owns every process of one attempt on one node.

    python -I -S guard.py FOLDER

It needs nothing but the standard library and outlives the agent. It goes into the folder, which may be renamed then,
and carries out the steps of `steps.json` in order; the last is the main one. Then it ends every process below it, also
those that made sessions of their own or lost their parents, and writes `exit.json` last of all. That comes when

- a step fails, or the main one ends;
- `stop.json` appears (`{"grace_s": 5.0}`: the program is asked first) or SIGTERM comes;
- the lease runs out: the instant in the lease file (CLOCK_BOOTTIME seconds) passes. The agent moves it on with each
  answered heartbeat; nobody has to be alive for the lease to end.

It holds a lock on `guard.lock` as long as it lives: that is how others see that it does.
"""

import ctypes
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

LOOK_EVERY_S = 0.2
"""How often the lease and the stop file are looked at; a fifth of a heartbeat."""

_PR_SET_CHILD_SUBREAPER = 36
"""From <linux/prctl.h>: orphans below this process become its children."""

_PROC = Path("/proc")
_SHELLS = [["sh"], ["dash"], ["bash"], ["zsh"], ["ksh"], ["busybox"]]


class Ended(Exception):
    """The attempt is over on this node; the fields say how."""

    def __init__(self, cause: str, step: str, exit_code: int | None = None) -> None:
        super().__init__(cause)
        self.cause, self.step, self.exit_code = cause, step, exit_code


class Guard:
    """Carries out the steps of one folder, watching lease and stop file meanwhile."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        spec = json.loads((folder / "steps.json").read_text())
        self._steps: list[dict[str, Any]] = spec["steps"]
        self._lease_path = Path(spec["lease_path"])
        self._step = ""

    def run(self) -> Ended:
        """Carry out all steps; returns how it ended, with every process gone."""
        try:
            for step in self._steps:
                self._step = step["name"]
                (self._wait_for_port if "connect" in step else self._carry_out)(step)
            ended = Ended("ended", self._step, 0)
        except Ended as exc:
            ended = exc
        kill_descendants(os.getpid())
        return ended

    def _carry_out(self, step: dict[str, Any]) -> None:
        with Path(step["log"]).open("ab") as log:
            child = subprocess.Popen(
                step["argv"], cwd=step["cwd"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                # The guard blocks signals for itself and is single-threaded; what it starts must hear SIGTERM.
                preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, set()),  # noqa: PLW1509
            )  # fmt: skip
        while (code := _reap(child.pid)) is None:
            self._look()
            signal.sigtimedwait({signal.SIGCHLD}, LOOK_EVERY_S)
        if code != 0:
            raise Ended("ended", self._step, code)

    def _wait_for_port(self, step: dict[str, Any]) -> None:
        host, port = step["connect"]
        deadline = time.monotonic() + step["timeout_s"]
        while time.monotonic() < deadline:
            self._look()
            if _connect_error(host, port, 1.0) is None:
                return
            time.sleep(0.05)
        raise Ended("head-unreachable", self._step)

    def _look(self) -> None:
        """Raise `Ended` when it is time to stop."""
        if (left_s := read_deadline_s(self._lease_path) - boottime_s()) <= 0:
            raise Ended("lease", self._step)
        order = _read_stop(self._folder / "stop.json")
        if order is None and signal.SIGTERM in signal.sigpending():
            time.sleep(min(1.0, left_s))  # an agent whose machine goes down hears it too, and says how long is left
            order = _read_stop(self._folder / "stop.json") or 0.0
        if order is not None:
            self._ask_program_to_stop(order)
            raise Ended("stopped", self._step)

    def _ask_program_to_stop(self, grace_s: float) -> None:
        """Send SIGTERM to what the program started, and wait until it ended or the grace is over."""
        if grace_s <= 0:
            return
        start, told = time.monotonic(), list[int]()
        while time.monotonic() - start < grace_s and boottime_s() < read_deadline_s(self._lease_path):
            if not any(_is_alive(pid) for pid in told):
                told = _to_be_told(self._folder)
                for pid in told:
                    send(pid, signal.SIGTERM)
            saving = any(_is_alive(pid) and _catches_sigterm(pid) for pid in told)
            over = not saving and (self._folder / "run" / "exit_code").exists()
            order = _read_stop(self._folder / "stop.json")
            if order is not None and time.monotonic() - start >= order:
                return
            if over or not descendants(os.getpid()) or self._head_is_gone():
                return
            time.sleep(LOOK_EVERY_S / 4)

    def _head_is_gone(self) -> bool:
        """Whether the head closed its port: the program is over, and with it all that worked for it here."""
        heads = [tuple(step["connect"]) for step in self._steps if "connect" in step]
        return any(isinstance(_connect_error(host, port, LOOK_EVERY_S), ConnectionRefusedError) for host, port in heads)


def _connect_error(host: str, port: int, timeout_s: float) -> OSError | None:
    try:
        socket.create_connection((host, port), timeout=timeout_s).close()
    except OSError as exc:
        return exc
    return None


def boottime_s() -> float:
    """Seconds since the machine booted, sleep included: the clock of leases."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def read_deadline_s(path: Path) -> float:
    """The instant at which the lease ends; a lease file that is not there or not readable is no lease."""
    try:
        return float(path.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0.0


def kill_descendants(root: int) -> None:
    """Kill every process below `root` and reap them; returns when none is left.

    There is no bound: a process in uninterruptible sleep dies when the kernel lets it, and saying "gone" before that
    would be a lie that gives its GPUs away.
    """
    pause_s = 0.01
    while pids := descendants(root):
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


def _to_be_told(folder: Path) -> list[int]:
    """Those that catch SIGTERM, since they want to save; if there are none, all of the program.

    What would only die of it lives on meanwhile: a shell's end is the program's, a reader of its output is needed, and
    a loader's death is an error in the one that saves. A shell with a trap runs it once its child is gone.
    """
    try:
        saver = folder / "run" / "saver.pid"  # who saves the program as a process: it cannot, and is not to hear of it
        named = saver if saver.exists() else folder / "run" / "program.pid"
        ours, first = set(descendants(os.getpid())), int(_said(named))
    except (OSError, ValueError):
        return []
    if named == saver:
        return [first] if first in ours else []
    program = [pid for pid in descendants(first) if pid in ours]  # the file is the program's to write
    hearing = [pid for pid in program if _catches_sigterm(pid)]
    shells = [pid for pid in hearing if status(pid).split(maxsplit=2)[1:2] in _SHELLS]
    needed = {pid for saver in hearing if saver not in shells for pid in [saver, *descendants(saver)]}
    below = {pid for shell in shells for pid in descendants(shell)} - needed
    in_the_way = [pid for pid in below if not needed.intersection(descendants(pid))]
    return [*hearing, *in_the_way] if hearing else program


def _said(path: Path) -> bytes:
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        return file.read(64)  # a program wrote it: a pipe in its place must not hold the guard up


def _catches_sigterm(pid: int) -> bool:
    caught = status(pid).partition("SigCgt:")[2].split(maxsplit=1)  # a mask in hex; bit n - 1 is signal n (proc(5))
    return bool(caught) and bool(int(caught[0], 16) >> (signal.SIGTERM - 1) & 1)


def _is_alive(pid: int) -> bool:
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


def _reap(main: int) -> int | None:
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


def _read_stop(path: Path) -> float | None:
    try:
        return float(json.loads(path.read_text())["grace_s"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0  # an order to stop that cannot be read is still an order to stop


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader sees all of it or nothing."""
    draft = path.with_name(path.name + ".tmp")
    draft.write_text(text)
    draft.replace(path)


def main() -> None:
    """Guard the folder named on the command line; leaves at once if it has a guard already or had one."""
    os.chdir(sys.argv[1])
    lock = Path("guard.lock").open("wb")  # noqa: SIM115 - held as long as we live
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    if Path("exit.json").exists():
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
    write_whole(Path("guard.pid"), str(os.getpid()))
    ended = Guard(Path()).run()
    write_whole(Path("exit.json"), json.dumps(vars(ended)))


if __name__ == "__main__":
    main()
