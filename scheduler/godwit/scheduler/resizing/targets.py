"""How many nodes a running job should have: what its owner wants, else what it began with, else more that are free."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from godwit.domain.ids import JobId
from godwit.domain.jobs import Attempt, AttemptState, Job
from godwit.scheduler.elasticity import curve
from godwit.scheduler.resizing import bending, paces
from godwit.scheduler.snapshot import Snapshot


@dataclass(frozen=True)
class Target:
    """`nodes` is the size for which nodes are bought where none are free; `why` in words."""

    nodes: int
    why: str
    is_wish: bool


def target(job: Job, attempt: Attempt) -> Target:
    """The size that a running job should have."""
    resources = job.spec.resources
    if job.nodes_wanted is not None:
        wanted = min(max(job.nodes_wanted, resources.nodes_min), resources.nodes_max)
        return Target(wanted, f"its owner wants {wanted}", is_wish=True)
    began = sum(slot.since is None for slot in (*attempt.slots, *attempt.left))
    size = len(attempt.staying)
    if size < began:
        return Target(began, f"it began with {began}", is_wish=False)
    return Target(size, "the planner's choice", is_wish=False)


def lacks(job: Job, attempt: Attempt) -> int:
    """How many nodes are bought for it where none are free; 0 for one that is not running, or is to give some back."""
    if not bending.is_elastic(job) or not bending.goes_on(job, attempt) or attempt.yields_to is not None:
        return 0
    return max(0, target(job, attempt).nodes - len(attempt.staying))


def lacking(snapshot: Snapshot) -> frozenset[JobId]:
    """Running jobs for which nodes are kept until they get them."""
    pairs = ((snapshot.job_by_id.get(attempt.job_id), attempt) for attempt in snapshot.attempts)
    return frozenset(job.id for job, attempt in pairs if job is not None and lacks(job, attempt))


def why_not_now(job: Job, attempt: Attempt, snapshot: Snapshot, now: float, *, size: int, is_wish: bool) -> str | None:
    """Say why the size is not changed now, or None when it may be. A lost node is a change that nobody is asked about.

    A wish waits for the next checkpoint only; the planner's own changes are rare, and must earn what they cost.
    """
    if attempt.is_changing:
        return "the change before it is not over"
    terms, unsaved_s = snapshot.policy.resizing, _unsaved_s(attempt, snapshot, now)
    saves = attempt.job_id in snapshot.saved_at
    waits = f"it waits for the next checkpoint: {unsaved_s:.0f} s are not saved"
    if is_wish:
        # One that is told first saves; one that goes on in place does not, and goes on from its last checkpoint.
        has_to = bending.is_in_place(job) and terms.lost_max_s < unsaved_s < terms.wait_for_save_s
        return waits if has_to else None
    still_s = now - max(attempt.resized_at or 0.0, attempt.created_at)
    if not saves or unsaved_s > terms.lost_max_s:
        return waits if saves else "it has saved nothing yet, and would begin anew"
    if still_s < terms.settle_s:
        return f"its size changed {still_s:.0f} s ago; it is left alone for {terms.settle_s:.0f} s"
    return _why_it_would_not_pay(job, attempt, snapshot, now, size, unsaved_s)


def _why_it_would_not_pay(
    job: Job, attempt: Attempt, snapshot: Snapshot, now: float, size: int, unsaved_s: float
) -> str | None:
    terms, now_has = snapshot.policy.resizing, len(attempt.staying)
    # What it began with is what its owner had in mind; only beyond that it has to be worth it by what was seen.
    seen = paces.speeds(job) if size > target(job, attempt).nodes else {}
    earns_s = pays_back_s(now_has, size, unsaved_s + terms.restart_s, seen)
    if earns_s == math.inf:
        return f"it was no faster on {max(seen)} nodes than on {min(seen)}"
    estimate = snapshot.estimate(job, now)
    lasts_s = terms.horizon_s if estimate is None else min(terms.horizon_s, estimate.left_s)
    if earns_s * terms.caution > lasts_s:
        return f"the change costs what {earns_s:.0f} s at {size} nodes earn, and {lasts_s:.0f} s are left"
    return None


def pays_back_s(before: int, after: int, costs_s: float, seen: Mapping[int, float] | None = None) -> float:
    """After how many seconds at the larger size a standstill is earned back; infinite where it is no faster.

    By what was seen of the job at its sizes (steps per second), and by Amdahl's law where it had none of them yet.
    """
    speeds = curve.amdahl(seen or {}, [before, after])
    gained = speeds.at(after) - speeds.at(before)
    return costs_s * speeds.at(before) / gained if gained > 0 else math.inf


def next_change_at(attempt: Attempt, snapshot: Snapshot) -> float:
    """When the planner may change an attempt's size by itself, at the earliest."""
    return max(attempt.resized_at or 0.0, attempt.created_at) + snapshot.policy.resizing.settle_s


def waited_long_at(attempt: Attempt, snapshot: Snapshot) -> float:
    """When a wish is followed though nothing was saved."""
    saved_at = max(snapshot.saved_at.get(attempt.job_id, 0.0), attempt.created_at)
    return saved_at + snapshot.policy.resizing.wait_for_save_s


def may_grow_by_itself(job: Job, attempt: Attempt) -> bool:
    """Whether free nodes that nobody waits for would be given to it."""
    return (
        job.nodes_wanted is None
        and attempt.state is AttemptState.RUNNING
        and len(attempt.staying) < job.spec.resources.nodes_max
    )


def _unsaved_s(attempt: Attempt, snapshot: Snapshot, now: float) -> float:
    return now - max(snapshot.saved_at.get(attempt.job_id, 0.0), attempt.created_at)
