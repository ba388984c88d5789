"""In which order waiting jobs are looked at."""

from collections.abc import Iterable

from godwit.domain.jobs import Job, JobState


def order(jobs: Iterable[Job]) -> list[Job]:
    """Higher priority first, then what was interrupted (it has work to lose), then first come, first served."""
    return sorted(
        jobs, key=lambda job: (-job.spec.priority, job.state is not JobState.RECOVERING, job.created_at, job.id)
    )
