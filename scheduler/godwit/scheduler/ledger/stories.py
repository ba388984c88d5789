"""What happened on one machine while it was paid for: values over time, read from events, oldest first."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Generic, TypeVar

from godwit.domain.ids import JobId
from godwit.domain.jobs import AttemptState, Slot
from godwit.domain.nodes import NodeState
from godwit.scheduler.ledger.uses import Use

Value = TypeVar("Value")
Span = tuple[float, float]
"""From, until; in seconds since the epoch."""

MACHINE = -1
"""The index that stands for the machine as a whole among its GPUs."""


@dataclass(frozen=True)
class Timeline(Generic[Value]):
    """A value over time: `values[i]` from `cuts[i - 1]` on, `values[0]` before the first cut."""

    values: tuple[Value, ...]
    cuts: tuple[float, ...] = ()

    def at(self, instant: float) -> Value:
        """The value from this instant on, until it changes."""
        return self.values[bisect_right(self.cuts, instant)]


def timeline(first: Value, changes: Iterable[tuple[float, Value]]) -> Timeline[Value]:
    """`first`, then what each change says; the later told of two at one instant stays."""
    values, cuts = [first], list[float]()
    for at, value in sorted(changes, key=lambda change: change[0]):
        if cuts and cuts[-1] == at:
            values[-1] = value
        elif value != values[-1]:
            values.append(value)
            cuts.append(at)
    return Timeline(tuple(values), tuple(cuts))


_USES: Mapping[AttemptState, Use] = {
    AttemptState.STARTING: Use.STARTING,
    AttemptState.RUNNING: Use.BUSY,
    AttemptState.STOPPING: Use.DRAINING,
}


def phases(
    states: Timeline[AttemptState], saves: Sequence[Span] = (), unused: Sequence[Span] = ()
) -> Timeline[Use | None]:
    """What an attempt's GPUs do over time: None once it has ended, and while it runs what these spans say."""
    cuts = sorted({*states.cuts, *(edge for span in (*saves, *unused) for edge in span)})

    def use(at: float) -> Use | None:
        plain = _USES.get(states.at(at))
        if plain is not Use.BUSY:
            return plain
        if within(at, unused):
            return Use.HELD
        return Use.CHECKPOINTING if within(at, saves) else plain

    before = min(cuts, default=0.0) - 1.0
    return timeline(use(before), [(at, use(at)) for at in cuts])


def within(at: float, spans: Iterable[Span]) -> bool:
    """Whether one of the spans holds this instant."""
    return any(start <= at < end for start, end in spans)


@dataclass(frozen=True)
class Claim:
    """What an attempt holds of the machine: these GPUs (by index), each by `milli` thousandths, in its phases."""

    job_id: JobId
    gpus: tuple[int, ...]
    milli: int
    phases: Timeline[Use | None]
    since: float
    until: float = inf

    @classmethod
    def of(cls, slot: Slot, job_id: JobId, born_at: float, done: Timeline[Use | None]) -> "Claim":
        """An attempt's part on a node; `born_at` is when the attempt was made."""
        since = born_at if slot.since is None else slot.since
        return cls(job_id, slot.gpus, slot.gpu_milli, done, since, inf if slot.until is None else slot.until)

    def use(self, at: float) -> Use | None:
        """What it does with them from this instant on; None when it does not hold them."""
        return self.phases.at(at) if self.since <= at < self.until else None


@dataclass(frozen=True)
class Story:
    """All that the ledger asks of a machine's time.

    `kept_for` is the job for which it is kept, "" for none. `unfit` holds the indexes of GPUs that health took out,
    `MACHINE` for all of it. `recovering` are, by job, the times between a loss and being at work again.
    """

    states: Timeline[NodeState]
    kept_for: Timeline[str] = field(default_factory=lambda: Timeline(("",)))
    unfit: Timeline[frozenset[int]] = field(default_factory=lambda: Timeline((frozenset(),)))
    claims: tuple[Claim, ...] = ()
    recovering: Mapping[str, Sequence[Span]] = field(default_factory=dict)

    def cuts(self) -> Iterator[float]:
        """Every instant at which something may change, in no order."""
        yield from self.states.cuts
        yield from self.kept_for.cuts
        yield from self.unfit.cuts
        for claim in self.claims:
            yield claim.since
            yield claim.until
            yield from claim.phases.cuts
        for spans in self.recovering.values():
            for span in spans:
                yield from span
