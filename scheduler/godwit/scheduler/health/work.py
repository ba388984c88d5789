"""What is made of a job that hangs, lags, computes nonsense or crashes, when no hardware has said a word.

ByteRobust (arXiv 2509.16293) orders it so: try again in place once, then test, then take out the odd ones; the same
failure on other nodes is the program's. What hardware says at about the same time goes before all of it.
"""

import math
from collections.abc import Iterator

from godwit.domain.health import Finding, Grade, Incident, Remedy
from godwit.domain.ids import NodeId
from godwit.scheduler.health import signs, xids
from godwit.scheduler.health.casebook import Casebook, takes_out
from godwit.scheduler.health.verdicts import Rule, Verdict

STORM = 3
"""Restarts within a day for one that no hardware explains (NVRx ends such a loop after three)."""

FAMILIES = frozenset(
    {
        "xid", "sxid", "network-card", "port", "pcie-bus", "pcie", "nvlink", "ecc", "gpu", "gpu-count", "driver",
        "fabric", "peer-access", "power", "kernel", "row-remap", "inforom", "temperature",
    }
)  # fmt: skip
"""Families of codes that speak of hardware a job would feel at once."""

GANG_TESTS = 2
"""Tests of a whole gang within a day: the vendor's own find 70 % of what corrupts silently (ByteRobust), twice 91 %."""

WINDOWS = 3
"""Windows in which a rank must lag before it is swapped (gpu-health: a steady lag in three windows)."""


def judged(finding: Finding, book: Casebook) -> Verdict:
    """What one finding about a job calls for."""
    broken = blamed(finding, book)
    if broken is not None:
        return Verdict(Remedy.NONE, Rule.ABSORBED, f"{finding.reason}: the hardware is at fault (incident {broken.id})")
    if finding.check in {"hang", "crash"} and not _programs_own(finding, book):
        suspects = _suspects(finding, book)
        if suspects:
            rule = Rule.HANG if finding.check == "hang" else Rule.CRASH
            why = f"{finding.reason}; shortly before: {suspects[0].reason}"
            return Verdict(Remedy.NONE, rule, why, tests=True, suspects=suspects)
    return {"hang": _hang, "straggler": _straggler, "loss": _loss, "crash": _crash}[finding.check](finding, book)


def blamed(finding: Finding, book: Casebook) -> Incident | None:
    """An incident on one of the job's nodes that explains what the job suffers; a slow rank's node explains itself."""
    near_s = book.policy.attribution_s
    for node_id in (finding.node_id,) if finding.check == "straggler" else _nodes(finding, book):
        for one in book.incidents_on(node_id):
            if takes_out(one) and one.check not in signs.JOB_CHECKS and one.opened_at >= finding.at - near_s:
                return one
    return None


def _hang(finding: Finding, book: Casebook) -> Verdict:
    before = [one for one in _before(finding, book) if one.check == "hang"]
    told = f"the job makes no step: {finding.reason}"
    if not before:
        return Verdict(Remedy.RESTART_JOB, Rule.HANG, f"{told}; it starts again, once", restarts=True)
    began_at = _began_at(finding, book)
    was_odd = any(one.node_id == finding.node_id and one.at < began_at and is_odd(one) for one in _same(finding, book))
    if not is_odd(finding) or not was_odd:
        return Verdict(Remedy.RESTART_JOB, Rule.HANG, f"{told}; nothing points at the same node twice", restarts=True)
    return Verdict(Remedy.NONE, Rule.HANG, f"{told}, again, and the stacks point at this node", tests=True)


def is_odd(finding: Finding) -> bool:
    """Whether the stacks of the ranks on this node are unlike those of most others."""
    return signs.word(finding, "odd", "odd_ranks", "odd_nodes").lower() not in {"", "0", "no", "none", "false", "[]"}


