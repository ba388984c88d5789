"""The GPU's way to the machine."""

from godwit.agents.checks.gpu import skus
from godwit.agents.checks.gpu.reading import Gpu, GpuCheck, Probe, sign
from godwit.agents.checks.rules import Rule, Sign
from godwit.domain.health import Grade, Remedy

REPLAYS_PER_MINUTE_AND_LANE = {3: 0.48, 4: 0.96, 5: 1.92, 6: 3.84}
LOADED = 50
_NON_FATAL, _FATAL = 179, 180
"""NVML_FI_DEV_PCIE_COUNT_NON_FATAL_ERROR and _FATAL_ERROR."""

NARROW = Rule(
    "pcie:width", "fewer lanes than the board has, in 2 of 2 polls", Grade.UNHEALTHY, Remedy.REBOOT, "gpud, DCGM", 2, 2
)
SLOW = Rule(
    "pcie:generation", f"a lower generation than possible at >= {LOADED}% utilisation, in 3 of 3 polls (it drops when "
    "idle)", Grade.DEGRADED, Remedy.REBOOT, "DCGM", 3, 3,
)  # fmt: skip
REPLAYS = Rule(
    "pcie:replays", "replays per minute and lane above 0.48 (gen 3), 0.96 (4), 1.92 (5), 3.84 (6), in 3 of 5 polls",
    Grade.DEGRADED, Remedy.NONE, "DCGM", 3, 5,
)  # fmt: skip
FATAL = Rule(
    "pcie:fatal-errors", "the counter of fatal errors rises", Grade.UNHEALTHY, Remedy.REBOOT, "NVML field 180",
    clears="reboot",
)  # fmt: skip
NON_FATAL = Rule(
    "pcie:errors", "the counter of non-fatal errors rises, in 2 of 5 polls", Grade.DEGRADED, Remedy.NONE,
    "NVML field 179", 2, 5,
)  # fmt: skip


def read(probe: Probe) -> None:
    """Width, generation and counters."""
    probe.take("pcie_width", "nvmlDeviceGetCurrPcieLinkWidth")
    probe.take("pcie_width_max", "nvmlDeviceGetMaxPcieLinkWidth")
    probe.take("pcie_generation", "nvmlDeviceGetCurrPcieLinkGeneration")
    probe.take("pcie_generation_max", "nvmlDeviceGetMaxPcieLinkGeneration")
    probe.take("pcie_replays", "nvmlDeviceGetPcieReplayCounter")
    probe.field("pcie_non_fatal", _NON_FATAL)
    probe.field("pcie_fatal", _FATAL)


def judge(now: Gpu, before: Gpu | None) -> list[Sign]:
    """The link as it is against what it can be; counters against the poll before."""
    signs = []
    width, most = now.number("pcie_width"), now.number("pcie_width_max")
    generation, highest = now.number("pcie_generation"), now.number("pcie_generation_max")
    if width and most and width < most and not skus.of(now.model).odd_pcie:
        signs.append(sign(NARROW, now, f"PCIe x{width:.0f} of x{most:.0f}", width=width))
    loaded = (now.number("utilisation") or 0) >= LOADED
    if loaded and generation and highest and generation < highest:
        reason = f"PCIe generation {generation:.0f} of {highest:.0f} under load"
        signs.append(sign(SLOW, now, reason, generation=generation))
    per_minute = now.rate("pcie_replays", before) * 60
    if per_minute > REPLAYS_PER_MINUTE_AND_LANE.get(int(generation or 0), 0.48) * (width or 1):
        signs.append(sign(REPLAYS, now, f"{per_minute:.0f} PCIe replays a minute", per_minute=round(per_minute, 2)))
    for name, rule in (("pcie_fatal", FATAL), ("pcie_non_fatal", NON_FATAL)):
        if (rose := now.rose(name, before)) > 0:
            signs.append(sign(rule, now, f"{rose:.0f} new errors: {rule.when}", count=rose))
    return signs


CHECK = GpuCheck(
    "pcie", "current and highest link width and generation, replay counter, fields 179 and 180",
    (NARROW, SLOW, REPLAYS, FATAL, NON_FATAL), read, judge, ("pcie_width", "pcie_replays", "pcie_fatal"),
)  # fmt: skip
