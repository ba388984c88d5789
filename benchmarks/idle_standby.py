"""What a Ray costs that stands by on an idle node: Ray's own processes, which the agent's figures do not count."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from godwit.agents.runtime.folder import AttemptFolder
from godwit.agents.runtime.guard import boottime_s, write_whole
from godwit.agents.runtime.ray_cluster import NodeFacts
from godwit.agents.runtime.standby import SHELF
from godwit.agents.runtime.standby_keeper import StandbyKeeper

from benchmarks import homes
from benchmarks.figures import Figure

ADDRESS = "127.21.0.11"
UP_S, SETTLE_S, WINDOW_S = 90.0, 20.0, 30.0
MB = 1e6


def measure() -> Iterator[Figure]:
    """CPU and memory of a Ray that nobody uses, with its guard."""
    folder = Path(tempfile.mkdtemp(prefix="gw-ray-"))  # short: Ray's sockets lie in it
    write_whole(folder / "lease", f"{boottime_s() + 3_600} boot")
    facts = NodeFacts(ADDRESS, os.cpu_count() or 1, str(homes.BIN / "python"), simulated=True)
    keeper = StandbyKeeper(folder, folder / "lease", facts, [0], lambda: True)
    keeper.start()
    try:
        homes.wait_until(lambda: _is_up(folder), UP_S, "Ray that stands by")
        yield from _at_rest(folder)
    finally:
        keeper.close()
        shutil.rmtree(folder, ignore_errors=True)


def _is_up(folder: Path) -> bool:
    names = [path.name for path in (folder / SHELF).glob("*")]
    return any(AttemptFolder(folder, name, SHELF).ray_is_up() for name in names)


def _at_rest(folder: Path) -> Iterator[Figure]:
    time.sleep(SETTLE_S)  # its dashboard loads
    processes = _processes(folder)
    before, began = _cpu_s(processes), time.monotonic()
    time.sleep(WINDOW_S)  # the measurement itself: what it uses while left alone
    percent = 100 * (_cpu_s(processes) - before) / (time.monotonic() - began)
    proportional = sum(process.memory_full_info().pss for process in processes) / MB
    note = f"over {WINDOW_S:g} s, {len(processes)} processes; on {sys.platform}, {os.cpu_count()} cores"
    yield Figure("idle: a Ray that stands by, CPU", percent, "% of a core", note=note)
    yield Figure("idle: a Ray that stands by, memory", proportional, "MB", note="shared pages divided among them")


def _processes(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("GODWIT_RUN_DIR", "").startswith(str(folder)):
                found.append(process)
        except psutil.Error:
            continue
    return found


def _cpu_s(processes: list[psutil.Process]) -> float:
    return sum(process.cpu_times().user + process.cpu_times().system for process in processes)
