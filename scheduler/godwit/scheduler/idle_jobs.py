"""Jobs that hold GPUs and leave them idle: when their owner is told, and when they are ended. Pure.

Only training jobs are judged. A service may wait for requests, and gives replicas back by its own scale; an environment
for people has its own idle time. What is not known is not idle: a job is judged by minutes that were told, and GPUs
that several jobs share are told for none of them.
"""

from dataclasses import dataclass
from enum import StrEnum

from godwit.domain.jobs import JobKind

MINUTE_S = 60.0
BUSY_PERCENT = 1.0
"""Drivers tell whole percents: below one means that no kernel ran in any sample."""

KNOWN_SHARE, UNWRITTEN_MINUTES = 0.9, 3
"""How much of the time must be known; the last minutes may not be written yet, and one in ten may have been missed."""

REACT_S = 600.0
"""What is told is ended this much later at the soonest: somebody looks, resumes or saves (a choice of ours)."""


@dataclass(frozen=True)
class IdleJobs:
    """What an operator sets: told after `after_s` seconds of nothing (0: never), and ended then if `reclaims`."""

    after_s: float = 1_800.0
    reclaims: bool = False


@dataclass(frozen=True)
class Held:
    """A running job and what its GPUs did in the last `after_s`; instants are seconds since the epoch.

    `node_minutes` of its `nodes` are known, of which the busiest reading was `busy_max` percent; `busy_now` is the
    newest reading of any of its GPUs. `busy_at` is the last minute known in which any did something, `told_at` when its
    owner was last told that it is idle; None: never.
    """

    kind: JobKind
    gpus: int
    nodes: int
    running_since: float
    node_minutes: int
    busy_max: float
    busy_now: float = 0.0
    busy_at: float | None = None
    told_at: float | None = None


class Verdict(StrEnum):
    """What is to be done about a job: nothing, tell its owner, or end it."""

    NOTHING = "nothing"
    TELL = "tell"
    RECLAIM = "reclaim"


def is_idle(held: Held, terms: IdleJobs, now: float) -> bool:
    """Whether a job had all of its GPUs do nothing for so long that it matters, as far as that is known."""
    if not terms.after_s or held.kind is not JobKind.TRAIN or not held.gpus:
        return False
    wanted = max(1.0, KNOWN_SHARE * terms.after_s / MINUTE_S - UNWRITTEN_MINUTES) * held.nodes
    works = max(held.busy_max, held.busy_now) >= BUSY_PERCENT
    return now - held.running_since >= terms.after_s and held.node_minutes >= wanted and not works


def verdict(held: Held, terms: IdleJobs, now: float) -> Verdict:
    """What to do now; an owner is told once, until the job has worked or started anew."""
    if not is_idle(held, terms, now):
        return Verdict.NOTHING
    begun = max(held.running_since, held.busy_at or 0.0)
    if held.told_at is None or held.told_at < begun:
        return Verdict.TELL
    due = terms.reclaims and now - held.told_at >= REACT_S
    return Verdict.RECLAIM if due else Verdict.NOTHING


def told(held: Held, terms: IdleJobs) -> str:
    """What its owner is told."""
    said = f"its {held.gpus} GPUs have done nothing for {terms.after_s / MINUTE_S:.0f} minutes"
    if not terms.reclaims:
        return f"{said}; end it with `godwit cancel` if it is stuck"
    return f"{said}; it is ended in {REACT_S / MINUTE_S:.0f} minutes unless they work again"


def ended(held: Held, terms: IdleJobs) -> str:
    """Why it is ended."""
    return f"ended: its {held.gpus} GPUs did nothing for more than {terms.after_s / MINUTE_S:.0f} minutes"
