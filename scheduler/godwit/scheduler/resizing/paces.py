"""How fast a job was at each size that it had, added up with each report; kept with its progress, so that it outlives
attempts and control planes.

    report ──▶ watched ──▶ the job's progress, in the database ──▶ speeds ──▶ whether a size pays
"""

from collections.abc import Mapping

from godwit.domain.elasticity import Batch, Pace
from godwit.domain.jobs import Attempt, Job
from godwit.scheduler.elasticity.reports import LEAST_S
from godwit.scheduler.resizing import bending

SETTLED_S = 60.0
"""A size counts from this long after the change to it: a program that bends in place does its first steps at the new
size 10 to 40 s after its nodes have joined, since Ray Train starts its workers anew."""

HALVED_S = 3600.0
"""What was seen of a size is halved beyond this: an hour tells its speed; longer ago the program did other things."""


def watched(job: Job, attempt: Attempt, step: int, now: float) -> Mapping[int, Pace]:
    """What is known of a job's sizes once `attempt` reports that it is at `step`."""
    before = job.progress
    if before is None or not bending.is_elastic(job):
        return {}
    since = max(attempt.created_at, 0.0 if attempt.resized_at is None else attempt.resized_at + SETTLED_S)
    # Only time between two reports of one attempt at one size counts; a step that went back does not.
    if attempt.is_changing or before.at < since or step < before.step or now <= before.at:
        return before.paces
    size = len(attempt.staying)
    known = before.paces.get(size, Pace(0.0, 0.0))
    kept = 0.5 if known.seconds > HALVED_S else 1.0
    pace = Pace(known.steps * kept + step - before.step, known.seconds * kept + now - before.at)
    return {**before.paces, size: pace}


def speeds(job: Job) -> dict[int, float]:
    """Steps per second by number of nodes, of the sizes that were watched long enough and where it came forward.

    With `batch: scale` a step at twice the size is worth two.
    """
    known = {} if job.progress is None else job.progress.paces
    worth = {size: size if job.spec.batch is Batch.SCALE else 1 for size in known}
    return {
        size: worth[size] * pace.steps / pace.seconds
        for size, pace in sorted(known.items())
        if pace.steps > 0 and pace.seconds >= LEAST_S
    }
