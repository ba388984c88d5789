"""Processes of an attempt whose guard was killed: they are known by their environment."""

import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

from godwit.agents.runtime import processes


def kill_marked(run_folders: Iterable[str]) -> int:
    """Kill every process whose environment names one of these run folders, for a guard that died; returns how many.

    At most 100 rounds, each 20 ms: the caller repeats it until it returns 0.
    """
    marks = {f"GODWIT_RUN_DIR={folder}".encode() for folder in run_folders}
    killed: set[int] = set()
    for _ in range(100):
        pids = [
            pid for pid in processes.all_pids() if pid != os.getpid() and marks.intersection(_environ(pid).split(b"\0"))
        ]
        if not pids:
            break
        killed.update(pids)
        for pid in pids:
            processes.send(pid, signal.SIGKILL)
        time.sleep(0.02)
    return len(killed)


def _environ(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""  # it ended meanwhile, or belongs to another user
