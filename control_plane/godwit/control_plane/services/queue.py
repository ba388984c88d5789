"""Who waits, in the order in which they would be served now, and the first thing that keeps each."""

import threading
import time
from collections.abc import Sequence

from godwit.control_plane.context import Context
from godwit.control_plane.services import views
from godwit.control_plane.store import dependencies, entities, queries, sums
from godwit.domain.jobs import Job, JobState
from godwit.domain.wire.overview import QueueView, WaitingJobView
from godwit.scheduler import planner, repair
from godwit.scheduler.dependencies import why_waiting
from godwit.scheduler.outlook import Outlook
from godwit.scheduler.plan import Plan
from godwit.scheduler.reasons import Refusal

OUTLOOKS_MAX = 20
"""Jobs whose earliest start is worked out: each takes as long as planning it does."""

BEHIND_MAX = 100
"""Jobs that wait for other jobs and are shown, the oldest."""

_MAY_WAIT = (JobState.QUEUED, JobState.RECOVERING, JobState.MIGRATING, JobState.RESIZING)

LARGE, PAUSE_S = 500, 2.0
"""With more nodes or waiting jobs than `LARGE` the queue is planned again after `PAUSE_S`, for all who look."""


class Queue:
    """The queue as this process last planned it. Callable from any thread; those who ask at once wait for one plan."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._kept: tuple[float, QueueView] | None = None

    def get(self, context: Context, project: str | None) -> QueueView:
        """The queue as of now; with a `project`, only that one's jobs."""
        with self._turn:
            if self._kept is None or time.monotonic() - self._kept[0] > PAUSE_S:
                found, is_large = _planned(context)
                self._kept = (time.monotonic(), found) if is_large else None
            else:
                found = self._kept[1]
        if project is None:
            return found
        mine = [one for one in found.items if one.project == project]
        return found.model_copy(update={"items": mine, "jobs": len(mine)})


def _planned(context: Context) -> tuple[QueueView, bool]:
    now = context.now()
    with context.db.read() as conn:
        if not sums.in_states(conn, *_MAY_WAIT):  # a snapshot of thousands of nodes takes a second
            return QueueView(at=now, jobs=0, items=[]), False
        snapshot = queries.snapshot(conn, now, context.hearing_since, context.policy)
        behind = [job for job in sums.waiting_for_others(conn, BEHIND_MAX) if job.id not in snapshot.job_by_id]
        standings = dependencies.standings(conn, [job.after_id for job in behind if job.after_id is not None])
        queued = sums.in_states(conn, JobState.QUEUED)
    waiting = [job for job in snapshot.jobs if repair.waits(job)]
    plan = planner.queue(snapshot, now, context.seed, OUTLOOKS_MAX) if waiting else Plan()
    turns = {job_id: turn for turn, job_id in enumerate(plan.refusals)}
    waiting.sort(key=lambda job: (turns.get(job.id, len(turns)), job.created_at, job.id))
    items = [_view(job, plan.refusals.get(job.id, ()), plan.outlooks.get(job.id)) for job in waiting]
    items += [_view(job, why_waiting(job, standings.get(job.after_id or "", ())), None) for job in behind]
    is_large = max(len(snapshot.nodes), len(waiting)) > LARGE
    again = sum(job.state is not JobState.QUEUED for job in waiting)
    return QueueView(at=now, jobs=queued + again, items=items), is_large


def _view(job: Job, refusals: Sequence[Refusal], outlook: Outlook | None) -> WaitingJobView:
    first = refusals[0] if refusals else None
    return WaitingJobView(
        id=job.id, name=job.spec.name, project=job.project, kind=job.spec.kind.value, state=job.state,
        priority=job.spec.priority, gpus=str(job.spec.resources.gpus), nodes=entities.nodes_text(job.spec.resources),
        gpus_wanted=job.spec.resources.gpus.count * job.spec.resources.nodes_min, since=job.state_since,
        outlook=views.outlook(outlook), reason=None if first is None else views.refusal(first),
        why="" if first is None else f"{first.subject} {first.message}",
    )  # fmt: skip
