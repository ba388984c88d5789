"""The guard: a process of its own session that owns every process of one attempt on one node.

    python -I -S guard.py FOLDER

It needs nothing but the standard library and outlives the agent. It goes into the folder, which may be renamed then,
and carries out the steps of `steps.json` in order, each as its `Starts` say; the last is the main one. Then it ends
every process below it, also those that made sessions of their own or lost their parents, and writes `exit.json` last of
all. That comes when

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
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[3]))  # -I and -S know only the standard library
from godwit.agents.runtime import processes
from godwit.agents.runtime.turns import Turn

LOOK_EVERY_S = 0.2
"""How often the lease and the stop file are looked at; a fifth of a heartbeat."""

TURN_S = 60.0
"""How long a step waits for its turn, and has it: twice what Ray gives itself to start."""

_PR_SET_CHILD_SUBREAPER = 36
"""From <linux/prctl.h>: orphans below this process become its children."""

_SHELLS = [["sh"], ["dash"], ["bash"], ["zsh"], ["ksh"], ["busybox"]]


class Ended(Exception):
    """The attempt is over on this node; the fields say how."""

    def __init__(self, cause: str, step: str, exit_code: int | None = None) -> None:
        super().__init__(cause)
        self.cause, self.step, self.exit_code = cause, step, exit_code


class Starts(NamedTuple):
    """How a step starts, where that is more than to run it; the words are looked for in what this try has logged.

    With `turn`, a file, no other step with the same one starts meanwhile, until it says `up`. What fails and says
    `late` runs again, after each pause of `again_after_s` once.
    """

    turn: str = ""
    up: str = ""
    late: str = ""
    again_after_s: tuple[float, ...] = ()


class Log:
    """A step's log, of which what is there already is another's."""

    def __init__(self, path: Path) -> None:
        self.path, self._begins = path, path.stat().st_size if path.exists() else 0

    def says(self, words: str) -> bool:
        """Whether this step has said so; one whose log is gone has said nothing."""
        try:
            with self.path.open("rb") as log:
                log.seek(self._begins)
                return words.encode() in log.read()
        except FileNotFoundError:
            return False


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
        processes.kill_descendants(os.getpid())
        return ended

    def _carry_out(self, step: dict[str, Any]) -> None:
        """Run a step to its end; one that failed because its start took too long runs again after a pause."""
        starts = Starts(**step.get("starts", {}))
        spared = frozenset(processes.descendants(os.getpid()))
        for pause_s in (*starts.again_after_s, None):
            log = Log(Path(step["log"]))
            code = self._ran(step, log, starts)
            if code == 0:
                return
            if pause_s is None or not log.says(starts.late):
                raise Ended("ended", self._step, code)
            processes.kill_descendants(os.getpid(), spared)
            self._watch_until(time.monotonic() + pause_s, lambda: False)

    def _ran(self, step: dict[str, Any], log: Log, starts: Starts) -> int:
        with Turn(starts.turn) as turn:
            self._watch_until(time.monotonic() + TURN_S, turn.taken)
            with log.path.open("ab") as output:
                child = subprocess.Popen(
                    step["argv"], cwd=step["cwd"], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                    # The guard blocks signals for itself and is single-threaded; what it starts must hear SIGTERM.
                    preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, set()),  # noqa: PLW1509
                )  # fmt: skip
            over_at = time.monotonic() + TURN_S
            while (code := processes.reap(child.pid)) is None:
                if turn.held and (time.monotonic() > over_at or log.says(starts.up)):
                    turn.give_back()
                self._look()
                signal.sigtimedwait({signal.SIGCHLD}, LOOK_EVERY_S)
        return code

    def _watch_until(self, deadline: float, done: Callable[[], bool]) -> None:
        while not done() and time.monotonic() < deadline:
            self._look()
            time.sleep(LOOK_EVERY_S / 4)

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
            if not any(processes.is_alive(pid) for pid in told):
                told = _to_be_told(self._folder)
                for pid in told:
                    processes.send(pid, signal.SIGTERM)
            saving = any(processes.is_alive(pid) and processes.catches_sigterm(pid) for pid in told)
            over = not saving and (self._folder / "run" / "exit_code").exists()
            order = _read_stop(self._folder / "stop.json")
            if order is not None and time.monotonic() - start >= order:
                return
            if over or not processes.descendants(os.getpid()) or self._head_is_gone():
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


def _to_be_told(folder: Path) -> list[int]:
    """Those that catch SIGTERM, since they want to save; if there are none, all of the program.

    What would only die of it lives on meanwhile: a shell's end is the program's, a reader of its output is needed, and
    a loader's death is an error in the one that saves. A shell with a trap runs it once its child is gone.
    """
    try:
        saver = folder / "run" / "saver.pid"  # who saves the program as a process: it cannot, and is not to hear of it
        named = saver if saver.exists() else folder / "run" / "program.pid"
        ours, first = set(processes.descendants(os.getpid())), int(_said(named))
    except (OSError, ValueError):
        return []
    if named == saver:
        return [first] if first in ours else []
    program = [pid for pid in processes.descendants(first) if pid in ours]  # the file is the program's to write
    hearing = [pid for pid in program if processes.catches_sigterm(pid)]
    shells = [pid for pid in hearing if processes.status(pid).split(maxsplit=2)[1:2] in _SHELLS]
    needed = {pid for saver in hearing if saver not in shells for pid in [saver, *processes.descendants(saver)]}
    below = {pid for shell in shells for pid in processes.descendants(shell)} - needed
    in_the_way = [pid for pid in below if not needed.intersection(processes.descendants(pid))]
    return [*hearing, *in_the_way] if hearing else program


def _said(path: Path) -> bytes:
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        return file.read(64)  # a program wrote it: a pipe in its place must not hold the guard up


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
