"""When a job without steps counts as hanging: pure."""

import statistics
from collections import deque
from dataclasses import dataclass, field

FACTOR = 5.0
"""Times the usual time between two reports (NVIDIA's resiliency extension; Unicron takes 3, for a cheaper restart)."""

FLOOR_S = 60.0
"""However fast steps are: a checkpoint that is written, or a pause of a shared file system, is no hang."""

REPORTS_MIN, LINES_MIN = 5, 12
"""Before the usual is known. Lines of output need more of them: a script that prints "step 1" to "step 4" of its
preparations is not training."""

KEPT = 64


@dataclass
class StepClock:
    """Steps of one attempt on one node; times are seconds on a clock that never goes back.

    `asked_s` is what the job's owner wants: None for automatic, 0 for never.
    """

    began: float
    asked_s: float | None = None
    from_output: bool = False
    step: int | None = None
    total_steps: int | None = None
    last: float | None = None
    steps: int = 0
    gaps: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))

    def saw(self, step: int, total_steps: int | None, now: float) -> bool:
        """A report came; returns whether it is of another step than the last one."""
        self.total_steps = total_steps if total_steps is not None else self.total_steps
        if step == self.step:
            return False
        if self.last is not None:
            self.gaps.append(now - self.last)
        self.step, self.last = step, now
        self.steps += 1
        return True

    @property
    def usual_s(self) -> float | None:
        """The usual time between two reports of different steps; None before it is known."""
        least = LINES_MIN if self.from_output else REPORTS_MIN
        return statistics.median(self.gaps) if self.steps >= least and self.gaps else None

    @property
    def limit_s(self) -> float | None:
        """How long it may be without a step; None: nobody can tell, or it is past its last step."""
        if self.asked_s is not None:
            # Loading and compiling take longer than a step.
            return (self.asked_s if self.step is not None else FACTOR * self.asked_s) or None
        is_done = self.step is not None and self.total_steps is not None and self.step >= self.total_steps
        usual = self.usual_s
        return None if is_done or usual is None else max(FACTOR * usual, FLOOR_S)

    def silent_s(self, now: float) -> float:
        """How long it has been without a step."""
        return now - (self.began if self.last is None else self.last)

    def hangs(self, now: float) -> bool:
        """Whether it has been silent for too long."""
        limit = self.limit_s
        return limit is not None and self.silent_s(now) > limit
