"""Who did which step of the training, by the lines that train.py prints: none may be missing."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from fleet import NotShown

LINE = re.compile(r"step (\d+)/(\d+) loss .* workers (\d+) attempt (\d+)")


@dataclass(frozen=True)
class Stretch:
    """Steps `first` to `last`, one after the other, by one group of workers; the first `again` of them not for the
    first time."""

    attempt: int
    workers: int
    first: int
    last: int
    again: int = 0

    def __str__(self) -> str:
        repeated = f", {self.again} of them again" if self.again else ""
        return f"steps {self.first} to {self.last}{repeated}"

    @property
    def who(self) -> str:
        """Which attempt, of what size."""
        return f"attempt {self.attempt} on {self.workers} nodes"


def stretches(printed: Iterable[str]) -> list[Stretch]:
    """All of them in order; raises `NotShown` when a step is missing before one that was done, or at the end."""
    found: list[Stretch] = []
    far = total = 0
    for step, of, workers, attempt in _steps(printed):
        if step > far + 1:
            raise NotShown(f"step {step} was done after step {far}: nobody did what is between them")
        again, far, total = int(step <= far), max(step, far), of
        if found and (found[-1].attempt, found[-1].workers, found[-1].last + 1) == (attempt, workers, step):
            now = found.pop()
            found.append(Stretch(attempt, workers, now.first, step, now.again + again))
        else:
            found.append(Stretch(attempt, workers, step, step, again))
    if not found or far < total:
        raise NotShown(f"{far} of {total} steps were done")
    return found


def _steps(printed: Iterable[str]) -> Iterable[tuple[int, int, int, int]]:
    for line in printed:
        match = LINE.search(line)
        if match:
            step, total, workers, attempt = map(int, match.groups())
            yield step, total, workers, attempt
