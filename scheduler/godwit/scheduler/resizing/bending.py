"""Who may have more or fewer nodes than now, and who may lose some and go on."""

from collections.abc import Collection

from godwit.domain.elasticity import Bends
from godwit.domain.ids import NodeId
from godwit.domain.jobs import Attempt, AttemptState, Job, JobState

_RUNS = frozenset({JobState.RUNNING, JobState.RESIZING})


def is_elastic(job: Job) -> bool:
    """Whether its owner gave a range of nodes."""
    return job.spec.resources.nodes_min < job.spec.resources.nodes_max


def is_in_place(job: Job) -> bool:
    """Whether its program goes on while nodes come and go."""
    return is_elastic(job) and job.spec.elastic is Bends.IN_PLACE


def restarts(job: Job) -> bool:
    """Whether it is stopped to have another size, and waits for its nodes meanwhile."""
    return job.state is JobState.RESIZING and not is_in_place(job)


def goes_on(job: Job | None, attempt: Attempt) -> bool:
    """Whether an attempt runs, and nothing told it or its job to stop."""
    return (
        job is not None
        and not job.cancel_requested
        and job.state in _RUNS
        and job.epoch == attempt.epoch
        and attempt.state is AttemptState.RUNNING
        and attempt.outcome is None
        and attempt.failed_at is None
    )


def may_lose(job: Job | None, attempt: Attempt, node_ids: Collection[NodeId]) -> bool:
    """Whether an attempt goes on without these nodes: one that bends in place, with its head, and not below its least.

    The head holds the program's driver and its Ray cluster: without it the attempt is over.
    """
    if job is None or not is_in_place(job) or not goes_on(job, attempt) or attempt.head.node_id in node_ids:
        return False
    left = sum(slot.node_id not in node_ids for slot in attempt.staying)
    return left >= job.spec.resources.nodes_min
