"""How often the program should save, chosen again whenever a save or a commit was measured."""

import json
from collections import deque
from pathlib import Path
from statistics import fmean

from godwit.agents.runtime.guard import write_whole
from godwit.domain.cadence import UNMEASURED_STALL_S, Cadence, SaveCost
from godwit.domain.wire.saving import Saving

REMEMBERED = 5
"""Saves whose mean counts: the first is often slower than the rest, and a model does not grow."""


class Pace:
    """Chooses the interval of one attempt and tells the program, through `cadence.json` in its run folder."""

    def __init__(self, saving: Saving, run: Path) -> None:
        self._cadence = Cadence(saving.mtbf_s, saving.shortest_s, saving.longest_s)
        self._path = run / "cadence.json"
        self._stalls: deque[float] = deque(maxlen=REMEMBERED)
        self._commits: deque[float] = deque(maxlen=REMEMBERED)
        self.interval_s = saving.interval_s

    def saved(self, stall_s: float) -> None:
        """The program stood still for so long to save."""
        self._stalls.append(max(0.0, stall_s))
        self._choose()

    def committed(self, took_s: float) -> None:
        """It took so long until the checkpoint lay in the store."""
        self._commits.append(max(0.0, took_s))
        self._choose()

    def _choose(self) -> None:
        stall_s = fmean(self._stalls) if self._stalls else UNMEASURED_STALL_S
        commit_s = fmean(self._commits) if self._commits else 0.0
        self.interval_s = self._cadence.interval_s(SaveCost(stall_s, commit_s))
        told = {"interval_s": self.interval_s, "stall_s": stall_s, "commit_s": commit_s}
        write_whole(self._path, json.dumps(told))
