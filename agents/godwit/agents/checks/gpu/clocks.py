"""Whether something holds the clocks down."""

from godwit.agents.checks.gpu.reading import Gpu, GpuCheck, Probe, sign
from godwit.agents.checks.rules import Rule, Sign
from godwit.domain.health import Grade, Remedy

HITS, WINDOW = 12, 20
"""0.6 of the samples of 10 minutes at a poll each 30 s (gpud: 0.6 hits a minute over 10 min, polled each minute)."""

LOST_SHARE = 0.2
_THERMAL = 1
"""NVML_PERF_POLICY_THERMAL."""


def _rule(code: str, when: str, source: str = "gpud hw-slowdown; AZNHC") -> Rule:
    held = f"{when}, in {HITS} of {WINDOW} polls"
    return Rule(f"clocks:{code}", held, Grade.DEGRADED, Remedy.NONE, source, HITS, WINDOW, clear_after=WINDOW // 2)


BITS = {
    0x8: ("a hardware slowdown", _rule("hw-slowdown", "bit 0x8 of the reasons")),
    0x40: ("heat (hardware)", _rule("hw-thermal", "bit 0x40 of the reasons")),
    0x80: ("a power brake", _rule("power-brake", "bit 0x80 of the reasons")),
    0x20: ("heat (software)", _rule("sw-thermal", "bit 0x20 of the reasons")),
}
"""Normal: 0x1 idle, 0x2 set clocks, 0x4 power cap."""

LOST = _rule("time-lost", f"more than {LOST_SHARE:.0%} of the time lost to heat", "NVML violation status")


def read(probe: Probe) -> None:
    """The reasons, by the name that the driver knows, and the time lost to heat."""
    probe.take("clock_reasons", "nvmlDeviceGetCurrentClocksEventReasons")
    if "clock_reasons" not in probe.values:
        probe.take("clock_reasons", "nvmlDeviceGetCurrentClocksThrottleReasons")  # before driver 535
    probe.take("thermal_ns", "nvmlDeviceGetViolationStatus", _THERMAL, of=lambda status: int(status.violationTime))


def judge(now: Gpu, before: Gpu | None) -> list[Sign]:
    """Each bit on its own."""
    reasons = int(now.number("clock_reasons") or 0)
    signs = [
        sign(rule, now, f"the clocks are held down by {why}", reasons=hex(reasons), temperature=_celsius(now))
        for bit, (why, rule) in BITS.items()
        if reasons & bit
    ]
    share = now.rate("thermal_ns", before) / 1e9
    if share > LOST_SHARE:
        signs.append(sign(LOST, now, f"{share:.0%} of the time was lost to heat", share=round(share, 3)))
    return signs


def _celsius(gpu: Gpu) -> float:
    return gpu.number("temperature") or 0.0


CHECK = GpuCheck(
    "clocks", "current clocks event (throttle) reasons, time lost to the thermal policy",
    (*(rule for _, rule in BITS.values()), LOST), read, judge, ("clock_reasons", "thermal_ns"),
)  # fmt: skip
