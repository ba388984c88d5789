"""How soon a replica takes the place of one that ended before it was ready: later each time, never without end."""

from collections.abc import Iterable

from godwit.domain.services import Replica

FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 300.0
"""Doubling between: Kubernetes' CrashLoopBackOff goes from 10 s to 5 min, and our first pause is shorter, since a node
that died under a replica is nobody's mistake."""


def failures(gone: Iterable[Replica], number: int) -> int:
    """How many replicas of a version in a row, the newest first, ended before they were ready."""
    count = 0
    for replica in gone:
        if replica.number != number or replica.routed is not None:
            continue  # of another version, or told to go
        if replica.ready_at is not None:
            break
        count += 1
    return count


def pause_s(count: int) -> float:
    """How long to wait after so many failures in a row; 0 after none."""
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(count - 1, 20)) if count else 0.0


def next_at(gone: Iterable[Replica], number: int) -> float:
    """From when on the next replica of a version may be made, in seconds since the epoch."""
    of_it = [one for one in gone if one.number == number]
    last = max((one.state_since for one in of_it), default=0.0)
    return last + pause_s(failures(of_it, number))
