"""What the control plane has on record of jobs that ended: when they came, what they held, and how long they ran."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from godwit.cli.client import ControlPlane, path_of
from godwit.cli.exits import ExitCode, Failure
from godwit.domain.jobs import JobState
from godwit.domain.wire.views import JobDetail, JobView

ENDED = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that ran and ended. `ran_s` is over all attempts; nodes and GPUs of each are those of the last."""

    job_id: str
    created_at: float
    ran_s: float
    nodes: int
    gpus_per_node: int
    project: str
    priority: int


def newest(client: ControlPlane, limit: int) -> list[Ended]:
    """The newest that ran and ended, in order of submission: one request for each, so `limit` bounds how long it takes.

    Raises `Failure` when there are none.
    """
    listed = client.pages("/v1/jobs", JobView, {"state": [state.value for state in ENDED], "limit": min(limit, 100)})
    details = (client.get(path_of("/v1/jobs", job.id), JobDetail) for job in itertools.islice(listed, limit))
    found = [ended for detail in details for ended in _ended(detail)]
    if not found:
        raise Failure("no job has run and ended yet; name a trace to simulate that", ExitCode.NOT_FOUND)
    return sorted(found, key=lambda ended: (ended.created_at, ended.job_id))


def _ended(job: JobDetail) -> Iterator[Ended]:
    """Nothing for a job that never started."""
    if not job.attempts or not job.attempts[-1].slots:
        return
    slots = job.attempts[-1].slots
    ran_s = sum(max(0.0, attempt.state_since - attempt.created_at) for attempt in job.attempts)
    gpus = max(len(slot.gpus) for slot in slots)
    yield Ended(job.id, job.created_at, ran_s, len(slots), gpus, job.project, job.priority)
