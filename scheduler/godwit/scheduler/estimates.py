"""How long a job still runs, by whoever knows: its own progress, its owner, or earlier jobs of its name.

Estimates may be wrong. One that was outrun is doubled until it is not, so that what is left is never nothing: that
predictions must be corrected so, and that the last runs predict the next, is what Tsafrir, Etsion and Feitelson found
("Backfilling using system-generated predictions rather than user runtime estimates", TPDS 18(6), 2007); doubling is
our choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

from godwit.domain.jobs import Attempt, AttemptState, Job

SHORTEST_S = 1.0
"""Nothing is thought to run for less: starting and stopping a program takes longer."""


class Source(StrEnum):
    """Who says so; the most trusted first."""

    PROGRESS = "its progress"
    OWNER = "its owner"
    PAST = "earlier jobs of its name"


@dataclass(frozen=True)
class Past:
    """What is known of a job from before.

    `served_s`: how long its ended attempts ran. `earlier_s`: how long the last jobs of its name ran that succeeded.
    `resumed_step`: the step of the newest checkpoint from before its present attempt.
    """

    served_s: float = 0.0
    earlier_s: tuple[float, ...] = ()
    resumed_step: int = 0


@dataclass(frozen=True)
class Estimate:
    """How many seconds it still runs, and who says so."""

    left_s: float
    source: Source


NO_PAST = Past()


def of(job: Job, past: Past, attempt: Attempt | None, now: float) -> Estimate | None:
    """How long `job` still runs, with `attempt` if it has one now; None when nobody knows."""
    ran_s = 0.0 if attempt is None else max(0.0, now - attempt.created_at)
    by_progress = _by_progress(job, past, attempt, now)
    if by_progress is not None:
        return Estimate(by_progress, Source.PROGRESS)
    if job.spec.run_time_s is not None:
        return Estimate(left(job.spec.run_time_s, past.served_s + ran_s), Source.OWNER)
    if past.earlier_s:
        return Estimate(left(typical(past.earlier_s), past.served_s + ran_s), Source.PAST)
    return None


def left(total_s: float, ran_s: float) -> float:
    """What is left of an estimate of `total_s` after `ran_s`; one that was outrun is doubled until it is not."""
    total_s = max(SHORTEST_S, total_s)
    while total_s <= ran_s:
        total_s *= 2
    return total_s - ran_s


def typical(earlier_s: Sequence[float]) -> float:
    """The median: one run that hung overnight says nothing of the next."""
    return float(median(earlier_s))


def _by_progress(job: Job, past: Past, attempt: Attempt | None, now: float) -> float | None:
    progress = job.progress
    if attempt is None or attempt.state is not AttemptState.RUNNING or progress is None:
        return None
    began = past.resumed_step if attempt.epoch > 1 else 0
    took_s = progress.at - attempt.created_at
    done = progress.step - began
    if progress.total_steps is None or progress.total_steps < progress.step or done <= 0 or took_s <= 0:
        return None
    # Starting up counts as work, so that early figures are too long rather than too short.
    total_s = took_s * (progress.total_steps - began) / done
    return left(total_s, max(0.0, now - attempt.created_at))
