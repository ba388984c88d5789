"""What the GPU itself asks for."""

from godwit.agents.checks.gpu.reading import Gpu, GpuCheck, Probe, sign
from godwit.agents.checks.rules import Rule, Sign
from godwit.domain.health import Grade, Remedy

FIELD = 230
"""NVML_FI_DEV_GET_GPU_RECOVERY_ACTION, since driver 570."""

_SOURCE = "NVML field 230 (driver >= 570)"


def _rule(code: str, when: str, grade: Grade, remedy: Remedy) -> Rule:
    return Rule(f"recovery:{code}", when, grade, remedy, _SOURCE, clear_after=2)


ACTIONS = {
    1: ("Reset", _rule("reset", "1: reset", Grade.UNHEALTHY, Remedy.RESET_GPU)),
    2: ("Reboot", _rule("reboot", "2: reboot", Grade.UNHEALTHY, Remedy.REBOOT)),
    3: ("Drain P2P", _rule("drain-p2p", "3: drain P2P", Grade.DEGRADED, Remedy.DRAIN_AND_RESET)),
    4: ("Drain and Reset", _rule("drain-and-reset", "4: drain and reset", Grade.DEGRADED, Remedy.DRAIN_AND_RESET)),
    5: ("Recover IMEX", _rule("imex", "5: recover IMEX", Grade.UNHEALTHY, Remedy.REBOOT)),
    6: ("Bus Reset", _rule("bus-reset", "6: bus reset", Grade.UNHEALTHY, Remedy.REBOOT)),
    7: ("System Reboot", _rule("system-reboot", "7: system reboot", Grade.UNHEALTHY, Remedy.REBOOT)),
}


def read(probe: Probe) -> None:
    """The recovery action."""
    probe.field("recovery_action", FIELD)


def judge(now: Gpu, _before: Gpu | None) -> list[Sign]:
    """Anything but none is to be done."""
    action = ACTIONS.get(int(now.number("recovery_action") or 0))
    if action is None:
        return []
    return [sign(action[1], now, f"the GPU asks for: {action[0]}", recovery=action[0])]


CHECK = GpuCheck(
    "recovery-flag", "field 230, the recovery action", tuple(rule for _, rule in ACTIONS.values()), read, judge,
    ("recovery_action",),
)  # fmt: skip
