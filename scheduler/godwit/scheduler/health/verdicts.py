"""What one finding calls for: the answer of the first source that has one.

The order is gpu-health's: the recovery flag of the GPU, the registers of the line, what came with it, the table, and
for all that is no Xid what the check suggests. What repeats is judged last, since it may make a weak answer stronger.
"""

from collections.abc import Mapping
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


RULES: Mapping[Rule, tuple[str, str]] = {
    Rule.RECOVERY: ("the GPU says itself what it needs: NVML field 230, or Xid 154 within `combine_s`", "NVIDIA, R570"),
    Rule.DECODE: ("the registers of Xid 74 and of 144 to 150 say what broke", "NVIDIA Xid catalogue"),
    Rule.COMBINATION: (
        "45 follows any other; 48 with 63 or 64 drains first; 94 and 95 follow 48 or 144 to 146; 171 and 172 follow 48",
        "NVIDIA Xid catalogue",
    ),
    Rule.TABLE: ("the table below; where it is blank a person is asked, and nothing is done", "NVIDIA Xid catalogue"),
    Rule.SUGGESTED: ("any other check is believed in what it suggests", "docs/health.md"),
    Rule.SUGGESTED_LATER: ("what is merely degraded is tested once present work has ended", "Meta RSC"),
    Rule.ACTIVE: ("a failed test that suggests nothing calls for a test with nothing beside it", "ByteRobust"),
    Rule.REPEATS: (
        "13 on the same GPC and TPC, 31 on the same GPU, in `repeats` different jobs: drained and tested",
        "NVSentinel",
    ),
    Rule.BURSTS: (
        "the same fault of a GPU in `bursts` bursts a day; of programs, also in different jobs",
        "NVSentinel",
    ),
    Rule.PROGRAM: ("the same program meets the same fault on two nodes: nothing is done to either", "NVRx"),
    Rule.HANG: (
        "no hardware has said anything: restarted; a node whose stacks are odd for the second time is tested",
        "ByteRobust, NVRx",
    ),
    Rule.STRAGGLER: (
        "slower than its peers in three windows: swapped at the next checkpoint, then tested",
        "MegaScale",
    ),
    Rule.LOSS: (
        "no number: noted once; while it stays so: restarted, or tested at once where the job is large; again: the "
        "nodes that had other findings are tested, else all of the job, at once",
        "ByteRobust's tests at stop time",
    ),
    Rule.CRASH: (
        "an error of CUDA without any sign of hardware: restarted once; again on that node: tested",
        "Meta RSC",
    ),
    Rule.KNOWN: ("a GPU that was bad on another machine comes with a new one: replaced", "rented fleets"),
    Rule.LEMON: ("too many incidents, or too many different ones, in `lemon_s`: given back for good", "Meta RSC"),
    Rule.ABSORBED: ("an incident has the device already, and does at least as much", "NVSentinel"),
    Rule.OVER: ("it is over, or the machine is gone", "gpud, NVSentinel"),
}
"""What each rule says, for people, and who does it so."""

DRAINS = frozenset({Rule.SUGGESTED_LATER, Rule.REPEATS})
"""Rules whose tests wait until present work has ended."""

ACTIVE_CHECKS = frozenset({"preflight", "matmul", "correctness", "bandwidth", "host-copy", "all-reduce", "sweep"})
"""Checks that computed something on the GPU: one that fails without a suggestion calls for another test."""


@dataclass(frozen=True)
class Verdict:
    """What is to be done, by which rule, and why.

    `tests`: the device is suspect and is tested; nothing is repaired. `asks`: a person should look, nothing else.
    `restarts`: the job is ended to start again where it is. A remedy `restart_job` without it is left to the job's own
    end and its retries. `suspects`: findings of other checks, whose devices are meant and not the one that was told of.
    `gang`: the job is stopped, and each of its nodes is tested before it goes on.
    """

    remedy: Remedy
    rule: Rule
    reason: str
    tests: bool = False
    asks: bool = False
    restarts: bool = False
    suspects: tuple[Finding, ...] = ()
    gang: bool = False

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
