"""The links between the GPUs."""

from godwit.agents.checks.gpu import skus
from godwit.agents.checks.gpu.reading import Gpu, GpuCheck, Probe, sign
from godwit.agents.checks.rules import Rule, Sign
from godwit.domain.health import Grade, Remedy

LINKS_MAX = 36
"""NVML_NVLINK_MAX_LINKS of current bindings; a GPU with fewer says so."""

CRC_PER_S = 100.0
REPLAY, RECOVERY, CRC_FLIT, CRC_DATA = 0, 1, 2, 3
"""nvmlNvLinkErrorCounter_t, up to Hopper."""

_RECOVERY_FAILED, _SYMBOL_ERRORS = 214, 221
"""NVML_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_FAILED_EVENTS and _SYMBOL_ERRORS, Blackwell."""

DOWN = Rule(
    "nvlink:down", "a link of the board is not active, in 2 of 2 polls (18 on H100, H200, B200; 12 on A100; else as "
    "many as were seen up; a machine with a part of a board may have none)",
    Grade.UNHEALTHY, Remedy.RESET_GPU, "DCGM, gpud nvlink", 2, 2,
)  # fmt: skip
RETRIES = Rule(
    "nvlink:retries", "replay or recovery counters rise, in 3 of 5 polls", Grade.DEGRADED, Remedy.DRAIN_AND_RESET,
    "DCGM (which fails at the first)", 3, 5,
)  # fmt: skip
CRC = Rule(
    "nvlink:crc",
    "CRC error counters rise, in 3 of 5 polls",
    Grade.DEGRADED,
    Remedy.NONE,
    "DCGM warns at the first",
    3,
    5,
)
CRC_STORM = Rule(
    "nvlink:crc-storm", f">= {CRC_PER_S:.0f} CRC errors per second", Grade.UNHEALTHY, Remedy.RESET_GPU, "DCGM"
)
UNRECOVERED = Rule(
    "nvlink:recovery-failed", "link recoveries that failed rise (Blackwell)", Grade.UNHEALTHY, Remedy.RESET_GPU,
    "NVML field 214", clears="reset",
)  # fmt: skip


def read(probe: Probe) -> None:
    """States first: counters are read of as many links as there are."""
    states: list[int] = []
    for link in range(LINKS_MAX):
        probe.take("link", "nvmlDeviceGetNvLinkState", link, of=int)
        if "link" not in probe.values:
            probe.errors.pop("link", None)
            break
        states.append(probe.values.pop("link"))
    if not states:
        return
    probe.values["nvlink_states"] = states
    for name, counters in (("nvlink_retries", (REPLAY, RECOVERY)), ("nvlink_crc", (CRC_FLIT, CRC_DATA))):
        _sum(
            probe, name, [("nvmlDeviceGetNvLinkErrorCounter", link, c) for link in range(len(states)) for c in counters]
        )
    for name, field in (("nvlink_unrecovered", _RECOVERY_FAILED), ("nvlink_symbol_errors", _SYMBOL_ERRORS)):
        _sum(probe, name, [(field, link) for link in range(len(states))])


def _sum(probe: Probe, name: str, calls: list[tuple[str, int, int]] | list[tuple[int, int]]) -> None:
    total = None
    for call in calls:
        if isinstance(call[0], str):
            probe.take("one", *call)
        else:
            probe.field("one", int(call[0]), call[1])
        if "one" not in probe.values:
            probe.errors.pop("one", None)
            break
        total = (total or 0) + probe.values.pop("one")
    if total is not None:
        probe.values[name] = total


def most_up(now: Gpu, before: Gpu | None) -> int:
    """How many links were up at once in any poll so far; whoever keeps the poll before carries it along."""
    then = int(before.number("nvlink_most") or 0) if before is not None else 0
    return max(then, int(sum(now.values.get("nvlink_states", []))))


def judge(now: Gpu, before: Gpu | None) -> list[Sign]:
    """All links up, and no errors on the way."""
    signs = []
    states: list[int] = now.values.get("nvlink_states", [])
    expected = skus.of(now.model).nvlinks
    most = most_up(now, before)
    if expected is None or not most:
        expected = most
    if sum(states) < (expected or 0):
        down = ", ".join(str(link) for link, state in enumerate(states) if not state) or "not listed"
        reason = f"{sum(states)} of {expected} NVLinks are up; down: {down}"
        signs.append(sign(DOWN, now, reason, links=down, up=sum(states)))
    if (rose := now.rose("nvlink_retries", before)) > 0:
        signs.append(sign(RETRIES, now, f"{rose:.0f} NVLink replays and recoveries", count=rose))
    if (rose := now.rose("nvlink_crc", before)) > 0:
        signs.append(sign(CRC, now, f"{rose:.0f} CRC errors of NVLinks", count=rose))
    if (rate := now.rate("nvlink_crc", before)) >= CRC_PER_S:
        signs.append(sign(CRC_STORM, now, f"{rate:.0f} CRC errors of NVLinks per second", per_s=round(rate)))
    if (rose := now.rose("nvlink_unrecovered", before)) > 0:
        signs.append(sign(UNRECOVERED, now, f"{rose:.0f} NVLink recoveries failed", count=rose))
    return signs


CHECK = GpuCheck(
    "nvlink", "link states; error counters 0 to 3 (to Hopper); fields 214 and 221 per link (Blackwell)",
    (DOWN, RETRIES, CRC, CRC_STORM, UNRECOVERED), read, judge, ("nvlink_states",),
)  # fmt: skip
