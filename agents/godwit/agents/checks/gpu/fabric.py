"""Whether the GPU belongs to its NVLink fabric."""

from godwit.agents.checks.gpu.reading import Gpu, GpuCheck, Probe, sign
from godwit.agents.checks.rules import Rule, Sign
from godwit.domain.health import Grade, Remedy

NOT_SUPPORTED, NOT_STARTED, IN_PROGRESS, COMPLETED = range(4)
"""nvmlGpuFabricState_t."""

UNHEALTHY, LIMITED = 2, 3
"""nvmlGpuFabricHealthSummary: 0 not supported, 1 healthy."""

_SOURCE = "NVML fabric info; NVSentinel"
ABSENT = Rule(
    "fabric:state", "registration not completed while links are up, in 4 of 4 polls (it takes a while after boot)",
    Grade.UNHEALTHY, Remedy.RESET_GPU, _SOURCE, 4, 4,
)  # fmt: skip
REFUSED = Rule(
    "fabric:status", "registration completed with an error", Grade.UNHEALTHY, Remedy.RESET_GPU, _SOURCE, 2, 2
)
SICK = Rule("fabric:unhealthy", "health summary 2 (unhealthy)", Grade.UNHEALTHY, Remedy.RESET_GPU, _SOURCE, 2, 2)
WEAK = Rule("fabric:limited", "health summary 3 (limited capacity)", Grade.DEGRADED, Remedy.NONE, _SOURCE, 2, 2)


def read(probe: Probe) -> None:
    """Of GPUs with switches, from Hopper on."""
    parts = ("state", "status", "healthMask", "healthSummary")
    probe.struct("fabric", "c_nvmlGpuFabricInfo_v3_t", "nvmlDeviceGetGpuFabricInfoV", *parts)
    if probe.values.get("fabric", {}).get("state") == NOT_SUPPORTED:
        del probe.values["fabric"]


def judge(now: Gpu, _before: Gpu | None) -> list[Sign]:
    """Registered without an error, and well."""
    fabric = now.values.get("fabric")
    if fabric is None or not any(now.values.get("nvlink_states", [])):
        return []  # a machine with a part of a board has no links, and belongs to no fabric
    seen = {"state": fabric["state"], "status": fabric["status"], "mask": hex(fabric["healthMask"])}
    if fabric["state"] != COMPLETED:
        return [sign(ABSENT, now, f"not registered with its NVLink fabric (state {fabric['state']})", **seen)]
    signs = []
    if fabric["status"]:
        signs.append(sign(REFUSED, now, f"its NVLink fabric refused it (status {fabric['status']})", **seen))
    summary = {UNHEALTHY: (SICK, "unhealthy"), LIMITED: (WEAK, "of limited capacity")}.get(fabric["healthSummary"])
    if summary is not None:
        signs.append(sign(summary[0], now, f"its NVLink fabric is {summary[1]}", **seen))
    return signs


CHECK = GpuCheck(
    "fabric", "fabric info v3: state, status, health mask and summary", (ABSENT, REFUSED, SICK, WEAK), read, judge,
    ("fabric",),
)  # fmt: skip
