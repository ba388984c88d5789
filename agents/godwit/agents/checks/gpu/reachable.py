"""Whether the GPU answers at all."""

from godwit.agents.checks.gpu.reading import GPU_IS_LOST, RESET_REQUIRED, UNKNOWN, Gpu, GpuCheck, Probe, named, sign
from godwit.agents.checks.rules import Rule, Sign
from godwit.domain.health import Grade, Remedy

LOST = Rule(
    "gpu:lost", "a call answers GpuIsLost, or a GPU that the node joined with is not listed any more",
    Grade.UNHEALTHY, Remedy.REBOOT, "gpud; Meta RSC (arXiv 2410.21680)",
)  # fmt: skip
NEEDS_RESET = Rule(
    "gpu:reset-required", "a call answers ResetRequired", Grade.UNHEALTHY, Remedy.RESET_GPU, "NVML error 16"
)
BROKEN = Rule(
    "gpu:unknown-error", "calls answer Unknown in 2 polls in a row", Grade.UNHEALTHY, Remedy.REBOOT,
    "gpud gpu-lost component", raise_at=2, window=2,
)  # fmt: skip

_OF_ERROR = {GPU_IS_LOST: LOST, RESET_REQUIRED: NEEDS_RESET, UNKNOWN: BROKEN}


def read(probe: Probe) -> None:
    """A call that every GPU answers."""
    probe.take("name", "nvmlDeviceGetName", of=str)
    probe.take("utilisation", "nvmlDeviceGetUtilizationRates", of=lambda rates: int(rates.gpu))


def judge(now: Gpu, _before: Gpu | None) -> list[Sign]:
    """Any call of any check counts."""
    return [
        sign(rule, now, f"NVML answers {named(code)} ({', '.join(calls[:4])})", error=named(code), calls=len(calls))
        for code, rule in _OF_ERROR.items()
        if (calls := [name for name, found in now.errors.items() if found == code])
    ]


CHECK = GpuCheck(
    "gpu-reachable", "every call below: `GpuIsLost`, `ResetRequired`, `Unknown`", (LOST, NEEDS_RESET, BROKEN), read,
    judge, ("name",),
)  # fmt: skip
