"""What the projects of a snapshot may hold, in which order they are served, and what a shut gate says."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from godwit.domain.ids import ProjectId
from godwit.domain.projects import ANY_GPU, CPUS, MEMORY_GIB, Limit, Project
from godwit.scheduler import accounts, quotas
from godwit.scheduler.accounts import OVER_QUOTA, Quota, Shortfall
from godwit.scheduler.asks import WHOLE, Ask
from godwit.scheduler.averages import Average, held_by, left, spans
from godwit.scheduler.demands import Demand
from godwit.scheduler.fair_share import FairShare, Usage
from godwit.scheduler.quotas import Quotas
from godwit.scheduler.reasons import Code, Refusal
from godwit.scheduler.snapshot import Snapshot
from godwit.scheduler.time_sharing import LeastServed

TIERS = (0, 100)
"""Priorities at which a tier begins: the `normal` and the `high` of a specification. A higher one always goes first."""

_UNITS: Mapping[str, tuple[str, int]] = {
    ANY_GPU: (quotas.GPUS, WHOLE),
    CPUS: (quotas.CPUS, 1000),
    MEMORY_GIB: (quotas.MEMORY, 1024),
}
"""What people call a resource that is no GPU family: its name among accounts, and how many of their units make one."""

_NAMES = {account: (name, each) for name, (account, each) in _UNITS.items()}


def quota_of(project: Project) -> Quota:
    """A project's quota in the units of accounts."""
    limits: dict[str, accounts.Limit] = {}
    for name, limit in project.limits.items():
        account, each = _UNITS.get(name, (name, WHOLE))
        limits[account] = accounts.Limit(limit.nominal * each, _times(limit.borrow, each), _times(limit.lend, each))
    return Quota(project.name, limits, project.cohort)


def gate_of(projects: Iterable[Project]) -> Quotas:
    """The gate of these projects; nothing is booked yet."""
    return Quotas(quota_of(project) for project in projects)


def order_of(snapshot: Snapshot, gate: Quotas, now: float) -> tuple[FairShare, Usage]:
    """The order in which jobs are served, and the gate around `gate` that it follows.

    Shares are of what the fleet has now, and what a project held before counts as `averages` has it.
    """
    nodes = [node for node in snapshot.nodes if not node.gone]
    capacity = {
        quotas.GPUS: sum(node.offer.gpu_count for node in nodes) * WHOLE,
        quotas.CPUS: sum(node.cpus for node in nodes) * 1000,
        quotas.MEMORY: sum(int(node.memory_gib * 1024) for node in nodes),
    }
    past = {str(name): average.amounts for name, average in averages(snapshot, now).items()}
    usage = Usage(capacity, gate, half_life_s=snapshot.policy.forgetting.half_life_s, past=past, now=now)
    weights = {str(project.name): project.weight for project in snapshot.projects}
    served = LeastServed() if snapshot.policy.preemption.time_sharing else None
    return FairShare(usage, gate, weights=weights, tiers=TIERS, served=served), usage


def averages(snapshot: Snapshot, now: float) -> dict[ProjectId, Average]:
    """What each project held on average until now: what its ended attempts left, and what those hold that have not."""
    half_life_s = snapshot.policy.forgetting.half_life_s
    found = {name: average.upto(now, half_life_s) for name, average in snapshot.usage.items()}
    holding: dict[ProjectId, dict[str, float]] = {}
    for attempt in snapshot.attempts:
        job = snapshot.job_by_id.get(attempt.job_id)
        if job is not None:
            part = sum(
                left(now - to, half_life_s) - left(now - since, half_life_s) for _, since, to in spans(attempt, now)
            )
            mine = holding.setdefault(job.project, {})
            for name, held in held_by(Ask.of(job.spec.resources), 1).items():
                mine[name] = mine.get(name, 0.0) + held * part
    for project, amounts in holding.items():
        found[project] = found.get(project, Average(now)).with_more(amounts)
    return found


def by_name(amounts: Mapping[str, float]) -> dict[str, float]:
    """Amounts by account, as people say them: by the names of `domain.projects`, in whole and broken units."""
    return {_NAMES[account][0]: amount / _NAMES[account][1] for account, amount in amounts.items() if account in _NAMES}


