"""What is left on a GPU that nobody holds."""

from godwit.agents.checks.gpu.reading import Gpu, GpuCheck, Probe, sign
from godwit.agents.checks.rules import Rule, Sign
from godwit.domain.health import Grade, Remedy

MIB = 1024 * 1024
MOST_MIB = 15
_MEMORY_V2 = 0x02000028
"""nvmlMemory_v2: it counts what the driver reserves apart from what is used."""

PROCESSES = Rule(
    "leftovers:processes", "processes on a GPU that no attempt holds, in 4 of 4 polls", Grade.DEGRADED, Remedy.NONE,
    "GCM; gpud", 4, 4,
)  # fmt: skip
MEMORY = Rule(
    "leftovers:memory", f"> {MOST_MIB} MiB used on a GPU that no attempt holds and no process uses, in 4 of 4 polls",
    Grade.DEGRADED, Remedy.DRAIN_AND_RESET, "GCM", 4, 4,
)  # fmt: skip


def read(probe: Probe) -> None:
    """Process ids and used memory."""
    probe.take("pids", "nvmlDeviceGetComputeRunningProcesses", of=lambda found: [int(one.pid) for one in found][:32])
    probe.take("used_bytes", "nvmlDeviceGetMemoryInfo", _MEMORY_V2, of=lambda memory: int(memory.used))


def judge(now: Gpu, _before: Gpu | None) -> list[Sign]:
    """Only a GPU that is free should be empty."""
    if now.held:
        return []
    pids: list[int] = now.values.get("pids", [])
    used_mib = (now.number("used_bytes") or 0) / MIB
    if pids:
        text = ", ".join(map(str, pids))
        return [sign(PROCESSES, now, f"free, but processes use it: {text}", pids=text, used_mib=round(used_mib))]
    if "pids" in now.values and used_mib > MOST_MIB:
        return [sign(MEMORY, now, f"free, but {used_mib:.0f} MiB of it are used", used_mib=round(used_mib))]
    return []


CHECK = GpuCheck(
    "leftovers", "compute processes, used memory (without what the driver reserves)", (PROCESSES, MEMORY), read, judge,
    ("pids", "used_bytes"),
)  # fmt: skip
