"""How often one caller may ask: token buckets, and the `limits:` section of config.yaml. Pure; time is an argument.

A bucket holds `burst` requests at most and gains `per_s` each second; a request takes one out or is refused. Buckets
are counted by each process for itself: several control planes on one database let through as many times more.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from godwit.domain.errors import InvalidRequest

KEPT_MAX = 20_000
"""Buckets that are remembered, four times the nodes that one control plane is measured with; the one that was not
asked for longest is forgotten first, and is full when it comes back."""

_RATES = {"requests_per_s": "burst", "agent_requests_per_s": "agent_burst"}


@dataclass(frozen=True)
class Rate:
    """`per_s` requests a second for ever, and `burst` at once. 0 a second: no limit."""

    per_s: float
    burst: int


UNLIMITED = Rate(0.0, 0)


@dataclass(frozen=True)
class Limits:
    """For each token or session, for each agent, and for what comes from one address without a valid credential.

    A command asks twice a second while it watches, a dashboard ten times as it opens, an agent some five times a second
    while a job writes. Tokens cannot be guessed, so `failed` only keeps strangers from keeping the database busy.
    """

    people: Rate = Rate(100.0, 1_000)
    agents: Rate = Rate(50.0, 500)
    failed: Rate = Rate(10.0, 100)


NO_LIMITS = Limits(UNLIMITED, UNLIMITED, UNLIMITED)


@dataclass(frozen=True)
class Bucket:
    """How many requests it held at an instant."""

    held: float
    at: float


def full(rate: Rate, now: float) -> Bucket:
    """The bucket of somebody new."""
    return Bucket(float(rate.burst), now)


def filled(bucket: Bucket, rate: Rate, now: float) -> Bucket:
    """The same bucket now; a clock that went back fills nothing."""
    gained = max(0.0, now - bucket.at) * rate.per_s
    return Bucket(min(float(rate.burst), bucket.held + gained), max(now, bucket.at))


def wait_s(bucket: Bucket, rate: Rate) -> float:
    """How long until it holds a request; 0 when it does."""
    return 0.0 if bucket.held >= 1.0 else (1.0 - bucket.held) / rate.per_s


class Buckets:
    """The buckets of all callers of a kind, by a key that tells them apart. For one thread."""

    def __init__(self, rate: Rate, kept_max: int = KEPT_MAX) -> None:
        self._rate, self._kept_max = rate, kept_max
        self._kept: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, key: str, now: float) -> float:
        """Take a request out; returns 0, or when there is none, how many seconds until there is."""
        pause_s = self.look(key, now)
        if pause_s == 0.0 and self._rate.per_s > 0.0:
            held = self._kept[key]
            self._kept[key] = Bucket(held.held - 1.0, held.at)
        return pause_s

    def look(self, key: str, now: float) -> float:
        """What `take` would return, and nothing is taken."""
        if self._rate.per_s <= 0.0:
            return 0.0
        bucket = self._kept.get(key)
        self._kept[key] = full(self._rate, now) if bucket is None else filled(bucket, self._rate, now)
        self._kept.move_to_end(key)
        if len(self._kept) > self._kept_max:
            self._kept.popitem(last=False)
        return wait_s(self._kept[key], self._rate)

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._kept)


def read(section: object, path: Path) -> Limits:
    """The limits that `section` sets; None sets none. Raises `InvalidRequest`."""
    values = {} if section is None else section
    if not isinstance(values, Mapping):
        raise InvalidRequest(f"{path}: limits must be such as {{requests_per_s: 100, burst: 1000}}, not {section!r}")
    accepted = (*_RATES, *_RATES.values())
    for key, value in values.items():
        if key not in accepted:
            raise InvalidRequest(f"{path}: unknown key limits.{key}; there are {', '.join(accepted)}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e6:
            raise InvalidRequest(f"{path}: limits.{key} must be a number from 0 (no limit) to 1000000, not {value!r}")
    usual = Limits()
    return Limits(_rate(values, "requests_per_s", usual.people), _rate(values, "agent_requests_per_s", usual.agents))


def _rate(values: Mapping[str, float], key: str, usual: Rate) -> Rate:
    """A rate without its burst lets ten seconds of itself through at once, as the usual ones do."""
    per_s = float(values.get(key, usual.per_s))
    burst = values.get(_RATES[key], max(1, int(per_s * 10)) if key in values else usual.burst)
    return Rate(per_s, max(1, int(burst)))
