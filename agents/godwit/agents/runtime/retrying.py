"""Asking again, for what an attempt fetches before it begins."""

import time
from collections.abc import Callable

from godwit.agents.checkpoints.store import StoreUnavailable
from godwit.agents.link import Unreachable
from godwit.domain.errors import InvariantBroken

FETCH_TRIES = 8
"""For workdir, secrets and checkpoint, with pauses of 0.2 s doubling to 5 s: some 16 s, a lease's length."""


def retried(act: Callable[[], object], is_over: Callable[[], bool]) -> None:
    """Do it until it works. Raises `Unreachable` or `StoreUnavailable` after the last try, or once it `is_over`."""
    pause_s = 0.2
    for tries_left in reversed(range(FETCH_TRIES)):
        try:
            act()
        except (Unreachable, StoreUnavailable):
            if tries_left == 0 or is_over():
                raise
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, 5.0)
        else:
            return
    raise InvariantBroken("a retry loop ended without a result")
