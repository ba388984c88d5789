"""Starts and stops the process that hosts the simulated clouds of a home."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
from godwit.domain.clock import SystemClock
from godwit.domain.errors import Conflict, ProviderUnavailable
from godwit.providers import files, processes
from godwit.providers.simulated.host import EXIT_ALREADY_HOSTED, Host, api_key

START_DEADLINE_S = 30.0
"""Importing and binding take about 1 s on an idle machine; a loaded one gets thirty times that."""

STOP_DEADLINE_S = 20.0
"""Machines get 2 s to end by themselves and are then killed; several end at the same time."""

LOG_LIMIT_BYTES = 1_048_576

_POLL_S = 0.05

_started: list["subprocess.Popen[bytes]"] = []
"""Processes begun here, kept so that one that ends does not stay a zombie for longer than to the next start."""


def state_dir_of(home: Path) -> Path:
    """Where the simulated clouds of a home keep their state."""
    return home / "simulated"


def url_of(home: Path) -> str | None:
    """The address of the running process; None when there is none that answers."""
    record = _record(home)
    if record is None or not _answers(record["url"], record["pid"]):
        return None
    return str(record["url"])


def start(home: Path) -> str:
    """Start the process, detached, unless it runs; blocks until it answers and returns its address. Idempotent.

    Raises `ProviderUnavailable` with its last words when it does not come up in `START_DEADLINE_S`.
    """
    running = url_of(home)
    if running is not None:
        return running
    log = files.private_folder(state_dir_of(home)) / "simulated.log"
    processes.keep_tail(log, LOG_LIMIT_BYTES)
    child = _spawn(home, log)
    deadline = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline:
        running = url_of(home)
        if running is not None:
            return running
        if child.poll() not in (None, EXIT_ALREADY_HOSTED):  # else somebody has just started it, and it will answer
            break
        time.sleep(_POLL_S)
    raise ProviderUnavailable(f"the simulated clouds did not start; {log} ends with: {_last_words(log)}")


def _spawn(home: Path, log: Path) -> "subprocess.Popen[bytes]":
    _started[:] = [child for child in _started if child.poll() is None]
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        child = subprocess.Popen(
            [sys.executable, "-m", "godwit.providers.simulated", "--state", str(state_dir_of(home))],
            cwd=state_dir_of(home),
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
        )
    finally:
        os.close(descriptor)
    _started.append(child)
    return child


def _environment() -> dict[str, str]:
    base = processes.base_environment(Path.home(), os.environ.get("PATH", processes.STANDARD_PATH))
    return base | {key: os.environ[key] for key in ("TMPDIR",) if key in os.environ}


def stop(home: Path) -> None:
    """End every simulated machine and the process that hosts them; blocks up to `STOP_DEADLINE_S` twice. Idempotent.

    The clouds' state stays, so that bills and names survive. Raises `ProviderUnavailable` when machines are left.
    """
    if not state_dir_of(home).exists():
        return
    record = _record(home)
    if record is not None and _answers(record["url"], record["pid"]):
        _ask_to_stop(home, record)
    if record is not None:
        _kill_if_ours(record["pid"], home)
    # Whatever it left behind, because it was killed before or did not listen, is ours to end.
    try:
        host = Host(state_dir_of(home), SystemClock(), random.SystemRandom())
    except Conflict as exc:
        raise ProviderUnavailable(f"the simulated clouds of {home} do not stop: {exc.message}") from exc
    gone = host.end_all_and_wait(STOP_DEADLINE_S)
    run_dir = host.machines.run_dir
    host.close()
    if not gone:
        raise ProviderUnavailable(f"some simulated machines did not end; their folders are under {run_dir}")
    shutil.rmtree(run_dir, ignore_errors=True)
    (state_dir_of(home) / "server.json").unlink(missing_ok=True)


def _ask_to_stop(home: Path, record: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {api_key(state_dir_of(home))}"}
    try:
        httpx.post(f"{record['url']}/stop", headers=headers, timeout=5.0, trust_env=False)
    except httpx.HTTPError:
        return  # it went away meanwhile, or hangs: what follows ends it
    deadline = time.monotonic() + STOP_DEADLINE_S
    while time.monotonic() < deadline and _runs(record["pid"]):
        time.sleep(_POLL_S)


def _kill_if_ours(pid: int, home: Path) -> None:
    try:
        process = psutil.Process(pid)
        command = process.cmdline()
        if "godwit.providers.simulated" in command and str(state_dir_of(home)) in command:
            process.send_signal(signal.SIGKILL)
            deadline = time.monotonic() + 5.0
            while time.monotonic() < deadline and _runs(pid):
                time.sleep(_POLL_S)
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return  # it has ended


def _runs(pid: int) -> bool:
    """Whether it runs; a zombie, whose parent has not asked yet how it ended, does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _record(home: Path) -> dict[str, Any] | None:
    try:
        record = json.loads((state_dir_of(home) / "server.json").read_text())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _answers(url: str, pid: int) -> bool:
    try:
        return bool(httpx.get(f"{url}/health", timeout=2.0, trust_env=False).json().get("pid") == pid)
    except (httpx.HTTPError, ValueError, AttributeError):
        return False


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    said = [line.strip() for line in lines if line.strip(" ^~")]  # and not the marks of a traceback below them
    return " | ".join(said[-3:]) or "(nothing)"
