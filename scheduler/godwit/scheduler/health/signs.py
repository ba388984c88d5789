"""What a finding's evidence says, whatever the check called it: words are looked for in all of its text.

The forms are those of the driver's own lines, as public bug reports show them.
"""

import re

from godwit.domain.health import Finding, Grade

JOB_CHECKS = frozenset({"hang", "straggler", "loss", "crash"})
"""Checks that look at a job and not at hardware."""

LINK_LOST = frozenset({"network-card:link-down", "network-card:trouble", "network-card:dead", "port:down"})
"""What a node says whose way to the others is gone, or may be: when its port is up again, all of it is over."""

HOT = frozenset({"temperature:slowdown", "clocks:hw-thermal", "clocks:sw-thermal", "clocks:time-lost"})
"""What a GPU says that is slowed down by heat, until it says that this is over."""

RECOVERY = re.compile(r"recovery action changed from 0x[0-9a-f]+ \([^)]*\) to 0x[0-9a-f]+ \(([^)]*)\)", re.IGNORECASE)
NVLINK5 = re.compile(r"(?P<unit>[A-Z][A-Z0-9_]+) (?P<severity>Nonfatal|Fatal) XC[01] i\d+ Link (?P<link>-?\d+)")
UNIT13 = re.compile(r"\(GPC (\d+), ?TPC (\d+), ?SM \d+\)")
LINK74 = re.compile(r"\blink (\d+)", re.IGNORECASE)
REGISTERS = re.compile(r"0x[0-9a-f]+(?:[, ]+0x[0-9a-f]+)*", re.IGNORECASE)
XID = re.compile(r"^s?xid:(\d+)$")


def text(finding: Finding) -> str:
    """All words of a finding as one text, its evidence first."""
    words = [value for value in finding.evidence.values() if isinstance(value, str)]
    return "\n".join([*words, finding.reason])


def word(finding: Finding, *names: str) -> str:
    """The first of these pieces of evidence that is there, as text; empty when none is."""
    return next((str(finding.evidence[name]) for name in names if name in finding.evidence), "")


def number(finding: Finding, *names: str) -> float | None:
    """The same as a number; None when it is none."""
    try:
        return float(word(finding, *names))
    except ValueError:
        return None


def is_xid(finding: Finding) -> bool:
    """Whether it is a line of the driver or of a switch with a number."""
    return XID.match(finding.code) is not None


def xid(finding: Finding) -> int | None:
    """The number of an Xid (not of an SXid)."""
    return int(finding.code.removeprefix("xid:")) if is_xid(finding) and finding.code.startswith("xid:") else None


def recovery(finding: Finding) -> str:
    """The last words of "recovery action changed from ... to ...", or those that the check took out of it."""
    found = RECOVERY.search(text(finding))
    return found[1] if found else word(finding, "recovery", "recovery_action")


def registers(finding: Finding) -> tuple[int, ...]:
    """The hexadecimal words that stand together, as numbers: the longest row of them that is there."""
    own = word(finding, "registers", "regs")
    rows = REGISTERS.findall(own or text(finding))
    longest = max(rows, key=lambda row: len(row.split("0x")), default="")
    return tuple(int(value, 16) for value in re.findall(r"0x[0-9a-fA-F]+", longest))


def unit(finding: Finding) -> str:
    """The unit of an NVLink 5 line, such as NETIR_LINK_EVT."""
    found = NVLINK5.search(text(finding))
    return word(finding, "unit") or (found["unit"] if found else "")


def is_fatal(finding: Finding) -> bool | None:
    """What the line itself says: Fatal or not; None when it does not say."""
    said = word(finding, "severity", "sev").lower()
    if not said:
        found = re.search(r"\b(non-?fatal|fatal)\b", text(finding), re.IGNORECASE)
        said = found[1].lower() if found else ""
    return None if not said else not said.startswith("non")


def link(finding: Finding) -> str:
    """Which NVLink it is about; empty when it does not say."""
    found = NVLINK5.search(text(finding)) or LINK74.search(text(finding))
    return word(finding, "link") or (found[found.lastindex or 0] if found else "")


def part(finding: Finding) -> str:
    """Which part of the GPU an exception names: its GPC and TPC; empty when it names none."""
    found = UNIT13.search(text(finding))
    return f"GPC {found[1]} TPC {found[2]}" if found else word(finding, "part")


def is_over(finding: Finding) -> bool:
    """Whether it says that what was found before is over."""
    return finding.grade is Grade.HEALTHY
