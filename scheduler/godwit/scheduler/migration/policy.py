"""When the planner moves jobs by its own decision, and how it reckons."""

from dataclasses import dataclass

from godwit.domain.jobs import JobKind
from godwit.scheduler.preemption import RESTART_S


@dataclass(frozen=True)
class MigrationPolicy:
    """`acts`: whether the planner moves jobs that nobody told it to move.

    `margin`: how many times its cost a move must save, since both are estimates; and `least_usd` in all, so that nobody
    is disturbed for cents. `min_run_s`: a job that started, or moved, less long ago is left alone: half an hour, so
    that with a minute for each start one that is moved whenever it may be loses 3 % to starts. `calm_s`: nor is one of
    which a migration began less long ago, however that came out. `per_hour`: at most so many within an hour: whoever
    watches can follow, and a wrong estimate costs little. `horizon_s`: the most that a job is taken to run on where
    nobody knows how long; half of what it ran so far, as what has run long runs on, but no more than this.
    `saves_s`, `restarts_s`: what writing a checkpoint and starting again take.
    """

    acts: bool = True
    margin: float = 2.0
    least_usd: float = 1.0
    min_run_s: float = 1800.0
    calm_s: float = 3600.0
    per_hour: int = 4
    horizon_s: float = 3600.0
    saves_s: float = 30.0
    restarts_s: float = RESTART_S


LOOK_BACK_S = 3600.0
"""For how long the planner sees migrations that are over: `per_hour` and `calm_s` count by them."""

KINDS = frozenset({JobKind.TRAIN})
"""Kinds of jobs that may be moved: what saves its work and starts again. A service's users would notice."""
