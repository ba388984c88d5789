"""What several findings of one GPU mean together, where each alone would be answered otherwise.

The rules are those of NVIDIA's Xid catalogue: 45 follows any other Xid; 48 with 63 or 64 waits until present work has
ended; 94 and 95 follow a 48 or a 144 to 146; 171 and 172 say where the memory of a 48 failed. An Xid 154 is the word of
the GPU itself on whatever came with it, and goes before all tables.
"""

from collections.abc import Collection

from godwit.domain.health import Finding, Remedy
from godwit.scheduler.health import signs, xids
from godwit.scheduler.health.casebook import Casebook
from godwit.scheduler.health.verdicts import Rule, Verdict, by_recovery, by_registers, by_table

CLEANUP, UNCORRECTED = 45, 48
REMAPS = frozenset({63, 64})
FOLLOWERS = frozenset({94, 95})
LEADERS = frozenset({48, 144, 145, 146})
COMPANIONS = frozenset({171, 172})
ANNOUNCEMENT = 154


def by_neighbours(finding: Finding, book: Casebook) -> Verdict | None:
    """The verdict that other Xids of the same GPU at about the same time impose; None when they leave it as it is."""
    number = signs.xid(finding)
    if number is None or finding.gpu is None:
        return None
    beside = _beside(finding, book)
    if number == CLEANUP:
        other = _first(beside, set(map(signs.xid, beside)) - {CLEANUP, None})
        return None if other is None else Verdict(Remedy.NONE, Rule.COMBINATION, f"Xid 45 follows {other.code}")
    if number == UNCORRECTED and (other := _first(beside, REMAPS)) is not None:
        why = f"Xid 48 with {other.code}: the row is remapped by a reset, and what runs may end before"
        return Verdict(Remedy.DRAIN_AND_RESET, Rule.COMBINATION, why)
    leaders = LEADERS if number in FOLLOWERS else {UNCORRECTED} if number in COMPANIONS else frozenset[int]()
    other = _first(beside, leaders)
    return None if other is None else _as(other, finding, book)


def by_announcement(finding: Finding, book: Casebook) -> Verdict | None:
    """What the GPU asked for, in an Xid 154 at about the same time; faults of programs are not what it is about."""
    if finding.gpu is None or not signs.is_xid(finding) or finding.code in xids.APPLICATION:
        return None
    said = [
        verdict for one in _beside(finding, book) if signs.xid(one) == ANNOUNCEMENT and (verdict := by_recovery(one))
    ]
    return max(said, key=lambda verdict: verdict.remedy.strength, default=None)


def _as(other: Finding, finding: Finding, book: Casebook) -> Verdict:
    answer = by_neighbours(other, book) if signs.xid(other) == UNCORRECTED else by_registers(other)
    answer = answer or by_table(other) or Verdict(Remedy.NONE, Rule.COMBINATION, "")
    return Verdict(answer.remedy, Rule.COMBINATION, f"{finding.code} follows {other.code}: {answer.reason}")


def _beside(finding: Finding, book: Casebook) -> list[Finding]:
    near_s = book.policy.combine_s
    return [
        one
        for one in book.by_node.get(finding.node_id, [])
        if one.gpu == finding.gpu and one.id != finding.id and abs(one.at - finding.at) <= near_s and signs.is_xid(one)
    ]


def _first(beside: list[Finding], numbers: Collection[int | None]) -> Finding | None:
    return next((one for one in beside if signs.xid(one) in numbers and signs.xid(one) is not None), None)
