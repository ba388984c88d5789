"""What somebody held on average, old time counting less: one number per resource, to be kept and brought up to date.

    average(t) = integral over s <= t of held(s) x ln 2 / half_life_s x 2^((s - t) / half_life_s) ds

It is linear in what was held: what held `amount` from a to b adds amount x (2^((b - t) / h) - 2^((a - t) / h)), and
from t to u all of it fades by 2^((t - u) / h). So whatever is kept is exact, in whatever order it is told, and what
still runs is added when it is asked for: nothing has to be written while nothing ends.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from godwit.domain.jobs import Attempt, Slot
from godwit.scheduler.asks import Ask
from godwit.scheduler.quotas import CPUS, GPUS, MEMORY
from godwit.scheduler.quotas import amount as amount_of

HALF_LIFE_S = 7 * 86400.0
"""Slurm's PriorityDecayHalfLife (slurm.conf, default 7-0)."""

RESOURCES = (GPUS, CPUS, MEMORY)
"""What averages are kept of, in the units of accounts: thousandths of GPUs and CPUs, MiB."""


@dataclass(frozen=True)
class Forgetting:
    """`half_life_s`: what was held so long ago counts half as much.

    A week, as with Slurm: long enough that Monday's large run still counts when the queue is full on Thursday, short
    enough that last month's does not. What is kept already fades by the new one from when it is changed.
    """

    half_life_s: float = HALF_LIFE_S


@dataclass(frozen=True)
class Average:
    """What was held on average until `at`, by resource."""

    at: float = 0.0
    amounts: Mapping[str, float] = field(default_factory=dict)

    def upto(self, now: float, half_life_s: float) -> "Average":
        """The same at `now`, had nothing been held since. A clock that goes back is taken to stand still."""
        stays = left(now - self.at, half_life_s)
        return Average(max(now, self.at), {name: held * stays for name, held in self.amounts.items()})

    def plus(self, held: Mapping[str, float], since: float, until: float, half_life_s: float) -> "Average":
        """The same when this was held besides, from `since` to `until`, which may lie before `at`."""
        then = self.upto(until, half_life_s)
        part = left(then.at - until, half_life_s) - left(then.at - min(since, until), half_life_s)
        return then.with_more({name: amount * part for name, amount in held.items()})

    def with_more(self, amounts: Mapping[str, float]) -> "Average":
        """The same with these averages besides."""
        names = {**self.amounts, **amounts}
        return Average(self.at, {name: self.amounts.get(name, 0.0) + amounts.get(name, 0.0) for name in names})


def left(seconds: float, half_life_s: float) -> float:
    """What so long a time leaves of 1."""
    stays: float = 2 ** (-max(0.0, seconds) / half_life_s)
    return stays


def held_by(ask: Ask, nodes: int) -> dict[str, float]:
    """What a gang of so many nodes holds of each resource."""
    return {name: float(amount_of(ask, name) * nodes) for name in RESOURCES}


def spans(attempt: Attempt, now: float) -> Iterator[tuple[Slot, float, float]]:
    """Every part that an attempt has or had until now, from when to when."""
    for slot in (*attempt.slots, *attempt.left):
        since = attempt.created_at if slot.since is None else slot.since
        yield slot, since, now if slot.until is None else min(slot.until, now)


def gpu_s(slots: Iterable[Slot], seconds: float) -> float:
    """GPU-seconds of an attempt that held these slots for so long."""
    return sum(len(slot.gpus) * slot.gpu_milli for slot in slots) * max(0.0, seconds) / 1000