def _straggler(finding: Finding, book: Casebook) -> Verdict:
    windows = signs.number(finding, "windows")
    if windows is None:
        windows = sum(one.node_id == finding.node_id and one.at <= finding.at for one in _same(finding, book)) or 1
        windows = max(windows, WINDOWS) if finding.grade is Grade.UNHEALTHY else windows
    if windows < WINDOWS:
        return Verdict(Remedy.NONE, Rule.STRAGGLER, f"{finding.reason}; for {windows:.0f} of {WINDOWS} windows so far")
    return Verdict(Remedy.NONE, Rule.STRAGGLER, f"{finding.reason}; it is swapped at the next checkpoint", tests=True)


def _loss(finding: Finding, book: Casebook) -> Verdict:
    if not _is_no_number(finding):
        return Verdict(Remedy.NONE, Rule.LOSS, f"{finding.reason}; noted")
    if finding.grade is Grade.UNHEALTHY:
        return _spoilt(finding, book)
    before = [one for one in _same(finding, book) if one.at < finding.at and _is_no_number(one)]
    if not before or any(_recovered(one, finding, book) for one in before[-1:]):
        return Verdict(Remedy.NONE, Rule.LOSS, f"{finding.reason}; noted, once may be the data")
    if _has_signs(finding, book):
        return Verdict(Remedy.NONE, Rule.LOSS, f"{finding.reason}, again, and the node had other findings", tests=True)
    if _gang_tests(finding, book) >= GANG_TESTS:
        return Verdict(Remedy.NONE, Rule.PROGRAM, f"{finding.reason}, again, and no test finds why: data or code")
    why = f"{finding.reason}, again: all nodes of the job are tested, since any of them may compute wrong"
    return Verdict(Remedy.NONE, Rule.LOSS, why, gang=True)


def _spoilt(finding: Finding, book: Casebook) -> Verdict:
    """It stays no number: what the job computes from now on is lost. What no restart helps is left to its own end.

    The larger the job, the likelier that one of its nodes computes wrong: it is found at once, instead of when the
    next loss is spoilt.
    """
    if len(_nodes(finding, book)) >= book.policy.gang_test_nodes and _gang_tests(finding, book) < GANG_TESTS:
        return Verdict(
            Remedy.NONE, Rule.LOSS, f"{finding.reason}: all nodes of so large a job are tested at once", gang=True
        )
    before = [one for one in _restarted(finding, book) if one.check == "loss"]
    if len(before) >= STORM:
        return Verdict(Remedy.NONE, Rule.PROGRAM, f"{finding.reason}; {len(before)} restarts today did not help")
    why = f"{finding.reason}: it starts again from the checkpoint before"
    return Verdict(Remedy.RESTART_JOB, Rule.LOSS, why, restarts=True)


def _is_no_number(one: Finding) -> bool:
    """Whether the loss itself is no number; gradients overflow now and then where precision is mixed."""
    loss = number if (number := signs.number(one, "loss")) is not None else math.nan
    return one.code == "loss:nan" and one.grade is not Grade.HEALTHY and not math.isfinite(loss)


def _recovered(before: Finding, finding: Finding, book: Casebook) -> bool:
    """Whether the loss was sound again in between without a restart."""
    between = (one for one in book.by_check.get("loss", []) if before.at < one.at < finding.at)
    return any(one.grade is Grade.HEALTHY and one.attempt_id == before.attempt_id for one in between)


def _gang_tests(finding: Finding, book: Casebook) -> int:
    """How often all nodes of this job, or of one with the same head, were tested within the last day."""
    tests = {
        one.cause
        for one in _today(finding, book)
        if _is_gang_test(one) and (finding.job_id in one.job_ids or one.node_id == finding.node_id)
    }
    return len(tests)


def _is_gang_test(one: Incident) -> bool:
    return one.rule == Rule.LOSS and one.check == "loss" and one.cause is not None


