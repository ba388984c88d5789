"""How far the GPU and its memory are from slowing down."""

from godwit.agents.checks.gpu import skus
from godwit.agents.checks.gpu.reading import Gpu, GpuCheck, Probe, sign
from godwit.agents.checks.rules import Rule, Sign
from godwit.domain.health import Grade, Remedy

_SLOWDOWN, _MEMORY_MAX, _MEMORY_FIELD = 1, 2, 82
"""nvmlTemperatureThresholds_t SLOWDOWN and MEM_MAX; NVML_FI_DEV_MEMORY_TEMP."""

HOT = Rule(
    "temperature:slowdown",
    "margin at or below where it slows down (-2 °C; B200 -3 °C), or temperature at or above the slowdown threshold "
    "where no margin is known (A100), in 3 of 5 polls",
    Grade.DEGRADED, Remedy.NONE, "DCGM; NVML temperature thresholds", 3, 5,
)  # fmt: skip
MEMORY_HOT = Rule(
    "temperature:memory", "memory at or above its highest allowed temperature, in 3 of 5 polls",
    Grade.DEGRADED, Remedy.NONE, "NVML field 82 against MEM_MAX", 3, 5,
)  # fmt: skip


def read(probe: Probe) -> None:
    """Temperatures and their bounds, in °C."""
    probe.take("temperature", "nvmlDeviceGetTemperature", 0)
    probe.take("slowdown_at", "nvmlDeviceGetTemperatureThreshold", _SLOWDOWN)
    probe.take("memory_max", "nvmlDeviceGetTemperatureThreshold", _MEMORY_MAX)
    probe.take("margin", "nvmlDeviceGetMarginTemperature")
    probe.field("memory_temperature", _MEMORY_FIELD)


def judge(now: Gpu, _before: Gpu | None) -> list[Sign]:
    """The margin where there is one, else the threshold."""
    signs = []
    celsius, margin, slowdown = now.number("temperature") or 0.0, now.number("margin"), now.number("slowdown_at")
    least = skus.of(now.model).margin_c
    if margin is not None and least is not None:
        if margin <= least:
            reason = f"{celsius:.0f} °C, {margin:.0f} °C from its limit: it slows down at {least}"
            signs.append(sign(HOT, now, reason, temperature=celsius, margin=margin))
    elif slowdown and celsius >= slowdown:
        signs.append(sign(HOT, now, f"{celsius:.0f} °C: it slows down at {slowdown:.0f} °C", temperature=celsius))
    memory, most = now.number("memory_temperature"), now.number("memory_max")
    if memory and most and memory >= most:
        signs.append(sign(MEMORY_HOT, now, f"its memory has {memory:.0f} °C; {most:.0f} °C are allowed"))
    return signs


CHECK = GpuCheck(
    "temperature", "temperature, margin, slowdown and memory thresholds, field 82", (HOT, MEMORY_HOT), read, judge,
    ("temperature", "margin"),
)  # fmt: skip
