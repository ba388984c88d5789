"""When a job is tried again whose attempts do not come to run. Pure.

An attempt that ends before its program ran (its Ray did not start, its gang did not meet) may have met a machine that
is too busy or a node that is broken in a way that no check sees. The first time it is tried again at once. What keeps
failing would otherwise use up all its retries within seconds, and make the busy machine busier.
"""

from collections.abc import Iterator

from godwit.domain.jobs import Job, JobState
from godwit.scheduler.reasons import Code, Refusal
from godwit.scheduler.snapshot import Snapshot

PAUSE_S, PAUSE_MAX_S = 5.0, 80.0
"""After the second start in a row that failed, doubling with each further one. The five retries that a job has unless
it says otherwise then take more than a minute: longer than a burst of starts on one machine."""

COUNTED_MAX = 8
"""Attempts of a job that are looked at: with so many failures in a row the pause has long reached its bound."""


def pause_s(failed: int) -> float:
    """How long to wait after so many starts in a row that failed."""
    if failed < 2:
        return 0.0
    return float(min(PAUSE_MAX_S, PAUSE_S * 2 ** min(failed - 2, COUNTED_MAX)))


def not_before(job: Job, snapshot: Snapshot) -> float | None:
    """When a job may start again, in seconds since the epoch; None for one that need not wait for that."""
    failed = snapshot.failed_starts.get(job.id, 0)
    if job.state is not JobState.RECOVERING or failed < 2:
        return None
    return job.state_since + pause_s(failed)


def why_waiting(job: Job, snapshot: Snapshot, now: float) -> tuple[Refusal, ...]:
    """Why it is not tried again yet; nothing once it may be."""
    at = not_before(job, snapshot)
    if at is None or at <= now:
        return ()
    failed = snapshot.failed_starts[job.id]
    message = (
        f"did not come to run {failed} times in a row, the last time because {job.detail or 'of what is not known'}"
    )
    would_help = "wait for the next try, or see what kept it: `godwit events` and `godwit logs`"
    return (Refusal(Code.STARTS_FAIL, "its last attempts", message, would_help, retry_at=at),)


def next_deadlines(snapshot: Snapshot) -> Iterator[float]:
    """Instants at which a job may be tried again."""
    for job in snapshot.jobs:
        at = not_before(job, snapshot)
        if at is not None:
            yield at
