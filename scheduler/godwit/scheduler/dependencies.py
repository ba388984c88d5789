"""What a job waits for of other jobs: it is not served before they came out as it wants, and ends when they cannot.

What a job waits for was found when it was submitted, so all of it is older than the job, and jobs that wait for each
other cannot exist. States that end a job never change: what one reading of the database calls ended is written and
stays so, and a dependent never starts before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from godwit.domain import lifecycle
from godwit.domain.afters import Dependency, When
from godwit.domain.jobs import Job, JobState
from godwit.scheduler.reasons import Code, Refusal


@dataclass(frozen=True)
class Standing:
    """How far something that must come first is: how many jobs of it are in each state; one job, or all of an array.

    `is_known`: its state was read. Of what was not, nothing is concluded: who waits for it goes on waiting.
    """

    dependency: Dependency
    states: Mapping[JobState, int]
    is_array: bool = False
    is_known: bool = True

    @property
    def subject(self) -> str:
        """What it is called in explanations."""
        return f"{'array' if self.is_array else 'job'} {self.dependency.name}"

    @property
    def unfinished(self) -> int:
        """How many of its jobs have not ended."""
        return sum(count for state, count in self.states.items() if not lifecycle.is_final(state))


UNREAD = Standing(Dependency("", "unread"), {}, is_known=False)
"""Something that must come first and is not in the snapshot."""


def refusal(standing: Standing) -> Refusal | None:
    """Why the job must wait for this one; None when it came out as wanted, or cannot any more (`broken`)."""
    if not standing.is_known:
        return Refusal(Code.AFTER, "what must come first", "was not read with the rest", "look again")
    if not standing.unfinished or broken(standing) is not None:
        return None
    wanted = "has succeeded" if standing.dependency.when is When.SUCCEEDED else "has ended"
    return Refusal(Code.AFTER, standing.subject, _so_far(standing), f"wait until it {wanted}")


def broken(standing: Standing) -> str | None:
    """Why it can never come out as wanted; None while it may."""
    if not standing.is_known:
        return None
    if not standing.states:
        return f"{standing.subject} ({standing.dependency.on}), which must come first, is not there"
    if standing.dependency.when is When.ENDED:
        return None
    ended_badly = {state: standing.states.get(state, 0) for state in (JobState.FAILED, JobState.CANCELLED)}
    if not any(ended_badly.values()):
        return None
    if standing.is_array:
        return f"{standing.subject}, which must succeed first, has {_counted(ended_badly)}"
    how = "failed" if ended_badly[JobState.FAILED] else "was cancelled"
    return f"{standing.subject}, which must succeed first, {how}"


def why_waiting(job: Job, standings: Sequence[Standing]) -> tuple[Refusal, ...]:
    """What a queued job still waits for, in the order of its specification; empty when it may be served.

    A job that has run before waits for nobody: what came first has come out.
    """
    if job.state is not JobState.QUEUED:
        return ()
    return tuple(found for standing in standings if (found := refusal(standing)) is not None)


def why_ended(job: Job, standings: Sequence[Standing]) -> str | None:
    """Why a queued job is to be cancelled: something that must succeed first did not. None when nothing is lost."""
    if job.state is not JobState.QUEUED:
        return None
    return next((why for standing in standings if (why := broken(standing)) is not None), None)


def _so_far(standing: Standing) -> str:
    if not standing.is_array:
        return f"is {next(iter(standing.states))}"
    unfinished = {state: count for state, count in standing.states.items() if not lifecycle.is_final(state)}
    total = sum(standing.states.values())
    return f"has {standing.unfinished} of {total} jobs to come: {_counted(unfinished)}"


def _counted(states: Mapping[JobState, int]) -> str:
    return ", ".join(f"{states[state]} {state}" for state in JobState if states.get(state))
