"""Running jobs that should leave their spot machines, since one more loss would cost them their deadline.

    leave when   move <= slack < changeover + what a loss may take beyond it

The rules on slack (`situation`) let a job try spot only while slack is more than that, and work takes none of it. So a
job comes here when it turns out slower than was thought, or when what it was bought for costs more time than usual. A
move while it runs stands still for less than a changeover: the machines are ready before it stops (docs/migration.md).
With less slack than even that takes, staying is what is left to hope for.
"""

from collections.abc import Iterator, Mapping

from godwit.domain import lifecycle
from godwit.domain.ids import JobId
from godwit.domain.jobs import Attempt, AttemptState, JobState, Spot
from godwit.domain.resources import Infra
from godwit.scheduler.market import Market
from godwit.scheduler.migration import targets
from godwit.scheduler.migration.actions import WishMigration
from godwit.scheduler.migration.targets import Target
from godwit.scheduler.snapshot import Snapshot
from godwit.scheduler.spot import rulings
from godwit.scheduler.spot.rulings import Ruling, Shelves
from godwit.scheduler.spot.situation import Situation, Where

FAR_S = 6 * 3600.0
"""With more slack than this nobody looks closer: no changeover takes as long."""


def found(snapshot: Snapshot, now: float) -> dict[JobId, Ruling]:
    """Jobs that run on spot machines and should not any more: what each is planned with, and the inequality."""
    leaving, shelves = dict[JobId, Ruling](), Shelves(snapshot, now)
    for attempt in snapshot.attempts:
        job = snapshot.job_by_id.get(attempt.job_id)
        if job is None or not rulings.is_ruled(job) or not _is_on_spot(attempt, snapshot):
            continue
        if job.state is not JobState.RUNNING or attempt.state is not AttemptState.RUNNING:
            continue
        estimate = snapshot.estimate(job, now)
        if estimate is None or (job.spec.deadline_at or 0.0) - now - estimate.left_s > FAR_S:
            continue
        at = rulings.situation(job, shelves, Where.SPOT)
        why = None if at is None else _why(at, _move_h(snapshot))
        if why is not None:
            leaving[job.id] = Ruling(Spot.NEVER, why)
    return leaving


def wishes(snapshot: Snapshot, ruled: Mapping[JobId, Ruling], market: Market, now: float) -> Iterator[WishMigration]:
    """Migrations of those of the ruled that run, unless one is under way or began lately; `snapshot` obeys already."""
    busy = {
        one.job_id
        for one in snapshot.migrations
        if not lifecycle.is_final(one.state) or now - one.created_at < snapshot.policy.migration.calm_s
    }
    for job_id, ruling in ruled.items():
        attempt, job = snapshot.attempt_by_job.get(job_id), snapshot.job_by_id[job_id]
        if attempt is None or job.state is not JobState.RUNNING or job_id in busy:
            continue
        target = targets.find(snapshot, market, job, attempt, None, now)
        to = _place(target, snapshot) if isinstance(target, Target) else None
        if isinstance(target, Target) and to is not None:
            yield WishMigration(job_id, attempt.epoch, to, target.sum, f"{ruling.because}; {target.sum}")


def _is_on_spot(attempt: Attempt, snapshot: Snapshot) -> bool:
    nodes = (snapshot.node_by_id.get(slot.node_id) for slot in attempt.slots)
    return any(node is not None and node.offer.spot for node in nodes)


def _why(at: Situation, move_h: float) -> str | None:
    """The inequality in words, or None when it does not hold."""
    needed_h = at.task.changeover_h + at.task.unseen_h
    if not move_h <= at.slack_h < needed_h:
        return None
    return (
        f"one more loss of a spot machine would cost its deadline: {at.until_h:.2f} h until then - {at.left_h:.2f} h "
        f"of work left = {at.slack_h:.2f} h to spare < {needed_h:.2f} h for a loss; a move takes {move_h:.2f} h"
    )


def _move_h(snapshot: Snapshot) -> float:
    """How long a job stands still that moves."""
    return (snapshot.policy.migration.saves_s + snapshot.policy.migration.restarts_s) / 3600


def _place(target: Target, snapshot: Snapshot) -> Infra | None:
    """Where it goes, which must be named since it costs more there; None for several places at once."""
    kept = (snapshot.node_by_id[node_id].offer for node_id in target.purchase.keep)
    places = {Infra(offer.provider, offer.region) for offer in (*kept, *target.purchase.buy)}
    return places.pop() if len(places) == 1 else None
