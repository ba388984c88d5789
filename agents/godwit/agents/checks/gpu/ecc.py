"""Errors of the GPU's memories."""

from godwit.agents.checks.gpu.reading import Gpu, GpuCheck, Probe, sign
from godwit.agents.checks.rules import Rule, Sign
from godwit.domain.health import Grade, Remedy

CORRECTED, UNCORRECTED, VOLATILE, AGGREGATE, DRAM, SRAM = 0, 1, 0, 1, 2, 7
"""Numbers of nvmlMemoryErrorType_t, nvmlEccCounterType_t and nvmlMemoryLocation_t."""

CORRECTED_MAX, DRAM_MAX, SRAM_MAX = 50_000_000, 20_000_000, 10_000

WRONG = Rule(
    "ecc:uncorrected", "uncorrected errors since the last reset > 0", Grade.UNHEALTHY, Remedy.RESET_GPU, "GCM, AZNHC"
)
MANY = Rule(
    "ecc:corrected", f"corrected errors > {CORRECTED_MAX:,} (of DRAM > {DRAM_MAX:,}, of SRAM > {SRAM_MAX:,})",
    Grade.DEGRADED, Remedy.NONE, "GCM (all), AZNHC (DRAM, SRAM)",
)  # fmt: skip
WORN = Rule(
    "ecc:sram-threshold", "the SRAM threshold flag is set", Grade.UNHEALTHY, Remedy.CONTACT_SUPPORT,
    "NVML SRAM error status", clears="person",
)  # fmt: skip
OFF = Rule("ecc:off", "ECC can be switched on, and is off", Grade.DEGRADED, Remedy.NONE, "GCM")
OWED = Rule("ecc:mode-pending", "the mode waits for a reboot", Grade.DEGRADED, Remedy.NONE, "NVML ECC mode")


def read(probe: Probe) -> None:
    """Counters since the last reset, and the modes."""
    for name, kind, counter in (
        ("ecc_uncorrected", UNCORRECTED, VOLATILE),
        ("ecc_corrected", CORRECTED, VOLATILE),
        ("ecc_uncorrected_ever", UNCORRECTED, AGGREGATE),
    ):
        probe.take(name, "nvmlDeviceGetTotalEccErrors", kind, counter)
    for name, place in (("ecc_corrected_dram", DRAM), ("ecc_corrected_sram", SRAM)):
        probe.take(name, "nvmlDeviceGetMemoryErrorCounter", CORRECTED, VOLATILE, place)
    probe.take("ecc_mode", "nvmlDeviceGetEccMode", of=list)
    structure = "c_nvmlEccSramErrorStatus_v1_t"
    probe.struct("sram", structure, "nvmlDeviceGetSramEccErrorStatus", "bThresholdExceeded")


def judge(now: Gpu, _before: Gpu | None) -> list[Sign]:
    """Counters against their bounds."""
    signs = []
    wrong, ever = now.number("ecc_uncorrected") or 0, now.number("ecc_uncorrected_ever") or 0
    if wrong > 0:
        signs.append(sign(WRONG, now, f"{wrong:.0f} uncorrected memory errors since the last reset", ever=ever))
    bounds = (("ecc_corrected", CORRECTED_MAX), ("ecc_corrected_dram", DRAM_MAX), ("ecc_corrected_sram", SRAM_MAX))
    over = [(name, number) for name, most in bounds if (number := now.number(name) or 0) > most]
    if over:
        signs.append(sign(MANY, now, f"{over[0][1]:.0f} corrected memory errors", **dict(over)))
    if now.values.get("sram", {}).get("bThresholdExceeded"):
        signs.append(sign(WORN, now, "the SRAM has had more uncorrected errors than it may"))
    mode, pending = now.values.get("ecc_mode", [1, 1])
    if not mode:
        signs.append(sign(OFF, now, "ECC is off"))
    if mode != pending:
        signs.append(sign(OWED, now, "a change of the ECC mode waits for a reboot"))
    return signs


CHECK = GpuCheck(
    "ecc", "total and per-memory ECC counters (volatile), SRAM error status, ECC mode", (WRONG, MANY, WORN, OFF, OWED),
    read, judge, ("ecc_uncorrected", "ecc_mode", "sram"),
)  # fmt: skip
