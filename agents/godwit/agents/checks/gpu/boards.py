"""What the board says of itself: its InfoROM, its modes."""

from godwit.agents.checks.gpu.reading import CORRUPTED_INFOROM, Gpu, GpuCheck, Probe, sign
from godwit.agents.checks.rules import Rule, Sign
from godwit.domain.health import Grade, Remedy

INFOROM_EVERY = 20
"""It reads a flash memory and its checksums: each 10 minutes is plenty."""

CORRUPTED = Rule(
    "inforom:corrupted", "the InfoROM is corrupted", Grade.UNHEALTHY, Remedy.REPLACE_NODE, "GCM (critical)",
    clears="person",
)  # fmt: skip
NOT_PERSISTENT = Rule(
    "modes:persistence", "persistence mode is off: each program waits for the driver to load", Grade.DEGRADED,
    Remedy.NONE, "NVIDIA driver persistence; gpud",
)  # fmt: skip
MIG_OWED = Rule(
    "modes:mig-pending", "a change of the MIG mode waits for a reset", Grade.DEGRADED, Remedy.NONE, "NVML MIG mode"
)


def _read_inforom(probe: Probe) -> None:
    probe.take("inforom_valid", "nvmlDeviceValidateInforom", of=lambda _: 1)


def _judge_inforom(now: Gpu, _before: Gpu | None) -> list[Sign]:
    if now.errors.get("inforom_valid") == CORRUPTED_INFOROM:
        return [sign(CORRUPTED, now, "its InfoROM is corrupted")]
    return []


def _read_modes(probe: Probe) -> None:
    probe.take("persistence", "nvmlDeviceGetPersistenceMode", of=int)
    probe.take("mig_mode", "nvmlDeviceGetMigMode", of=list)


def _judge_modes(now: Gpu, _before: Gpu | None) -> list[Sign]:
    signs = []
    if now.values.get("persistence") == 0:
        signs.append(sign(NOT_PERSISTENT, now, "persistence mode is off"))
    mode, pending = now.values.get("mig_mode", [0, 0])
    if mode != pending:
        signs.append(sign(MIG_OWED, now, "a change of the MIG mode waits for a reset"))
    return signs


INFOROM = GpuCheck(
    "inforom", f"InfoROM validation, in each {INFOROM_EVERY}th poll", (CORRUPTED,), _read_inforom, _judge_inforom,
    ("inforom_valid",), INFOROM_EVERY,
)  # fmt: skip
MODES = GpuCheck(
    "modes", "persistence and MIG mode", (NOT_PERSISTENT, MIG_OWED), _read_modes, _judge_modes,
    ("persistence", "mig_mode"),
)  # fmt: skip
