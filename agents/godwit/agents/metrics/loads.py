"""How hard the node's GPUs work, read every ten seconds and told along with the next heartbeat.

The driver says it on real nodes. GPUs on paper work while a program holds them: so hard as the program's environment
says (`FAKE_BUSY`), which lets a drill have a job that does nothing.
"""

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import structlog
from godwit.agents.effects import Runs
from godwit.agents.runtime.guard import boottime_s
from godwit.domain.resources import WHOLE_GPU_MILLI
from godwit.domain.wire.agents import GpuFact
from godwit.domain.wire.loads import GpuLoad, NodeLoad

log = structlog.get_logger()

READ_S = 10.0
"""Minutes are made of six of these; NVML's own sample period is 1/6 to 1 s, and a reading takes some milliseconds."""

FAKE_BUSY = "GODWIT_FAKE_GPU_BUSY"
"""In the environment of a job: how busy, in percent, the GPUs on paper say that it keeps them."""

_USUAL_PERCENT, _MEMORY_PERCENT = 92.0, 70.0
_IDLE_WATTS, _WATTS_PER_PERCENT = 70.0, 5.6
"""An H100 SXM board draws about 70 W idle, and 630 of its 700 W in training."""

GPUS_MAX = 128
"""The bound of `NodeLoad.gpus`."""

Read = Callable[[], Sequence[GpuLoad]]


class LoadWatch:
    """Reads from a thread of its own, since a sick driver blocks, and keeps the newest reading until it was told."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._untold: NodeLoad | None = None

    def start(self) -> None:
        """Begin to read; the thread ends with the agent."""
        threading.Thread(target=self._forever, name="loads", daemon=True).start()

    def step(self) -> None:
        """One reading; nothing is told of a node whose GPUs say nothing."""
        gpus = self._read()
        if gpus:
            self._untold = NodeLoad(read_at=boottime_s(), gpus=list(gpus)[:GPUS_MAX])

    def untold(self) -> NodeLoad | None:
        """The newest reading, unless it was told."""
        return self._untold

    def told(self, load: NodeLoad | None) -> None:
        """The control plane has this one."""
        if load is self._untold:
            self._untold = None

    def _forever(self) -> None:
        pause = threading.Event()
        while not pause.wait(READ_S):
            try:
                self.step()
            except (OSError, ValueError):
                # A driver that says nonsense must not end the thread; what is not told counts as not known.
                log.warning("how hard the GPUs work could not be read", exc_info=True)


def watch(
    on_paper: Sequence[GpuFact] | None,
    figures: Callable[[], Iterable[Mapping[str, Any]]],
    running: Callable[[], Collection[Runs]],
) -> LoadWatch:
    """A watch that has begun: of these GPUs on paper, or of what the driver tells of real ones (`figures`)."""
    reads = (lambda: of_driver(figures(), running())) if on_paper is None else (lambda: of_paper(on_paper, running()))
    begun = LoadWatch(reads)
    begun.start()
    return begun


def of_driver(entries: Iterable[Mapping[str, Any]], running: Collection[Runs]) -> list[GpuLoad]:
    """What the reading process answered, with who holds each GPU; one that does not say how busy it is is left out."""
    holders = _holders(running)
    found = []
    for entry in entries:
        values, index = entry["values"], int(entry["index"])
        if "busy" not in values:
            continue
        total, power = values.get("total_bytes"), values.get("power_mw")
        found.append(
            GpuLoad(
                index=index,
                busy_percent=min(100.0, max(0.0, float(values["busy"]))),
                memory_percent=min(100.0, 100.0 * values["used_bytes"] / total) if total else None,
                power_watts=None if power is None else min(100_000.0, power / 1_000.0),
                attempt_id=holders.get(index),
            )
        )
    return found


def of_paper(gpus: Iterable[GpuFact], running: Collection[Runs]) -> list[GpuLoad]:
    """The same for GPUs on paper: as busy as the busiest program that runs on each says, idle where none does."""
    holders, found = _holders(running), []
    for gpu in gpus:
        working = [said_busy(one.command.env) for one in running if gpu.index in one.command.gpus and one.is_working]
        busy = max(working, default=0.0)
        found.append(
            GpuLoad(
                index=gpu.index,
                busy_percent=busy,
                memory_percent=_MEMORY_PERCENT if working else 0.0,
                power_watts=_IDLE_WATTS + _WATTS_PER_PERCENT * busy,
                attempt_id=holders.get(gpu.index),
            )
        )
    return found


def said_busy(env: Mapping[str, str]) -> float:
    """How busy a program says that it keeps its GPUs, 0 to 100; what is no such number counts as unsaid."""
    try:
        said = float(env.get(FAKE_BUSY, _USUAL_PERCENT))
    except ValueError:
        return _USUAL_PERCENT
    return said if 0.0 <= said <= 100.0 else _USUAL_PERCENT


def _holders(running: Iterable[Runs]) -> dict[int, str]:
    """By GPU the attempt that has all of it; what several share cannot be said of one of them."""
    whole = [one.command for one in running if one.command.gpu_milli == WHOLE_GPU_MILLI]
    return {index: command.attempt_id for command in whole for index in command.gpus}
