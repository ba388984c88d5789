"""Writes the table of all checks, so that the documentation cannot say anything else than the code.

`python -m godwit.agents.checks.page > docs/health.md` writes the page; a test compares them.
"""

import sys
from collections.abc import Sequence

from godwit.agents.checks.active import described as active
from godwit.agents.checks.gpu import catalogue as gpu
from godwit.agents.checks.gpu import reader, whole
from godwit.agents.checks.host import catalogue as host
from godwit.agents.checks.kernel import described as kernel
from godwit.agents.checks.kernel import watch
from godwit.agents.checks.monitor import POLL_S
from godwit.agents.checks.rules import Described, Rule
from godwit.agents.checks.work import described as work

_HEAD = f"""\
# Health checks

Written from the code by `python -m godwit.agents.checks.page`; do not edit by hand. What the control plane makes of a
finding is in `health-policy.md`, and what an operator sees in `incidents.md`.

An agent polls its GPUs and its host each {POLL_S:g} s (`GODWIT_HEALTH_POLL_S`), the first time at once, and follows the
kernel log all the time: `/dev/kmsg`, which is root's; where that may not be read, systemd's journal, for which the
group `systemd-journal` or `adm` is enough; and without either the Xids that NVML tells, which come without text and
only while somebody listens. NVML is read in a process of its own: no answer within {reader.DEADLINE_S:g} s is
a finding. What a GPU, a driver or a guest does not support is not checked, and is no fault. A finding is told
once, and once more when it is over; equal kernel lines less than {watch.BURST_GAP_S:g} s apart are one finding with a
count. Of an Xid the control plane decides what is to be done (recovery flag, registers, combinations, table), so the
check itself suggests nothing.

*over*: when the finding ends: after so many polls without it; with a **reset** of the GPU; with a **reboot** (another
boot id); only by a **person** (or with the machine); **at once**, for what happened and does not last.
"""

_COLUMNS = "| finding | when | grade | suggested | over | source |\n| --- | --- | --- | --- | --- | --- |"
_OVER = {"reset": "reset", "reboot": "reboot", "person": "person", "event": "at once"}


def markdown() -> str:
    """The whole page: one section for each source, one table for each check."""
    of_gpus = [*(check.described for check in gpu.CHECKS), whole.COUNT, whole.VERSIONS, whole.PEERS, whole.DRIVER]
    sections = (
        ("GPUs, through NVML", of_gpus),
        ("The kernel log", kernel.CHECKS),
        ("The host", [check.described for check in host.CHECKS]),
        ("Active checks: something is computed", active.CHECKS),
        ("Jobs", work.CHECKS),
    )
    return "\n".join([_HEAD, *(_section(title, checks) for title, checks in sections)])


def _section(title: str, checks: Sequence[Described]) -> str:
    return "\n".join([f"## {title}\n", *(_check(check) for check in checks)])


def _check(check: Described) -> str:
    rows = "\n".join(_row(rule) for rule in check.rules)
    return f"### {check.name}\n\nReads: {check.reads}.\n\n{_COLUMNS}\n{rows}\n"


def _row(rule: Rule) -> str:
    over = rule.over or _OVER.get(rule.clears, "next poll" if rule.clear_after == 1 else f"{rule.clear_after} polls")
    cells = (f"`{rule.code}`", rule.when, str(rule.grade), str(rule.remedy).replace("_", " "), over, rule.source)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    sys.stdout.write(markdown())
