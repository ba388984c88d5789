"""How often the program should save, chosen again whenever a save or a commit was measured."""

import json
from collections import deque
from pathlib import Path
from statistics import fmean

from godwit.agents.confinement import owner
from godwit.agents.runtime.guard import write_whole
from godwit.domain.cadence import UNMEASURED_STALL_S, Cadence, SaveCost
from godwit.domain.wire.saving import Saving

REMEMBERED = 5
"""Saves whose mean counts: the first is often slower than the rest, and a model does not grow."""


UNTOLD_MAX, STALL_S_MAX = 1_000, 86_400.0
"""Saves of which the control plane is told later, while the store does not answer; and the most that it is told."""


class Pace:
    """Chooses the interval of one attempt and tells the program, through `cadence.json` in its run folder."""

    def __init__(self, saving: Saving, run: Path) -> None:
        self._cadence = Cadence(saving.mtbf_s, saving.shortest_s, saving.longest_s)
        self._run = run
        self._stalls: deque[float] = deque(maxlen=REMEMBERED)
        self._commits: deque[float] = deque(maxlen=REMEMBERED)
        self._untold: deque[tuple[int, float]] = deque(maxlen=UNTOLD_MAX)
        self.interval_s = saving.interval_s

    def saved(self, stall_s: float, step: int = 0) -> None:
        """The program stood still for so long to save this step."""
        self._stalls.append(max(0.0, stall_s))
        self._untold.append((step, max(0.0, stall_s)))
        self._choose()

    def stalled_s(self, step: int) -> float:
        """How long the program stood still for saves up to this step that nobody was told of; they are told by this."""
        told = [one for one in list(self._untold) if one[0] <= step]
        for one in told:
            self._untold.remove(one)
        return min(STALL_S_MAX, sum(stall_s for _, stall_s in told))

    def committed(self, took_s: float) -> None:
        """It took so long until the checkpoint lay in the store."""
        self._commits.append(max(0.0, took_s))
        self._choose()

    def _choose(self) -> None:
        stall_s = fmean(self._stalls) if self._stalls else UNMEASURED_STALL_S
        commit_s = fmean(self._commits) if self._commits else 0.0
        self.interval_s = self._cadence.interval_s(SaveCost(stall_s, commit_s))
        told = {"interval_s": self.interval_s, "stall_s": stall_s, "commit_s": commit_s}
        with owner.acting(self._run):
            write_whole(self._run / "cadence.json", json.dumps(told))
