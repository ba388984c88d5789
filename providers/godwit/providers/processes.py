"""Processes of one machine: started in a session of their own, and found again by the mark that all of them inherit."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

MARK = "GODWIT_INSTANCE_MARK"
"""The environment variable that every process of a machine inherits."""

STANDARD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What Debian's /etc/profile gives root."""

_INIT = 'sh "$1"; status=$?; echo "$status" > "$2"; exit "$status"'
"""The machine's first process: runs the startup script and notes how it ended, which a power cut leaves undone."""

_AGENT = "godwit.agents"
"""A word of the agent's command line, and of no other process of a machine: its guards are named in full."""

_SCAN_PAUSE_S = 0.02
_QUIET_SCANS = 2
"""Scans in a row that must find nothing: /proc shows an empty environment while a process is inside exec()."""


@dataclass(frozen=True)
class FirstProcess:
    """The first process of a machine. `started` tells it from a later one with the same pid.

    It is in clock ticks since the computer's start where /proc says so: unlike a time of day, that never moves.
    """

    pid: int
    started: float


def base_environment(home: Path, path: str = STANDARD_PATH) -> dict[str, str]:
    """What a machine's processes start from: built from nothing, so that no secret of ours leaks into it."""
    image_bin = str(Path(sys.executable).parent)
    # What saves programs here, if named; whether a Ray stands by on idle nodes, if said; whether programs are confined:
    # unless told, those on somebody's own machine reach what their owner reaches.
    said = {key: os.environ[key] for key in ("GODWIT_CRIU", "GODWIT_WARM_RAY") if key in os.environ}
    said["GODWIT_CONFINE"] = os.environ.get("GODWIT_CONFINE", "off")
    return {"PATH": f"{image_bin}:{path}", "HOME": str(home), "LANG": "C.UTF-8", "GODWIT_PYTHON": sys.executable} | said


def start(
    script: Path, ended: Path, log: Path, cwd: Path, environment: Mapping[str, str]
) -> tuple[FirstProcess, "subprocess.Popen[bytes]"]:
    """Run `script` with `sh` as a session of its own; its status is written to `ended`, its output appended to `log`.

    The caller keeps the Popen and polls it, so that the process does not stay a zombie. Raises `OSError`.
    """
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        child = subprocess.Popen(
            ["sh", "-c", _INIT, "machine", str(script), str(ended)],
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
        )
    finally:
        os.close(descriptor)
    return FirstProcess(child.pid, _started(child.pid)), child


def is_alive(first: FirstProcess) -> bool:
    """Whether this very process still runs; a zombie does not."""
    try:
        zombie = psutil.Process(first.pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    return not zombie and _started(first.pid) == first.started


def _started(pid: int) -> float:
    """When it started; 0 when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        return float(stat.rpartition(")")[2].split()[19])  # proc(5): field 22, and field 3 follows the name
    except OSError:
        pass  # gone, or a system without /proc
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return 0.0


def members(mark: str, sessions: Iterable[int] = ()) -> list[psutil.Process]:
    """Every live process of the machine `mark`; blocks for one walk over /proc (tens of milliseconds).

    Those that carry the mark, their descendants, and all in their sessions or in `sessions`: a program that sets its
    title (Ray's workers do) overwrites the memory that /proc shows as its environment, and so loses the mark.
    """
    table = [row for row in map(_row, psutil.process_iter()) if row is not None]
    own_session = os.getsid(0)
    machine_sessions = set(sessions)
    found: dict[int, psutil.Process] = {}
    grown = True
    while grown:
        grown = False
        for process, parent, session, its_mark in table:
            if process.pid in found or process.pid == os.getpid():
                continue
            if its_mark == mark or parent in found or session in machine_sessions:
                found[process.pid] = process
                if session not in (0, own_session):
                    machine_sessions.add(session)
                grown = True
    return list(found.values())


def _row(process: psutil.Process) -> tuple[psutil.Process, int, int, str | None] | None:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        parent, session = process.ppid(), os.getsid(process.pid)
    except (psutil.Error, OSError):
        return None  # it ended while we looked
    try:
        mark = process.environ().get(MARK)
    except (psutil.Error, OSError):
        mark = None  # another user's process, or inside exec(): the next scan decides
    return process, parent, session, mark


def kill_agents(mark: str, sessions: Iterable[int] = ()) -> None:
    """SIGKILL to the agents of the machine `mark`, and to nothing else of it: who started them starts them again."""
    for process in members(mark, sessions):
        try:
            if _AGENT in process.cmdline():
                process.kill()
        except psutil.Error:
            continue  # it ended by itself


def end(mark: str, first: FirstProcess | None = None, grace_s: float = 0.0) -> None:
    """End every process of the machine `mark`: SIGTERM and up to `grace_s` of patience first, then SIGKILL.

    Blocks until none is left, `first` (which leads a session) included. Without a bound on purpose: to report a
    machine as gone while a process of it lives would let its work run twice, and a process in uninterruptible sleep
    dies as soon as its I/O returns.
    """
    sessions = {first.pid} if first is not None and is_alive(first) else set()
    if grace_s > 0:
        _signal(members(mark, sessions), signal.SIGTERM, sessions)
        deadline = time.monotonic() + grace_s
        while time.monotonic() < deadline and members(mark, sessions):
            time.sleep(5 * _SCAN_PAUSE_S)
    quiet, pause_s = 0, _SCAN_PAUSE_S
    while quiet < _QUIET_SCANS:
        alive = members(mark, sessions)
        _signal(alive, signal.SIGKILL, sessions)
        quiet = 0 if alive else quiet + 1
        time.sleep(pause_s)
        pause_s = min(2.0, pause_s * 1.5) if alive else _SCAN_PAUSE_S


def _signal(processes: Iterable[psutil.Process], number: signal.Signals, sessions: set[int]) -> None:
    own_session = os.getsid(0)
    for process in processes:
        try:
            session = os.getsid(process.pid)
            if session != own_session:
                sessions.add(session)
            process.send_signal(number)
        except (psutil.NoSuchProcess, ProcessLookupError):
            continue  # it ended by itself: what we wanted
        except psutil.AccessDenied:
            continue  # another user's: the next scan finds it again, so the machine is not said to be gone


def keep_tail(log: Path, limit_bytes: int) -> None:
    """Cut a log that is being appended to down to its last half once it exceeds `limit_bytes`.

    Lines written while we cut are lost; the file is for a person who asks why a machine did not come up.
    """
    try:
        if log.stat().st_size <= limit_bytes:
            return
        with log.open("r+b") as file:
            file.seek(-(limit_bytes // 2), os.SEEK_END)
            tail = file.read()
            file.truncate(0)
            file.seek(0)
            file.write(tail)
    except FileNotFoundError:
        return  # the machine is gone
