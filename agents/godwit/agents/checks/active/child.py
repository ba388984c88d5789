"""The agent's side of the child process: start it, wait within the budget, end all of it, and read what it said."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from godwit.agents.checks.active import figures
from godwit.agents.checks.active.figures import Said

LOOK_S = 0.1
"""How often the child is looked at, and whoever ordered it is asked whether it may go on."""

OUTPUT_BYTES_MAX = 1024 * 1024

SWEEP_NICE = 19
"""The lowest priority there is (nice(2)): a sweep is for what nobody else wants."""


@dataclass(frozen=True)
class Order:
    """What a child is to try: `gpus` as the child reads them, `device` "cuda", "cpu" or "fake", times in seconds.

    `burn_s` is for how long products are computed over and over. `visible` are the GPUs' UUIDs in the same order.
    """

    device: str
    gpus: Sequence[Mapping[str, Any]]
    budget_s: float
    burn_s: float = 0.0
    nice: int = 0
    visible: Sequence[str] = ()


@dataclass(frozen=True)
class Ended:
    """What it said, and how it ended: by itself, "killed" at its budget, "stopped" by `going_on`, or "crashed"."""

    said: Said
    how: str
    stderr: str = ""


def converse(order: Order, going_on: Callable[[], bool]) -> Ended:
    """Let a child carry out the order; returns at its end, at the budget, or as soon as `going_on()` is false."""
    argument = json.dumps(
        {
            "device": order.device, "gpus": list(order.gpus), "budget_s": order.budget_s, "nice": order.nice,
            "measure_s": order.budget_s * MEASURE_SHARE, "burn_s": order.burn_s,
        }
    )  # fmt: skip
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = subprocess.Popen(
            _command(argument),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
            env={**os.environ, **_environment(order)},
        )
        how = _wait(child, order.budget_s, going_on)
        said, stderr = figures.read(_tail_of(out)), _tail_of(err)[-2_000:]
    return Ended(said, how, stderr)


MEASURE_SHARE = 0.8
"""Of the budget, after which nothing more begins: what began then has time to end."""


def _command(argument: str) -> list[str]:
    return [sys.executable, "-m", "godwit.agents.checks.active", argument]


def _environment(order: Order) -> dict[str, str]:
    # CUDA numbers GPUs by speed unless told otherwise; by UUID there is no doubt.
    return {"CUDA_VISIBLE_DEVICES": ",".join(order.visible)} if order.visible else {}


def _wait(child: subprocess.Popen[bytes], budget_s: float, going_on: Callable[[], bool]) -> str:
    for _ in range(max(1, round(budget_s / LOOK_S))):
        try:
            return "done" if child.wait(LOOK_S) == 0 else "crashed"
        except subprocess.TimeoutExpired:
            if not going_on():
                return _end(child, "stopped")
    return _end(child, "killed")


def _end(child: subprocess.Popen[bytes], how: str) -> str:
    """Kill all of its session. One that a driver holds in the kernel is left behind: it can not be waited for."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait(LOOK_S * 50)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        return how
    return how


def _tail_of(file: Any) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - OUTPUT_BYTES_MAX))
    return str(file.read().decode("utf-8", "replace"))
