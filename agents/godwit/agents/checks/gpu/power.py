"""What the GPU draws."""

from godwit.agents.checks.gpu import skus
from godwit.agents.checks.gpu.reading import Gpu, GpuCheck, Probe, sign
from godwit.agents.checks.rules import Rule, Sign
from godwit.domain.health import Grade, Remedy

MOST_WATTS, BUSY = 1_500.0, 100

OUTSIDE = Rule(
    "power:implausible", f"more than {MOST_WATTS:.0f} W, in 3 of 3 polls", Grade.DEGRADED, Remedy.NONE,
    "NVIDIA health validation", 3, 3,
)  # fmt: skip
NOTHING = Rule(
    "power:none", "100% utilisation, but less power than the board draws when idle (65 W on SXM boards), in 5 of 5 "
    "polls", Grade.DEGRADED, Remedy.NONE, "sign of a hang; NVIDIA health validation", 5, 5,
)  # fmt: skip
LOWERED = Rule(
    "power:limit",
    "the enforced limit is below the default of the board",
    Grade.DEGRADED,
    Remedy.NONE,
    "gpud power",
    2,
    2,
)


def read(probe: Probe) -> None:
    """In milliwatts."""
    probe.take("power_mw", "nvmlDeviceGetPowerUsage")
    probe.take("power_limit_mw", "nvmlDeviceGetEnforcedPowerLimit")
    probe.take("power_default_mw", "nvmlDeviceGetPowerManagementDefaultLimit")


def judge(now: Gpu, _before: Gpu | None) -> list[Sign]:
    """Against what is possible, what is usual, and what was set."""
    signs = []
    watts = (now.number("power_mw") or 0.0) / 1_000
    if watts > MOST_WATTS:
        signs.append(sign(OUTSIDE, now, f"it says that it draws {watts:.0f} W", watts=watts))
    if "power_mw" in now.values and now.number("utilisation") == BUSY and watts < skus.of(now.model).idle_watts:
        signs.append(sign(NOTHING, now, f"busy all the time, but it draws {watts:.0f} W", watts=watts))
    limit, default = now.number("power_limit_mw"), now.number("power_default_mw")
    if limit and default and limit < default:
        signs.append(sign(LOWERED, now, f"limited to {limit / 1e3:.0f} W of {default / 1e3:.0f} W", watts=limit / 1e3))
    return signs


CHECK = GpuCheck(
    "power", "power drawn, enforced and default limit, utilisation", (OUTSIDE, NOTHING, LOWERED), read, judge,
    ("power_mw", "power_limit_mw"),
)  # fmt: skip
