"""What one finding calls for: the answer of the first source that has one.

The order is gpu-health's: the recovery flag of the GPU, the registers of the line, what came with it, the table, and
for all that is no Xid what the check suggests. What repeats is judged last, since it may make a weak answer stronger.
"""

from dataclasses import dataclass
from enum import StrEnum

from godwit.domain.health import Finding, Grade, Remedy
from godwit.scheduler.health import decode, signs, xids


class Rule(StrEnum):
    """What decided; `godwit incidents` shows it."""

    RECOVERY = "recovery-flag"
    DECODE = "registers"
    COMBINATION = "combination"
    TABLE = "table"
    SUGGESTED = "suggested"
    SUGGESTED_LATER = "suggested-when-drained"
    REPEATS = "repeats"
    BURSTS = "bursts"
    ACTIVE = "failed-test"
    HANG = "hang"
    STRAGGLER = "straggler"
    LOSS = "loss"
    CRASH = "crash"
    PROGRAM = "program"
    OVER = "over"
    KNOWN = "known"
    LEMON = "lemon"
    ABSORBED = "absorbed"


DRAINS = frozenset({Rule.SUGGESTED_LATER, Rule.REPEATS})
"""Rules whose tests wait until present work has ended."""

ACTIVE_CHECKS = frozenset({"preflight", "matmul", "correctness", "bandwidth", "host-copy", "all-reduce", "sweep"})
"""Checks that computed something on the GPU: one that fails without a suggestion calls for another test."""


@dataclass(frozen=True)
class Verdict:
    """What is to be done, by which rule, and why.

    `tests`: the device is suspect and is tested; nothing is repaired. `asks`: a person should look, nothing else.
    `restarts`: the job is ended to start again where it is. A remedy `restart_job` without it is left to the job's own
    end and its retries.
    """

    remedy: Remedy
    rule: Rule
    reason: str
    tests: bool = False
    asks: bool = False
    restarts: bool = False

    @property
    def takes_out(self) -> bool:
        """Whether devices leave the fleet for it."""
        return self.tests or self.remedy.strength >= Remedy.DRAIN_AND_RESET.strength


RECOVERY_WORDS: tuple[tuple[str, Remedy], ...] = (
    ("none", Remedy.NONE),
    ("drain and reset", Remedy.DRAIN_AND_RESET),
    ("drain p2p", Remedy.DRAIN_AND_RESET),
    ("bus reset", Remedy.REBOOT),
    ("reset", Remedy.RESET_GPU),
    ("reboot", Remedy.REBOOT),
    ("imex", Remedy.REBOOT),
)
"""Xid 154's text and the names of NVML's field 230, and what each asks for. A bus reset needs the machine's help."""


RECOVERY_NUMBERS = dict(
    zip(
        "01234567",
        ("none", "reset", "reboot", "drain p2p", "drain and reset", "recover imex", "bus reset", "system reboot"),
        strict=True,
    )
)
"""The values of NVML's field 230."""


def by_recovery(finding: Finding) -> Verdict | None:
    """What the GPU itself asks for, where its evidence holds its recovery flag."""
    said = signs.recovery(finding).lower()
    said = RECOVERY_NUMBERS.get(said, said)
    for word, remedy in RECOVERY_WORDS:
        if word in said:
            return Verdict(remedy, Rule.RECOVERY, f"{_name(finding)}: the GPU asks for {said!r}")
    return None


def by_registers(finding: Finding) -> Verdict | None:
    """What the registers of an NVLink line say."""
    meaning = decode.decoded(finding)
    if meaning is None:
        return None
    return Verdict(meaning.remedy, Rule.DECODE, f"{_name(finding)}: {meaning.meaning}")


def by_table(finding: Finding) -> Verdict | None:
    """What `xids.csv` says of an Xid or SXid; one that it does not know is as bad as its line says."""
    if not signs.is_xid(finding):
        return None
    answer = xids.answers().get(finding.code)
    if answer is None or (answer.remedy is None and finding.code.startswith("sxid:")):
        is_fatal = bool(signs.is_fatal(finding)) and finding.code.startswith("sxid:")
        if is_fatal:
            return Verdict(
                Remedy.REBOOT, Rule.TABLE, f"{_name(finding)} is not in the table, and says that it is fatal"
            )
        return Verdict(Remedy.NONE, Rule.TABLE, f"{_name(finding)} has no answer in the table", asks=answer is not None)
    told = f"{_name(finding)}: {answer.description}"
    if answer.remedy is None:
        return Verdict(Remedy.NONE, Rule.TABLE, f"{told}; no action is known", asks=True)
    if answer.remedy is Remedy.CONTACT_SUPPORT and not answer.evicts:
        return Verdict(Remedy.NONE, Rule.TABLE, f"{told}; a case for the vendor if it repeats")
    return Verdict(answer.remedy, Rule.TABLE, told)


def by_check(finding: Finding) -> Verdict:
    """What the check that found it suggests; what is merely degraded is tested later."""
    remedy, told = finding.suggested, f"{_name(finding)}: {finding.reason}"
    if remedy is Remedy.NONE:
        if finding.grade is Grade.UNHEALTHY and finding.check in ACTIVE_CHECKS:
            return Verdict(Remedy.NONE, Rule.ACTIVE, told, tests=True)
        return Verdict(Remedy.NONE, Rule.SUGGESTED, told)
    if finding.grade is Grade.DEGRADED and remedy.strength > Remedy.DRAIN_AND_RESET.strength:
        # It works, if not well: what runs on it may end before anybody looks what is the matter.
        return Verdict(Remedy.NONE, Rule.SUGGESTED_LATER, f"{told}; {remedy} is suggested", tests=True)
    return Verdict(remedy, Rule.SUGGESTED, told)


def _name(finding: Finding) -> str:
    if not signs.is_xid(finding):
        return finding.code or finding.check
    kind, number = finding.code.split(":")
    return f"{'Xid' if kind == 'xid' else 'SXid'} {number}"
