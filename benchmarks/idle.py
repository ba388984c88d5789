"""What godwit costs while nothing happens, and what its command costs each time.

Baselines: a bare interpreter, and one that has only imported the server's libraries.
"""

import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import psutil

from benchmarks import api_throughput, homes, idle_agent, idle_standby, keep_alive
from benchmarks.figures import Figure, at_most

WINDOW_S = 30.0
ROUNDS = 7
LISTED = 100
MEMORY_GOAL_MB, CPU_GOAL_PERCENT = 200.0, 2.0
PS_GOAL_CPU_S, HELP_GOAL_S = 0.5, 0.3
MB = 1e6

LIBRARIES = (
    "import fastapi, sqlalchemy, uvicorn, alembic, httpx, resource;"
    "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"
)


def measure() -> Iterator[Figure]:
    """Memory and CPU of an idle control plane, agent and Ray; CPU of `godwit ps`; wall time of `godwit --help`."""
    yield from idle_agent.measure()
    yield from idle_standby.measure()
    godwit = str(homes.BIN / "godwit")
    with homes.serving() as home:
        yield from _at_rest(home)
        submit = api_throughput.submissions(home.token)
        keep_alive.send(home.port, [submit() for _ in range(LISTED)])
        listed = [_cost([godwit, "ps"], home.folder) for _ in range(ROUNDS)]
        helped = [_cost([godwit, "--help"], home.folder) for _ in range(ROUNDS)]
        bare = [_cost([sys.executable, "-c", "pass"], home.folder) for _ in range(ROUNDS)]
    note = f"median of {ROUNDS}; {LISTED} jobs listed"
    yield Figure("idle: godwit ps", median(cpu for cpu, _ in listed), "CPU s", at_most(PS_GOAL_CPU_S), note)
    yield Figure("idle: godwit --help", median(wall for _, wall in helped), "s", at_most(HELP_GOAL_S))
    yield Figure("idle: python -c pass", median(cpu for cpu, _ in bare), "CPU s", note="baseline")


def _at_rest(home: homes.Home) -> Iterator[Figure]:
    process, clouds = psutil.Process(home.pid), _clouds(home.folder)
    before, clouds_before, began = _cpu_s(process), _cpu_s(clouds), time.monotonic()
    time.sleep(WINDOW_S)  # the measurement itself: what it uses while left alone
    took_s = time.monotonic() - began
    percent = 100 * (_cpu_s(process) - before) / took_s
    clouds_percent = 100 * (_cpu_s(clouds) - clouds_before) / took_s
    memory, clouds_memory = process.memory_info().rss / MB, clouds.memory_info().rss / MB
    libraries = subprocess.run([sys.executable, "-c", LIBRARIES], capture_output=True, text=True, check=True)
    yield Figure("idle: control plane, memory", memory, "MB", at_most(MEMORY_GOAL_MB), "resident")
    yield Figure("idle: its libraries alone, memory", float(libraries.stdout) / MB, "MB", note="baseline: imports only")
    yield Figure(
        "idle: control plane, CPU", percent, "% of a core", at_most(CPU_GOAL_PERCENT), f"over {WINDOW_S:g} s, no nodes"
    )
    yield Figure(
        "idle: simulated clouds, CPU", clouds_percent, "% of a core", note=f"not in production; {clouds_memory:.0f} MB"
    )


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _clouds(folder: Path) -> psutil.Process:
    """The process of the home's simulated clouds."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "godwit.providers.simulated" in words and any(word.startswith(str(folder)) for word in words):
            return process
    raise RuntimeError(f"no simulated clouds run for {folder}")


def _cost(argv: Sequence[str], folder: Path) -> tuple[float, float]:
    """CPU seconds (user and system) and wall seconds of one command, which must succeed."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(argv, env=homes.environment_of(folder), stdout=subprocess.DEVNULL, check=True, timeout=60)
    wall_s, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall_s
