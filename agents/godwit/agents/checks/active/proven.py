"""What need not be tried again: GPUs that have shown lately that they are fit, and of which nothing was found since.

A gang waits for the slowest of its nodes, so a preflight of GPUs that computed a minute ago, or that passed all checks
this morning and were idle and watched since, costs every node its time. ByteRobust (SOSP'25, section on warm standbys)
checks machines before they stand by, not when they are called, and restarts in place without a check unless something
is suspected.
"""

import threading
import time
from collections.abc import Callable, Collection

from godwit.agents.effects import Found, HealthEvent
from godwit.domain.health import Grade

PASSED_S = 24 * 3_600.0
"""How long passed checks count: passive checks go on all the time, and once a day is what fleets spend on the others
(Meta's and imbue's nightly sweeps)."""

WORKED_S = 900.0
"""How long it counts that a program made steps: a choice, long enough for a gang to stop, move and start again."""


class Proven:
    """Until when GPUs (by UUID) count as fit; `clock` gives seconds. For use from several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._until: dict[str, float] = {}
        self._doubted: dict[str, float] = {}
        self._node_doubted = float("-inf")

    def covers(self, gpus: Collection[str]) -> bool:
        """Whether all of these, and at least one, have shown that they are fit."""
        now = self._clock()
        with self._lock:
            return bool(gpus) and all(self._until.get(gpu, now) > now for gpu in gpus)

    def passed(self, gpus: Collection[str], since: float) -> None:
        """These passed active checks that began at `since`."""
        self._prove(gpus, since, PASSED_S)

    def worked(self, gpus: Collection[str], since: float) -> None:
        """A program made steps on these from `since` until now."""
        self._prove(gpus, since, WORKED_S)

    def hear(self, event: HealthEvent) -> None:
        """A finding takes away what its GPU has shown; one without a GPU, what all of the node have."""
        if not isinstance(event, Found) or event.grade is Grade.HEALTHY:
            return
        with self._lock:
            if event.gpu is None:
                self._until.clear()
                self._node_doubted = self._clock()
            else:
                self._until.pop(event.gpu, None)
                self._doubted[event.gpu] = self._clock()

    def _prove(self, gpus: Collection[str], since: float, for_s: float) -> None:
        with self._lock:
            until = self._clock() + for_s
            for gpu in gpus:
                # What was found meanwhile outlasts what was shown meanwhile.
                if max(self._node_doubted, self._doubted.get(gpu, self._node_doubted)) < since:
                    self._until[gpu] = max(until, self._until.get(gpu, until))
