"""Measures and prints one table: `python -m benchmarks [MEASUREMENT ...]`; all of them when none is named.

A goal that is missed is a figure, not a failure: the exit code is 1 only when a measurement crashed.
"""

import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType

from benchmarks import (
    api_throughput,
    dashboard,
    figures,
    first_line,
    fleet,
    fleet_page,
    goodput,
    idle,
    job_list,
    joint_purchase,
    market,
    openb,
    philly,
    planner,
    pollux,
    quotas,
    scheduling,
    spot,
    spot_services,
)
from benchmarks.figures import Figure
from benchmarks.gateway import measurement as gateway
from benchmarks.gateway import memory as gateway_memory
from benchmarks.gateway import outages
from benchmarks.many_agents import measurement as many_agents

MEASUREMENTS: Mapping[str, Callable[[], Iterator[Figure]]] = {
    "planner": planner.measure,
    "scheduling": scheduling.measure,
    "quotas": quotas.measure,
    "pollux": pollux.measure,
    "philly": philly.measure,
    "openb": openb.measure,
    "spot": spot.measure,
    "spot_services": spot_services.measure,
    "goodput": goodput.measure,
    "idle": idle.measure,
    "market": market.measure,
    "joint_purchase": joint_purchase.measure,
    "fleet": fleet.measure,
    "fleet_page": fleet_page.measure,
    "job_list": job_list.measure,
    "dashboard": dashboard.measure,
    "api_throughput": api_throughput.measure,
    "first_line": first_line.measure,
    "many_agents": many_agents.measure,
    "gateway": gateway.measure,
    "gateway_memory": gateway_memory.measure,
    "gateway_outages": outages.measure,
}
"""In this order, from the quiet to the loud."""


def main(names: Sequence[str]) -> int:
    """Run the named measurements; returns the exit code."""
    unknown = [name for name in names if name not in MEASUREMENTS]
    if unknown:
        print(f"no measurement is called {unknown[0]!r}; there are: {', '.join(MEASUREMENTS)}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _leave)
    found, crashed = list[Figure](), list[str]()
    for name in names or MEASUREMENTS:
        began = time.monotonic()
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        try:
            found += MEASUREMENTS[name]()
        except Exception:  # noqa: BLE001 - the outermost frame: one that crashed must not hide the others' figures
            traceback.print_exc()
            crashed.append(name)
        print(f"  {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    print(figures.table(found))
    if crashed:
        print(f"crashed, and without figures: {', '.join(crashed)}; the reason is above", file=sys.stderr)
    return 1 if crashed else 0


def _leave(_number: int, _frame: FrameType | None) -> None:
    # As an exception it passes through every `finally`, and those stop what was started.
    sys.exit(143)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
