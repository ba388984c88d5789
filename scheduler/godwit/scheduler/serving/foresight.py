"""What will be needed soon, by what was needed at this time of past days: replicas that take minutes to come start
before the morning does.

    foreseen = median over the last `DAYS` days of: the most that was needed from this time of that day until as long
               after as a replica takes to start

The median forgets the one day on which something happened, and a weekend among working days. It says nothing until
there are `DAYS_MIN` days, and it is only ever asked for more than what is needed now.
"""

import math
from collections.abc import Iterable, Mapping
from statistics import median

from godwit.domain.services import Replica

DAY_S = 86_400.0
BUCKET_S = 300.0
"""Needs are remembered by the most in five minutes: no replica of a large model starts in much less."""

DAYS, DAYS_MIN = 7, 2
"""A week back, so that each day of the week is in it once; two days are the fewest that repeat anything."""

START_S, START_MOST_S = 180.0, 3_600.0
"""What a replica takes to start where none has been seen to (as in `benchmarks/spot_services`), and the most that
counts: further ahead than an hour the pattern of a day says nothing that the next look does not."""


def bucket(at: float) -> int:
    """Which five minutes an instant belongs to."""
    return math.floor(at / BUCKET_S)


def start_s(replicas: Iterable[Replica]) -> float:
    """How long replicas of a service take until they are ready, in the middle of those that are known."""
    took = [one.ready_at - one.created_at for one in replicas if one.ready_at is not None]
    return min(START_MOST_S, max(0.0, median(took))) if took else START_S


def foreseen(most: Mapping[int, float], horizon_s: float, now: float) -> float | None:
    """How many replicas are needed within the horizon; None without enough days. `most` is by bucket."""
    found = []
    for day in range(1, DAYS + 1):
        began = now - day * DAY_S
        there = [most[one] for one in range(bucket(began), bucket(began + horizon_s) + 1) if one in most]
        if there:
            found.append(max(there))
    return median(found) if len(found) >= DAYS_MIN else None


def oldest(now: float) -> int:
    """The first bucket that is still looked at."""
    return bucket(now - DAYS * DAY_S)
