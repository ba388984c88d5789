"""Whether anybody or anything uses an environment: somebody typed, programs computed, a GPU was at work."""

import math
import os
import shutil
import subprocess
from collections.abc import Callable

from godwit.agents.runtime import processes

LOOK_S = 30.0
"""How often it is looked at; idle times are of minutes and hours."""

CPU_SHARE = 0.05
"""Of one core, over a look: what editors and language servers take that nobody uses stays below (a choice of ours)."""

GPU_PERCENT = 5
"""Of a GPU's time, as nvidia-smi says (a choice of ours)."""

SMI_S = 20.0
"""How long nvidia-smi may take; without its answer a GPU counts as used: nothing ends by not knowing."""


class Use:
    """Says for how long nobody used it, once that is too long. `now` is on a clock that only grows."""

    def __init__(
        self,
        idle_after_s: float | None,
        gpus: str,
        now: float,
        cpu_s: Callable[[], float] = lambda: cpu_s_below(os.getpid()),
        gpus_work: Callable[[], bool] | None = None,
    ) -> None:
        self._idle_after_s, self._measure = idle_after_s, cpu_s
        self._gpus_work = gpus_work or (lambda: bool(gpus) and do_work(gpus))
        self._used_at = self._looked_at = now
        self._cpu_s = 0.0
        self.unused_s = 0.0
        """How long it had been idle when it was last looked at, however short."""

    def idle_s(self, now: float, typed_s_ago: float) -> float | None:
        """How long it has been idle, once that is too long; None otherwise, and between two looks."""
        limit_s = math.inf if self._idle_after_s is None else self._idle_after_s
        if now - self._looked_at < min(LOOK_S, limit_s / 4):
            return None
        took_s, self._looked_at = now - self._looked_at, now
        before, self._cpu_s = self._cpu_s, self._measure()
        self._used_at = max(self._used_at, now - max(0.0, typed_s_ago))
        if self._cpu_s - before >= CPU_SHARE * took_s or self._gpus_work():
            self._used_at = now
        self.unused_s = now - self._used_at
        return self.unused_s if self.unused_s >= limit_s else None


def cpu_s_below(root: int) -> float:
    """The processor time of everything below `root` that lives, with what their ended children had (proc(5))."""
    total = 0
    for pid in processes.descendants(root):
        try:
            with open(f"/proc/{pid}/stat") as file:
                total += sum(map(int, file.read().rpartition(")")[2].split()[11:15]))
        except (OSError, ValueError):
            continue  # it ended meanwhile
    return total / os.sysconf("SC_CLK_TCK")


def do_work(gpus: str) -> bool:
    """Whether one of these GPUs (numbers or UUIDs) is at work, as far as anybody can say."""
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return False  # a simulated node: there is no driver, so no GPU
    try:
        said = subprocess.run(
            [smi, "-i", gpus, "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"],
            capture_output=True, text=True, timeout=SMI_S, check=True,
        ).stdout  # fmt: skip
        return any(int(line) >= GPU_PERCENT for line in said.split())
    except (OSError, ValueError, subprocess.SubprocessError):
        return True
