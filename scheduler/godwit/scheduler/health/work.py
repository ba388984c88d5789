"""What is made of a job that hangs, lags, computes nonsense or crashes, when no hardware has said a word.

ByteRobust (arXiv 2509.16293) orders it so: try again in place once, then test, then take out the odd ones; the same
failure on other nodes is the program's. What hardware says at about the same time goes before all of it.
"""

from collections.abc import Iterator

from godwit.domain.health import Finding, Grade, Incident, Remedy
from godwit.domain.ids import JobId
from godwit.scheduler.health import signs, xids
from godwit.scheduler.health.casebook import Casebook, takes_out
from godwit.scheduler.health.verdicts import Rule, Verdict

WINDOWS = 3
"""Windows in which a rank must lag before it is swapped (gpu-health: a steady lag in three windows)."""


def judged(finding: Finding, book: Casebook) -> Verdict:
    """What one finding about a job calls for."""
    broken = blamed(finding, book)
    if broken is not None:
        return Verdict(Remedy.NONE, Rule.ABSORBED, f"{finding.reason}: the hardware is at fault (incident {broken.id})")
    return {"hang": _hang, "straggler": _straggler, "loss": _loss, "crash": _crash}[finding.check](finding, book)


def blamed(finding: Finding, book: Casebook) -> Incident | None:
    """An incident on one of the job's nodes that explains what the job suffers."""
    attempt = None if finding.attempt_id is None else book.by_attempt.get(finding.attempt_id)
    nodes = [finding.node_id] if attempt is None else [slot.node_id for slot in attempt.slots]
    near_s = book.policy.attribution_s
    for node_id in nodes:
        for one in book.incidents_on(node_id):
            if takes_out(one) and one.check not in signs.JOB_CHECKS and one.opened_at >= finding.at - near_s:
                return one
    return None


def _hang(finding: Finding, book: Casebook) -> Verdict:
    before = [one for one in _before(finding, book) if one.check == "hang"]
    told = f"the job makes no step: {finding.reason}"
    if not before:
        return Verdict(Remedy.RESTART_JOB, Rule.HANG, f"{told}; it starts again, once", restarts=True)
    if not is_odd(finding):
        return Verdict(Remedy.RESTART_JOB, Rule.HANG, f"{told}; nothing points at a node", restarts=True)
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
    before = [one for one in _same(finding, book) if one.at < finding.at and one.id != finding.id]
    if not before:
        return Verdict(Remedy.NONE, Rule.LOSS, f"{finding.reason}; noted, once may be the data")
    if _has_signs(finding, book):
        return Verdict(Remedy.NONE, Rule.LOSS, f"{finding.reason}, again, and the node had other findings", tests=True)
    if finding.grade is not Grade.UNHEALTHY or any(one.check == "loss" for one in _before(finding, book)):
        return Verdict(Remedy.NONE, Rule.PROGRAM, f"{finding.reason}, again, after a restart: data or code")
    why = f"{finding.reason}, again: the same steps are computed once more from the last checkpoint"
    return Verdict(Remedy.RESTART_JOB, Rule.LOSS, why, restarts=True)


def _crash(finding: Finding, book: Casebook) -> Verdict:
    if _programs_own(finding, book):
        return Verdict(Remedy.NONE, Rule.PROGRAM, f"{finding.reason}; its GPU says that the program did it")
    before = [one for one in _before(finding, book) if one.check == "crash"]
    if not before:
        why = f"{finding.reason}; no hardware has said anything: it starts again, once"
        return Verdict(Remedy.RESTART_JOB, Rule.CRASH, why, restarts=True)
    if all(one.node_id == finding.node_id for one in before):
        return Verdict(Remedy.NONE, Rule.CRASH, f"{finding.reason}, on the same node again", tests=True)
    return Verdict(
        Remedy.NONE, Rule.PROGRAM, f"{finding.reason}; it failed so on another node too: the program's fault"
    )


def _before(finding: Finding, book: Casebook) -> Iterator[Incident]:
    """Incidents of earlier attempts of the same job within the last day."""
    since, until = book.now - book.policy.rung_s, _began_at(finding, book)
    for one in [*book.view.past, *book.all_active]:
        if finding.job_id in one.job_ids and since <= one.opened_at <= until:
            yield one


def _began_at(finding: Finding, book: Casebook) -> float:
    """When the attempt began: the nodes of one attempt tell of one hang at slightly different times."""
    attempt = None if finding.attempt_id is None else book.by_attempt.get(finding.attempt_id)
    return finding.at - book.policy.combine_s if attempt is None else attempt.created_at


def _same(finding: Finding, book: Casebook) -> list[Finding]:
    """Findings of this check about the same job within the last day."""
    job_id: JobId | None = finding.job_id
    since = finding.at - book.policy.repeats_s
    return [one for one in book.by_check.get(finding.check, []) if one.job_id == job_id and one.at >= since]


def _has_signs(finding: Finding, book: Casebook) -> bool:
    since = finding.at - book.policy.repeats_s
    return any(
        one.at >= since
        and one.grade is not Grade.HEALTHY
        and one.check not in signs.JOB_CHECKS
        and one.code not in xids.APPLICATION
        for one in book.by_node.get(finding.node_id, [])
    )


def _programs_own(finding: Finding, book: Casebook) -> bool:
    near_s = book.policy.attribution_s
    return any(
        one.code in xids.APPLICATION and abs(one.at - finding.at) <= near_s and one.job_id in {None, finding.job_id}
        for one in book.by_node.get(finding.node_id, [])
    )