def _crash(finding: Finding, book: Casebook) -> Verdict:
    if _programs_own(finding, book):
        return Verdict(Remedy.NONE, Rule.PROGRAM, f"{finding.reason}; its GPU says that the program did it")
    before = [one for one in _before(finding, book) if one.check == "crash"]
    if not before:
        why = f"{finding.reason}; no hardware has said anything: it starts again, once"
        return Verdict(Remedy.RESTART_JOB, Rule.CRASH, why, restarts=True)
    if len(_nodes(finding, book)) == 1 and all(one.node_id == finding.node_id for one in before):
        return Verdict(Remedy.NONE, Rule.CRASH, f"{finding.reason}, on the same node again", tests=True)
    if finding.code.startswith("nccl:") and len(before) < STORM:
        why = f"{finding.reason}, again; a network may take minutes to say what is wrong with it"
        return Verdict(Remedy.RESTART_JOB, Rule.CRASH, why, restarts=True)
    return Verdict(Remedy.NONE, Rule.PROGRAM, f"{finding.reason}; it failed so before, and no node is named for it")


def _before(finding: Finding, book: Casebook) -> Iterator[Incident]:
    """Incidents of earlier attempts of the same job within the last day."""
    return (one for one in _today(finding, book) if finding.job_id in one.job_ids)


def _restarted(finding: Finding, book: Casebook) -> Iterator[Incident]:
    """Incidents within the last day for which this job started again, or one with the same head: a program that ended
    by itself is submitted anew, under another id."""
    for one in _today(finding, book):
        is_same = finding.job_id in one.job_ids or one.node_id == finding.node_id
        if is_same and one.remedy is Remedy.RESTART_JOB:
            yield one


def _today(finding: Finding, book: Casebook) -> Iterator[Incident]:
    since, until = book.now - book.policy.rung_s, _began_at(finding, book)
    return (one for one in [*book.view.past, *book.all_active] if since <= one.opened_at <= until)


def _began_at(finding: Finding, book: Casebook) -> float:
    """When the attempt began: the nodes of one attempt tell of one hang at slightly different times."""
    attempt = None if finding.attempt_id is None else book.by_attempt.get(finding.attempt_id)
    return finding.at - book.policy.combine_s if attempt is None else attempt.created_at


def _same(finding: Finding, book: Casebook) -> list[Finding]:
    """Findings of this check about the same job, or told by the same node, within the last day."""
    since = finding.at - book.policy.repeats_s
    return [
        one
        for one in book.by_check.get(finding.check, [])
        if one.at >= since and (one.job_id == finding.job_id or one.node_id == finding.node_id)
    ]


def _nodes(finding: Finding, book: Casebook) -> list[NodeId]:
    """Nodes of the attempt that a finding is about; its own where the attempt is gone."""
    attempt = None if finding.attempt_id is None else book.by_attempt.get(finding.attempt_id)
    return [finding.node_id] if attempt is None else [slot.node_id for slot in attempt.slots]


def _has_signs(finding: Finding, book: Casebook) -> bool:
    since = finding.at - book.policy.repeats_s
    return any(one.at >= since and _is_sign(one) for one in book.by_node.get(finding.node_id, []))


def _suspects(finding: Finding, book: Casebook) -> tuple[Finding, ...]:
    """What hardware of the job's nodes said shortly before, and what is not over: the newest of each node."""
    since = finding.at - book.policy.combine_s
    found = []
    for node_id in _nodes(finding, book):
        newest = {(one.check, one.code, one.gpu): one for one in book.by_node.get(node_id, []) if one.at <= finding.at}
        signs_there = [one for one in newest.values() if one.at >= since and _is_sign(one)]
        found += signs_there[-1:]
    return tuple(found)


def _is_sign(one: Finding) -> bool:
    """Whether a finding speaks of hardware that jobs feel: not of one's own program, nor of what was corrected."""
    family = one.code.split(":")[0]
    is_told = one.grade is not Grade.HEALTHY and "corrected" not in one.code.split(":")[-1].split("-")
    return is_told and one.check not in signs.JOB_CHECKS and one.code not in xids.APPLICATION and family in FAMILIES


def _programs_own(finding: Finding, book: Casebook) -> bool:
    near_s = book.policy.attribution_s
    return any(
        one.code in xids.APPLICATION and abs(one.at - finding.at) <= near_s and one.job_id in {None, finding.job_id}
        for node_id in _nodes(finding, book)
        for one in book.by_node.get(node_id, [])
    )
