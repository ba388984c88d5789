"""What repeats: a fault of programs that follows the GPU and not the program, and a fault that comes in many bursts."""

from collections.abc import Iterable

from godwit.domain.health import Finding, Remedy
from godwit.domain.ids import JobId
from godwit.scheduler.health import signs, xids
from godwit.scheduler.health.casebook import Casebook
from godwit.scheduler.health.verdicts import Rule, Verdict

BY_PART, BY_GPU = "xid:13", "xid:31"
"""Application faults that may be the GPU's: 13 when it comes from the same GPC and TPC again, 31 from the same GPU."""


def judged(finding: Finding, verdict: Verdict, book: Casebook) -> Verdict:
    """The verdict, made stronger where the fault came before."""
    if finding.gpu is None or not signs.is_xid(finding):
        return verdict
    same = [one for one in book.by_code.get(finding.code, []) if one.gpu == finding.gpu and _recent(one, finding, book)]
    if finding.code in xids.APPLICATION:
        return _suspected(finding, same, verdict, book)
    return _worn_out(finding, same, verdict, book)


def is_the_programs(code: str, job_id: JobId, book: Casebook) -> bool:
    """Whether a job met this fault on two different nodes: then the job brings it along."""
    return len({one.node_id for one in book.by_code.get(code, []) if one.job_id == job_id}) > 1


def _suspected(finding: Finding, same: list[Finding], verdict: Verdict, book: Casebook) -> Verdict:
    if finding.code not in {BY_PART, BY_GPU}:
        return verdict
    if finding.code == BY_PART:
        part = signs.part(finding)
        same = [one for one in same if part and signs.part(one) == part]
    jobs = {one.job_id for one in same if one.job_id is not None}
    blameless = {job_id for job_id in jobs if not is_the_programs(finding.code, job_id, book)}
    if len(blameless) < book.policy.repeats:
        if not jobs - blameless:
            return verdict
        return Verdict(verdict.remedy, Rule.PROGRAM, f"{verdict.reason}; the program met it on another node too")
    where = signs.part(finding) or "this GPU"
    why = f"{finding.code} on {where} in {len(blameless)} different jobs within a day: the GPU is suspected"
    return Verdict(Remedy.NONE, Rule.REPEATS, why, tests=True)


def _worn_out(finding: Finding, same: list[Finding], verdict: Verdict, book: Casebook) -> Verdict:
    answer = xids.answers().get(finding.code)
    if answer is not None and answer.is_application:
        jobs = {one.job_id for one in same if one.job_id is not None}
        if len([job_id for job_id in jobs if not is_the_programs(finding.code, job_id, book)]) < book.policy.repeats:
            return verdict
    count = bursts((one.at for one in same), book.policy.burst_gap_s)
    if count < book.policy.bursts:
        return verdict
    return Verdict(Remedy.CONTACT_SUPPORT, Rule.BURSTS, f"{verdict.reason}; it came in {count} bursts within a day")


def bursts(instants: Iterable[float], gap_s: float) -> int:
    """How many bursts these instants are: a pause longer than `gap_s` ends one."""
    count, last = 0, float("-inf")
    for at in sorted(instants):
        if at - last > gap_s:
            count += 1
        last = at
    return count


def _recent(one: Finding, finding: Finding, book: Casebook) -> bool:
    return finding.at - book.policy.repeats_s <= one.at <= finding.at
