"""What a form of kernel line is: how it is recognised, and what it becomes."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from godwit.agents.checks.pci import address
from godwit.agents.checks.rules import Rule

Evidence = dict[str, str | int | float]

LINE_CHARS = 2_048
"""Of a line, as much as is kept: the kernel's own records end at 1 KiB of text (LOG_LINE_MAX)."""


@dataclass(frozen=True)
class KernelSign:
    """One line that means something.

    `check` names the kind of line. `code` is "xid:79" and the like, where `rule` stands for a family. `pci` is the bus
    address that it names, as it stands there. `burst` tells lines apart that are the same event said again from those
    that are another one. `line` is the line.
    """

    check: str
    rule: Rule
    code: str
    reason: str
    line: str
    pci: str = ""
    burst: str = ""
    evidence: Mapping[str, str | int | float] = field(default_factory=dict)


@dataclass(frozen=True)
class Form:
    """A kind of line. `holds` is a piece of text that every such line has: the cheap test before the expression.

    `reads` makes rule, code, reason and evidence of the match; without it they are the rule's own and what `says` says,
    with the named groups of the match as evidence.
    """

    check: str
    holds: str
    pattern: re.Pattern[str]
    rule: Rule
    says: str = ""
    reads: Callable[[re.Match[str]], tuple[Rule, str, str, Evidence]] | None = None

    def sign(self, line: str) -> KernelSign | None:
        """What this line says; None when it is not of this form."""
        if self.holds not in line:
            return None
        found = self.pattern.search(line)
        if found is None:
            return None
        groups = {name: value for name, value in found.groupdict().items() if value is not None}
        rule, code, reason, evidence = self.rule, self.rule.code, self.says or self.rule.when, Evidence(groups)
        if self.reads is not None:
            rule, code, reason, evidence = self.reads(found)
        pci = groups.get("pci", "")
        named = address(pci) or groups.get("where", pci)
        burst = f"{code} {named} {evidence.get('part', '')}"
        return KernelSign(self.check, rule, code, reason, line[:LINE_CHARS], pci, burst, evidence)


def expression(pattern: str) -> re.Pattern[str]:
    """The expression, compiled."""
    return re.compile(pattern)
