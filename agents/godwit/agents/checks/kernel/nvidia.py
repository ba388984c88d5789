"""Lines of NVIDIA's driver and switches: Xid, SXid, a GPU that fell off the bus, the peer memory module."""

import re

from godwit.agents.checks.kernel.forms import Evidence, Form, expression
from godwit.agents.checks.rules import Rule
from godwit.domain.health import Grade, Remedy

CATALOGUE = "NVIDIA Xid catalogue; NVSentinel syslog monitor"

XID = Rule(
    "xid:N", "an Xid of the driver", Grade.UNHEALTHY, Remedy.NONE, f"{CATALOGUE}; docs/health-policy.md", clears="reset"
)
APPLICATION_XID = Rule(
    "xid:N", "an Xid that programs raise: 13, 31, 43, 45, 68, 69", Grade.DEGRADED, Remedy.NONE,
    "k8s-device-plugin, GCM", clears="event",
)  # fmt: skip
RECORD_XID = Rule(
    "xid:N", "an Xid that only tells something: 63, 92, 154", Grade.DEGRADED, Remedy.NONE, CATALOGUE, clears="event"
)
SXID_FATAL = Rule(
    "sxid:N", "an SXid of a switch that says fatal", Grade.UNHEALTHY, Remedy.NONE,
    "Fabric Manager guide, appendix D", clears="reboot",
)  # fmt: skip
SXID = Rule(
    "sxid:N", "an SXid of a switch that says non-fatal", Grade.DEGRADED, Remedy.NONE,
    "Fabric Manager guide, appendix D", clears="event",
)  # fmt: skip
PEER_MEMORY = Rule(
    "peer-memory:context", "nvidia-peermem met a context that it does not know", Grade.DEGRADED, Remedy.NONE,
    "gpud nvidia-peermem", clears="event",
)  # fmt: skip

APPLICATION = frozenset({13, 31, 43, 45, 68, 69})
RECORDED = frozenset({63, 92, 154})
"""Known to be harmless by themselves; the control plane has the whole table, this only sets the grade."""

_XID = expression(
    r"NVRM: Xid \((?:PCI:)?(?P<pci>[0-9a-fA-F:.]+)\): (?P<xid>\d+),(?: pid='?(?P<pid>[^,']+)'?,)?"
    r"(?: name=(?P<name>[^,]+),)?(?: Ch (?P<channel>[0-9a-fA-F]+),?)? ?(?P<message>.*)"
)
_NVLINK5 = re.compile(
    r"(?P<unit>\w+) (?P<severity>Nonfatal|Fatal) (?P<xc>XC[01]) (?P<injected>i\d+) Link (?P<link>-?\d+) "
    r"\((?P<registers>[0-9a-fA-Fx ]+)\)"
)
_REGISTERS_74 = re.compile(r"link (?P<link>\d+) ?\((?P<registers>0x[0-9a-fA-F]+(?:, ?0x[0-9a-fA-F]+){6})\)")
_RECOVERY = re.compile(r"GPU recovery action changed from 0x[0-9a-f]+ \(([^)]*)\) to 0x[0-9a-f]+ \(([^)]*)\)")
_PART = re.compile(r"\(GPC (\d+), ?TPC (\d+), ?SM (\d+)\)")
_SXID = expression(
    r"SXid \(PCI:(?P<switch>[0-9a-fA-F:.]+)\): (?P<sxid>\d+), (?P<severity>Non-fatal|Fatal), "
    r"(?:Link (?P<link>\d+) )?(?P<message>.*)"
)
_BUS = expression(r"NVRM: GPU (?P<pci>[0-9a-fA-F:.]+): GPU has fallen off the bus")
_BUS_WHOLE = expression(
    r"NVRM: The NVIDIA GPU (?P<pci>[0-9a-fA-F]+:[0-9a-fA-F:.]+).*fallen off the bus and is not responding"
)
_UNKNOWN = ("<unknown>", "unknown")


def xid_rule(number: int) -> Rule:
    """The grade that an Xid has before the control plane has looked it up."""
    if number in APPLICATION:
        return APPLICATION_XID
    return RECORD_XID if number in RECORDED else XID


def _xid(found: re.Match[str]) -> tuple[Rule, str, str, Evidence]:
    number, message = int(found["xid"]), found["message"].strip()
    evidence: Evidence = {"xid": number}
    for name in ("pid", "name", "channel"):
        if found[name] and found[name] not in _UNKNOWN:
            evidence[name] = found[name]
    evidence |= _details(number, message)
    return xid_rule(number), f"xid:{number}", f"Xid {number}: {message or 'the driver says no more'}", evidence


def _details(number: int, message: str) -> Evidence:
    if number == 74 and (link := _REGISTERS_74.search(message)):
        return {"link": link["link"], "registers": link["registers"], "part": f"link {link['link']}"}
    if 144 <= number <= 150 and (five := _NVLINK5.search(message)):
        named = {name: five[name] for name in ("unit", "severity", "link", "registers")}
        return {**named, "part": f"{five['unit']} link {five['link']}"}
    if number == 154 and (action := _RECOVERY.search(message)):
        return {"recovery_before": action[1], "recovery": action[2], "part": action[2]}
    if number == 13 and (unit := _PART.search(message)):
        return {"gpc": unit[1], "tpc": unit[2], "sm": unit[3], "part": f"GPC {unit[1]} TPC {unit[2]}"}
    return {}


def _sxid(found: re.Match[str]) -> tuple[Rule, str, str, Evidence]:
    number = int(found["sxid"])
    evidence: Evidence = {"sxid": number, "severity": found["severity"], "switch": found["switch"]}
    if found["link"]:
        evidence |= {"link": found["link"], "part": f"{found['switch']} link {found['link']}"}
    rule = SXID_FATAL if found["severity"] == "Fatal" else SXID
    return rule, f"sxid:{number}", f"SXid {number} ({found['severity']}): {found['message'].strip()}", evidence


def _fallen(_found: re.Match[str]) -> tuple[Rule, str, str, Evidence]:
    # The driver says it twice, as Xid 79 and in words: one code, so that it is one finding.
    return XID, "xid:79", "Xid 79: GPU has fallen off the bus", {"xid": 79}


FORMS: tuple[Form, ...] = (
    Form("xid", "NVRM: Xid", _XID, XID, reads=_xid),
    Form("sxid", "SXid (PCI:", _SXID, SXID, reads=_sxid),
    Form("xid", "fallen off the bus", _BUS, XID, reads=_fallen),
    Form("xid", "fallen off the bus", _BUS_WHOLE, XID, reads=_fallen),
    Form(
        "peer-memory", "ERROR detected invalid context", expression("ERROR detected invalid context, skipping"),
        PEER_MEMORY, "nvidia-peermem met a context that it does not know; load the module again",
    ),
)  # fmt: skip
