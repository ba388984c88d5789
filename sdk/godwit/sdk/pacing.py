"""When to save: so long after the last save ended, as the node's agent has chosen and may choose again."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

UNTOLD_S = 600.0
"""The interval outside of godwit."""

READ_EVERY_S = 1.0
"""How often the agent's file is read again."""

ASK_EVERY_S = 1.0
"""How often processes that must decide alike ask the first of them; then all know at which step they ask again."""

Verdict = tuple[bool, bool, int]
Agree = Callable[[Verdict], Verdict]
"""Gives everybody what the first process passes: whether to save, whether to stop, and at which step to ask again."""


class Pace:
    """Says when a save is due. `clock` is in seconds; `asked_to_stop()` makes one more save due at once."""

    def __init__(self, clock: Callable[[], float], asked_to_stop: Callable[[], bool]) -> None:
        self._clock = clock
        self._asked_to_stop = asked_to_stop
        self._saved_at = self._read_at = clock()
        self._interval_s = _read_interval_s()
        self._saved_last_words = False
        self._ask_at = 0
        self._asked: tuple[int, float] | None = None
        self.told_to_stop: bool | None = None
        """What the first process has heard, as of the last time that all asked it; None: nobody is asked."""

    def due(self, step: int, agree: Agree | None = None) -> bool:
        """Whether to save at this step. With `agree`, every process must call it with the same steps."""
        if agree is None:
            due = self._own_verdict()
        elif step < self._ask_at:
            return False
        else:
            verdict = (self._own_verdict(), self._asked_to_stop(), step + self._stride(step))
            due, self.told_to_stop, self._ask_at = agree(verdict)
        if due:  # frameworks that save by themselves do not say when they are done
            self.saved()
        return due

    def saved(self) -> None:
        """A save is over, as far as the program must wait for it."""
        self._saved_at = self._clock()
        self._saved_last_words = self._asked_to_stop()

    @property
    def interval_s(self) -> float:
        """Seconds from the end of one save to the start of the next."""
        now = self._clock()
        if now - self._read_at >= READ_EVERY_S:
            self._read_at, self._interval_s = now, _read_interval_s()
        return self._interval_s

    def _own_verdict(self) -> bool:
        if self._asked_to_stop():
            return not self._saved_last_words
        return self._clock() - self._saved_at >= self.interval_s

    def _stride(self, step: int) -> int:
        """Steps that take about `ASK_EVERY_S`, or a twentieth of the interval: asking costs a round trip."""
        now, before = self._clock(), self._asked
        self._asked = (step, now)
        if before is None or step <= before[0] or now <= before[1]:
            return 1
        step_s = (now - before[1]) / (step - before[0])
        return max(1, int(min(ASK_EVERY_S, self.interval_s / 20) / step_s))


def _read_interval_s() -> float:
    folder = os.environ.get("GODWIT_RUN_DIR")
    try:
        told = json.loads((Path(str(folder)) / "cadence.json").read_text())["interval_s"] if folder else None
    except (OSError, ValueError, KeyError, TypeError):
        told = None  # the agent has not said anything yet
    return _seconds(told) or _seconds(os.environ.get("GODWIT_CHECKPOINT_INTERVAL_S")) or UNTOLD_S


def _seconds(told: Any) -> float | None:
    try:
        return max(0.0, float(told)) or None
    except (TypeError, ValueError):
        return None


def torch_agreement() -> Agree | None:
    """Agreement over torch.distributed if the program uses it with others; None when it decides alone."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    if distributed.get_world_size() < 2:
        return None

    def agree(verdict: Verdict) -> Verdict:
        box = [verdict]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    return agree