def refusals(gate: Quotas, demand: Demand, projects: Mapping[ProjectId, Project]) -> Iterator[Refusal]:
    """Why the gate is shut for a demand, in numbers, and what would open it."""
    project = projects.get(ProjectId(demand.project))
    cohort = "" if project is None else project.cohort
    for shortfall in gate.explain(demand, demand.nodes_min):
        yield _refusal(shortfall, cohort)


def _refusal(short: Shortfall, cohort: str) -> Refusal:
    name, each = _NAMES.get(short.resource, (short.resource, WHOLE))
    unit = {CPUS: "CPUs", MEMORY_GIB: "GiB of memory", ANY_GPU: "GPUs"}.get(name, name)
    may_borrow = max(0, short.ever - short.nominal)
    message = (
        f"holds {_figure(short.held, each)} of {_figure(short.nominal, each)} {unit}, "
        f"may borrow {_figure(may_borrow, each)}, and this job asks {_figure(short.asked, each)}"
    )
    if cohort:
        free = max(0, short.most - short.held)
        message += f"; cohort {cohort} has {_figure(free, each)} free for it"
    if short.lent:
        message += "; more than their own hold " + ", ".join(
            f"{who} ({_figure(more, each)})" for who, more in short.lent[:3]
        )
    return Refusal(Code.QUOTA, f"project {short.project}", message, _would_help(short, name, each))


def _would_help(short: Shortfall, name: str, each: int) -> str:
    needed = _figure(short.nominal + max(0, short.held + short.asked - short.ever), each)
    option = {CPUS: f"--cpus {needed}", MEMORY_GIB: f"--memory-gib {needed}"}.get(name, f"--gpus {name}={needed}")
    raise_it = f"`godwit quota set {short.project} {option}`"
    if short.code == OVER_QUOTA and short.asked > short.ever:
        return f"a smaller job, or {raise_it}"
    waits = f"wait until {_figure(short.short_by, each)} come free"
    return f"{waits}, or {raise_it}" if short.code == OVER_QUOTA else waits


@dataclass(frozen=True)
class Held:
    """What a project holds of one limited resource, in whole or broken units of `domain.projects.Limit`.

    `used` counts what is bought for its waiting jobs and what others free for them. `borrowed` is what it holds above
    its own; `lent` is its part of what others of its cohort borrowed.
    """

    limit: Limit
    used: float
    borrowed: float
    lent: float


def held(projects: Iterable[Project], gate: Quotas) -> dict[ProjectId, dict[str, Held]]:
    """What each project holds of each resource that it has a limit on. `gate` has been told of all that runs.

    Nobody lends to somebody in particular: what is borrowed of a cohort is split over those who leave something of
    their own unused, in proportion to what they leave.
    """
    there = list(projects)
    amounts = {project.name: gate.held(project.name) for project in there}
    found: dict[ProjectId, dict[str, Held]] = {}
    for project in there:
        for name, limit in project.limits.items():
            account, each = _UNITS.get(name, (name, WHOLE))
            used = amounts[project.name].get(account, 0)
            lent = _lent(project, name, there, amounts) if project.cohort else 0.0
            over = max(0, used - limit.nominal * each)
            found.setdefault(project.name, {})[name] = Held(limit, used / each, over / each, lent)
    return found


def _lent(lender: Project, name: str, projects: list[Project], amounts: Mapping[ProjectId, Mapping[str, int]]) -> float:
    account, each = _UNITS.get(name, (name, WHOLE))
    borrowed, unused = 0.0, dict[ProjectId, float]()
    for project in projects:
        limit = project.limits.get(name)
        if project.cohort != lender.cohort or limit is None:
            continue
        over = amounts[project.name].get(account, 0) / each - limit.nominal
        borrowed += max(0.0, over)
        unused[project.name] = min(max(0.0, -over), limit.nominal if limit.lend is None else limit.lend)
    left = sum(unused.values())
    return borrowed * unused[lender.name] / left if left else 0.0


def _times(amount: int | None, each: int) -> int | None:
    return None if amount is None else amount * each


def _figure(amount: int, each: int) -> str:
    return f"{amount / each:g}"
