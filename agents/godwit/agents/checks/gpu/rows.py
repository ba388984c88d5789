"""Memory that was taken out of use: remapped rows, retired pages before Ampere, repairs that wait."""

from godwit.agents.checks.gpu.reading import Gpu, GpuCheck, Probe, sign
from godwit.agents.checks.rules import Rule, Sign
from godwit.domain.health import Grade, Remedy

MANY_ROWS, MANY_PAGES = 512, 63
_CAUSES = (0, 1)
"""nvmlPageRetirementCauses_t: many single-bit errors, one double-bit error."""

FAILED = Rule(
    "row-remap:failure", "a row could not be remapped", Grade.UNHEALTHY, Remedy.CONTACT_SUPPORT,
    "NVIDIA RMA policy; DCGM", clears="person",
)  # fmt: skip
PENDING = Rule(
    "row-remap:pending", "a remapped row waits for a reset (safe to go on)", Grade.DEGRADED, Remedy.DRAIN_AND_RESET,
    "DCGM, gpud", clear_after=1,
)  # fmt: skip
MANY = Rule(
    "row-remap:many", f"rows remapped for uncorrectable errors >= {MANY_ROWS}", Grade.DEGRADED, Remedy.NONE,
    "DCGM, AZNHC", clears="person",
)  # fmt: skip
SPENT = Rule(
    "row-remap:reserve", "a bank has no spare rows left (histogram `none` > 0)", Grade.DEGRADED, Remedy.NONE,
    "NVML row remapper histogram", clears="person",
)  # fmt: skip
PAGES = Rule(
    "pages:many", f"retired pages >= {MANY_PAGES}", Grade.UNHEALTHY, Remedy.CONTACT_SUPPORT, "DCGM", clears="person"
)
PAGES_PENDING = Rule(
    "pages:pending", "a retired page waits for a reset", Grade.DEGRADED, Remedy.DRAIN_AND_RESET, "DCGM", clear_after=1
)
REPAIR = Rule(
    "repair:pending", "a repair of a channel or TPC waits for a reset", Grade.DEGRADED, Remedy.DRAIN_AND_RESET,
    "NVML repair status", clear_after=1,
)  # fmt: skip


def read(probe: Probe) -> None:
    """Counts and flags."""
    probe.take("rows", "nvmlDeviceGetRemappedRows", of=list)
    probe.take("rows_spent", "nvmlDeviceGetRowRemapperHistogram", of=lambda histogram: int(histogram.none))
    if "rows" not in probe.values:
        for cause in _CAUSES:
            probe.take(f"pages_{cause}", "nvmlDeviceGetRetiredPages", cause, of=len)
        probe.take("pages_pending", "nvmlDeviceGetRetiredPagesPendingStatus", of=int)
    probe.take("repair", "nvmlDeviceGetRepairStatus", of=list)


def judge(now: Gpu, _before: Gpu | None) -> list[Sign]:
    """A failure is for the vendor; what is pending waits for a reset."""
    signs = []
    _, uncorrectable, pending, failure = now.values.get("rows", [0, 0, 0, 0])
    counts = {"uncorrectable": uncorrectable}
    if failure:
        signs.append(sign(FAILED, now, "a memory row could not be remapped", **counts))
    if pending:
        signs.append(sign(PENDING, now, "a memory row was remapped and waits for a reset", **counts))
    if uncorrectable >= MANY_ROWS:
        signs.append(sign(MANY, now, f"{uncorrectable} rows were remapped for uncorrectable errors"))
    if (spent := now.number("rows_spent") or 0) > 0:
        signs.append(sign(SPENT, now, f"{spent:.0f} banks have no spare rows left"))
    pages = sum(now.number(f"pages_{cause}") or 0 for cause in _CAUSES)
    if pages >= MANY_PAGES:
        signs.append(sign(PAGES, now, f"{pages:.0f} memory pages are retired"))
    if now.number("pages_pending"):
        signs.append(sign(PAGES_PENDING, now, "a memory page was retired and waits for a reset"))
    if any(now.values.get("repair", [])):
        signs.append(sign(REPAIR, now, "a repair of a channel or TPC waits for a reset"))
    return signs


CHECK = GpuCheck(
    "row-remap", "remapped rows and their histogram, retired pages (before Ampere), repair status",
    (FAILED, PENDING, MANY, SPENT, PAGES, PAGES_PENDING, REPAIR), read, judge,
    ("rows", "rows_spent", "pages_0", "pages_pending", "repair"),
)  # fmt: skip
