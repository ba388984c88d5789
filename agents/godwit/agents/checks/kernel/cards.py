"""Lines about PCIe and network cards."""

import re

from godwit.agents.checks.kernel.forms import Evidence, Form, expression
from godwit.agents.checks.rules import Rule
from godwit.domain.health import Grade, Remedy

_AER = "Linux PCIe AER; NVSentinel, gpud"
_MLX5 = "NVSentinel design 048"

AER_FATAL = Rule(
    "pcie-bus:fatal", "an uncorrected, fatal error of the PCIe bus, or one that the kernel could not recover from",
    Grade.UNHEALTHY, Remedy.REBOOT, _AER, clears="reboot",
)  # fmt: skip
AER_NONFATAL = Rule(
    "pcie-bus:non-fatal", "an uncorrected error of the PCIe bus that is not fatal",
    Grade.DEGRADED, Remedy.REBOOT, _AER, clears="reboot",
)  # fmt: skip
AER_CORRECTED = Rule(
    "pcie-bus:corrected", "a corrected error of the PCIe bus", Grade.DEGRADED, Remedy.NONE, _AER, clears="event"
)
NARROW = Rule(
    "pcie-bus:narrow", "a card says that its slot gives it less than it could use", Grade.DEGRADED, Remedy.NONE,
    "mlx5 and other drivers at boot; warned of by NVSentinel", clears="reboot",
)  # fmt: skip
CARD_DEAD = Rule(
    "network-card:dead", "commands to a network card time out, or it calls itself beyond recovery",
    Grade.UNHEALTHY, Remedy.REPLACE_NODE, _MLX5, clears="reboot",
)  # fmt: skip
CARD_TROUBLE = Rule(
    "network-card:trouble", "too hot, no cable, too little power, or a queue that timed out",
    Grade.DEGRADED, Remedy.NONE, _MLX5, clears="event",
)  # fmt: skip
CARD_REPEATED = Rule(
    "network-card:repeated", "3 troubles of network cards within 1 h", Grade.UNHEALTHY, Remedy.REPLACE_NODE, _MLX5,
    clears="person",
)  # fmt: skip
CARD_LINK = Rule(
    "network-card:link-down", "a port lost its link (flaps are counted from /sys)", Grade.DEGRADED, Remedy.NONE,
    "mlx5 driver", clears="event", over="the driver says `Link up` of each port that it lost",
)  # fmt: skip
CARD_LINK_BACK = Rule(CARD_LINK.code, "every port that was lost is back", Grade.HEALTHY, Remedy.NONE, "mlx5 driver")

_BUS_ERROR = expression(
    r"(?P<where>[0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.\d): PCIe Bus Error: "
    r"severity=(?P<severity>Correct\w+|Uncorrect\w+ \((?:Non-)?Fatal\)), type=(?P<layer>[\w ]+) Layer"
)
_CARD = r"mlx5_core (?P<where>[0-9a-fA-F:.]+)"


def _bus_error(found: re.Match[str]) -> tuple[Rule, str, str, Evidence]:
    severity = found["severity"]
    rule = AER_CORRECTED if severity.startswith("Correct") else AER_NONFATAL
    rule = AER_FATAL if "(Fatal)" in severity else rule
    evidence: Evidence = {"severity": severity, "layer": found["layer"], "device": found["where"]}
    return rule, rule.code, f"PCIe bus error at {found['where']}: {severity}, {found['layer']} layer", evidence


FORMS: tuple[Form, ...] = (
    Form("pcie-bus", "PCIe Bus Error", _BUS_ERROR, AER_CORRECTED, reads=_bus_error),
    Form(
        "pcie-bus", "AER: ", expression(r"AER: (?:can't recover \(no error_detected|device recovery failed)"),
        AER_FATAL, "the kernel could not recover from an error of the PCIe bus",
    ),
    Form(
        "pcie-bus", "available PCIe bandwidth", expression(r"available PCIe bandwidth, limited by .* PCIe x\d+ link"),
        NARROW,
    ),
    Form(
        "network-card", "Will cause a leak of a command resource",
        expression(_CARD + r".*timeout\. Will cause a leak of a command resource"), CARD_DEAD,
        "commands to a network card time out",
    ),
    Form(
        "network-card", "mlx5_core",
        expression(_CARD + r".*(?:device's health compromised - reached miss count|unrecoverable hardware error)"),
        CARD_DEAD, "a network card does not answer its health check, or calls itself beyond recovery",
    ),
    Form(
        "network-card", "Port module event",
        expression(_CARD + r".*Port module event.*(?P<event>High Temp|Cable unplugged)"), CARD_TROUBLE,
        "a port's module is too hot or has no cable",
    ),
    Form(
        "network-card", "mlx5_core",
        expression(_CARD + r".*(?P<event>Detected insufficient power on the PCIe slot|TX timeout detected"
                   r"|RX timeout on channel)"),
        CARD_TROUBLE, "a network card has too little power, or a queue of it timed out",
    ),
    Form(
        "network-card", "NETDEV WATCHDOG", expression(r"NETDEV WATCHDOG.*mlx5_core.*timed out"), CARD_TROUBLE,
        "a queue of a network card timed out",
    ),
    Form(
        "network-card", ": Link down", expression(r"mlx5_core (?P<where>\S+) (?P<port>\S+): Link down"), CARD_LINK,
        "a port lost its link",
    ),
)  # fmt: skip

RETURNS: tuple[Form, ...] = (
    Form(
        "network-card", ": Link up", expression(r"mlx5_core (?P<where>\S+) (?P<port>\S+): Link up"), CARD_LINK_BACK,
        "a port has its link again",
    ),
)  # fmt: skip
"""Lines that end what another one said."""
