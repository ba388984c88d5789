"""The Xid and SXid numbers of NVIDIA's driver and switches, with the usual answer to each.

`xids.csv` has one row for each: Xids as in NVIDIA's Xid catalogue (the spreadsheet that NVSentinel ships under
health-monitors/syslog-health-monitor), with the notes of gpud and the k8s-device-plugin where the catalogue is silent;
SXids as in the Fabric Manager guide, appendix D. A blank action means: record it, tell a person, do nothing by itself.
Numbers that are marked unused for A100 and later say `contact_support`, and take nothing out of the fleet.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from godwit.domain.health import Remedy

APPLICATION = frozenset(f"xid:{number}" for number in (13, 31, 43, 45, 68, 69))
"""Raised by programs as a rule (k8s-device-plugin, GCM and NVIDIA's catalogue agree on most): they evict nobody."""

STICKY = frozenset(f"xid:{number}" for number in (74, 79, 95, 109, 119))
"""Not over until a reset or a reboot was seen, whatever the GPU says of itself (NVSentinel)."""

LOST = frozenset({"xid:79", "xid:110", "xid:119", "xid:120", "xid:143"})
"""Nothing that runs on the GPU can still save: it does not answer, or its firmware does not."""

CONTAINED = frozenset({"xid:94"})
"""Only the program that met it ends; the GPU needs a reset before the bad row is out of the way."""

WRONG = frozenset({"xid:48", "xid:95", "xid:140", "xid:171", "xid:172"})
"""Uncorrected memory: what was computed on the GPU cannot be trusted, nor saved."""


@dataclass(frozen=True)
class Answer:
    """One row: `severity` is info, warning, critical, fatal or blank; `scope` app, gpu, nvlink, node or blank.

    `remedy` None: no action is known. `evicts`: whether it is done without a person.
    """

    code: str
    description: str
    severity: str
    scope: str
    remedy: Remedy | None
    evicts: bool

    @property
    def is_application(self) -> bool:
        """Whether programs are what raises it."""
        return self.code in APPLICATION or self.scope == "app"


@cache
def answers() -> Mapping[str, Answer]:
    """Every known number, by its code: "xid:79", "sxid:20034"."""
    text = resources.files(__package__).joinpath("xids.csv").read_text()
    return {answer.code: answer for answer in map(_answer, csv.DictReader(text.splitlines()))}


def _answer(row: Mapping[str, str]) -> Answer:
    remedy = Remedy(row["action"]) if row["action"] else None
    code = f"{row['kind']}:{row['number']}"
    return Answer(code, row["description"], row["severity"], row["scope"], remedy, row["evict"] == "yes")
