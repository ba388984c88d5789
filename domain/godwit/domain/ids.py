"""Identifiers: one type per kind of thing, sortable by the time they were made, short enough to read aloud."""

import random
from collections.abc import Callable
from typing import NewType

ProjectId = NewType("ProjectId", str)
JobId = NewType("JobId", str)
ArrayId = NewType("ArrayId", str)
AttemptId = NewType("AttemptId", str)
NodeId = NewType("NodeId", str)
IntentId = NewType("IntentId", str)
ProviderName = NewType("ProviderName", str)
InstanceId = NewType("InstanceId", str)
OfferKey = NewType("OfferKey", str)
GpuUuid = NewType("GpuUuid", str)
FindingId = NewType("FindingId", str)
IncidentId = NewType("IncidentId", str)
MigrationId = NewType("MigrationId", str)
ServiceId = NewType("ServiceId", str)

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32 (https://www.crockford.com/base32.html): no i, l, o, u, so nothing is misread."""

_EPOCH_S = 1_735_689_600.0
"""2025-01-01T00:00:00Z; 35 bits of centiseconds last until 2035-11."""


class IdSource:
    """Makes ids `prefix-TTTTTTTRRRRRRR`: 35 bits of time, then 35 random bits.

    Time and randomness are arguments, so that a simulation with the same seed makes the same ids. Two ids made
    in the same centisecond are ordered at random; nothing may rely on order within one.
    """

    def __init__(self, now: Callable[[], float], rng: random.Random) -> None:
        self._now = now
        self._rng = rng

    def new(self, prefix: str) -> str:
        """A fresh id, such as `job-4f0zq1m2k7xv9a`."""
        ticks = max(0, int((self._now() - _EPOCH_S) * 100))
        return f"{prefix}-{_encode(ticks, 7)}{_encode(self._rng.getrandbits(35), 7)}"


def _encode(number: int, digits: int) -> str:
    text = ""
    for _ in range(digits):
        number, digit = divmod(number, 32)
        text = ALPHABET[digit] + text
    return text
