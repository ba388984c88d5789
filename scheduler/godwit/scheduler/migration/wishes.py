"""Moves that the planner wishes by itself: where a job runs for more than it would cost elsewhere, moving included.

Hysteresis is in four numbers of the policy (`MigrationPolicy`): a job is left alone for a while after each start and
each migration, a move must save a multiple of its cost, and few are begun within an hour. Another policy, for example
one that leaves spot machines, adds a generator of `WishMigration` beside `cheaper`: what follows is the same for all.
"""

from collections.abc import Iterator
from heapq import nlargest
from zlib import crc32

from godwit.domain import lifecycle
from godwit.domain.jobs import Attempt, AttemptState, Job, JobState
from godwit.domain.resources import Infra
from godwit.scheduler.market import Market
from godwit.scheduler.migration import sums, targets
from godwit.scheduler.migration.actions import WishMigration
from godwit.scheduler.migration.policy import KINDS
from godwit.scheduler.migration.targets import Target
from godwit.scheduler.snapshot import Snapshot

CANDIDATES = 4
"""Jobs for which one plan looks for a cheaper place, those first that cost most until they end: a bound on its work."""

LOOK_S, TURNS = 5.0, 12
"""Each job has its turn in one of so many spans of time: about once a minute, as plans are made every few seconds.
Which one it is changes from minute to minute, so that no rhythm of plans passes a job over."""

ACTOR = "planner"


def cheaper(snapshot: Snapshot, market: Market, now: float) -> Iterator[WishMigration]:
    """The move that saves most of those that pay, if one may begin now; one at a time."""
    policy = snapshot.policy.migration
    lately = [one for one in snapshot.migrations if one.actor == ACTOR]
    if not policy.acts or len(lately) >= policy.per_hour or any(not lifecycle.is_final(m.state) for m in lately):
        return
    weighed = [_weighed(snapshot, market, job, attempt, now) for job, attempt in _candidates(snapshot, now)]
    found = [wish for wish in weighed if wish is not None]
    if found:
        yield max(found, key=lambda wish: (wish.arithmetic.saving_usd - wish.arithmetic.cost_usd, wish.job_id))


def _candidates(snapshot: Snapshot, now: float) -> list[tuple[Job, Attempt]]:
    """Jobs that may be moved, and whose turn it is."""
    policy, (minute, turn) = snapshot.policy.migration, divmod(int(now / LOOK_S), TURNS)
    recent = {one.job_id for one in snapshot.migrations if now - one.created_at < policy.calm_s}
    may = [
        (job, attempt)
        for attempt in snapshot.attempts
        if crc32(f"{attempt.job_id}/{minute}".encode()) % TURNS == turn
        and attempt.job_id not in recent
        and now - attempt.created_at >= policy.min_run_s
        and (job := snapshot.job_by_id.get(attempt.job_id)) is not None
        and _is_movable(job, attempt)
    ]
    return nlargest(CANDIDATES, may, key=lambda pair: (_worth(snapshot, pair[0], pair[1], now), pair[0].id))


def _is_movable(job: Job, attempt: Attempt) -> bool:
    runs = job.state is JobState.RUNNING and attempt.state is AttemptState.RUNNING and attempt.failed_at is None
    return runs and job.spec.kind in KINDS and job.spec.preemptible and not job.cancel_requested


def _worth(snapshot: Snapshot, job: Job, attempt: Attempt, now: float) -> float:
    """The most that moving it might save: all that it still costs."""
    nodes = (snapshot.node_by_id.get(slot.node_id) for slot in attempt.slots)
    price = sum(node.offer.price_usd_per_hour for node in nodes if node is not None)
    return price * sums.left(snapshot, job, attempt, now)[0]


def _weighed(snapshot: Snapshot, market: Market, job: Job, attempt: Attempt, now: float) -> WishMigration | None:
    policy = snapshot.policy.migration
    if _worth(snapshot, job, attempt, now) < policy.least_usd:
        return None
    found = targets.find(snapshot, market, job, attempt, None, now)
    if not isinstance(found, Target) or found.purchase.recently_lost:
        return None
    gain = found.sum
    if gain.saving_usd < max(policy.least_usd, policy.margin * gain.cost_usd):
        return None
    reason = f"it costs less elsewhere, moving included: {gain}"
    return WishMigration(job.id, attempt.epoch, _place(found), gain, reason)


def _place(target: Target) -> Infra | None:
    """The provider and region that were weighed, so that nothing else is bought in their place later."""
    places = {(offer.provider, offer.region) for offer in target.purchase.buy}
    if target.purchase.keep or len(places) != 1:
        return None
    provider, region = places.pop()
    return Infra(provider, region)
