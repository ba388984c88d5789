"""Who is looked at first: what is a project's own before what it borrows, tiers of priority, fair shares, then age.

Between projects the *dominant share* counts: of GPUs, CPUs and memory the largest part of the fleet that the project
holds (Ghodsi et al., "Dominant Resource Fairness", NSDI 2011, section 4.1: serve whoever has the least, and ask again
after each start). The past counts too, and is forgotten: half of it after each `half_life_s` (`averages`).

    average'(t) = (held - average) * ln 2 / half_life_s              exact between changes
    standing    = (average + held) / 2 / capacity / weight            one half-life from now, if nothing changes

Averages are amounts, not shares: all of a fleet that was small is not all of one that has grown.

Within a project one point of priority is worth `head_start_s` seconds of waiting: jobs go by since - priority *
head_start_s. That is a bounded rule of ageing: of two jobs of a tier, the one submitted later goes first only if it
came less than (its priority - the other's) * head_start_s later. So finitely many can pass a waiting job, and none when
priorities are bounded and it has waited long enough. A project that holds nothing sinks to a standing of 0, below each
that is served. Only a higher tier, or what is others' own, is not overtaken by waiting.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from godwit.scheduler.asks import Ask
from godwit.scheduler.averages import HALF_LIFE_S, RESOURCES, left
from godwit.scheduler.demands import Demand
from godwit.scheduler.policies import Gate, Open, Rank
from godwit.scheduler.quotas import Quotas, amount
from godwit.scheduler.time_sharing import LeastServed

HEAD_START_S = 3600.0
"""A point of priority goes an hour ahead: with priorities of -10 to 10 a day's wait overtakes all of them."""


@dataclass(slots=True)
class _Record:
    """Of one project: what it holds of each resource, and held on average, true at `at`."""

    held: list[int] = field(default_factory=lambda: [0] * len(RESOURCES))
    average: list[float] = field(default_factory=lambda: [0.0] * len(RESOURCES))
    at: float = 0.0
    standing: float | None = None


class Usage:
    """What each project holds and held, weighed by `capacity` (by `RESOURCES`; what is not there counts nothing).

    A `Gate` that books what starts and ends and passes every question on to `gate`. Whoever keeps an engine calls
    `at(now)` before telling it what happened at `now`; the averages are exact then. `past` is what each project held on
    average until `now`, by resource, as `averages` gave it out.
    """

    def __init__(
        self,
        capacity: Mapping[str, int],
        gate: Gate | None = None,
        *,
        half_life_s: float = HALF_LIFE_S,
        past: Mapping[str, Mapping[str, float]] | None = None,
        now: float = 0.0,
    ) -> None:
        if half_life_s <= 0:
            raise ValueError(f"a half-life of {half_life_s} s forgets nothing or everything; say more than 0")
        self._part = [1 / capacity[name] if capacity.get(name) else 0.0 for name in RESOURCES]
        self._gate, self._half_life_s, self.now = gate or Open(), half_life_s, now
        self._records: dict[str, _Record] = {}
        self._takes: dict[Ask, tuple[int, ...]] = {}
        for project, held in (past or {}).items():
            self._records[project] = _Record(average=[held.get(name, 0.0) for name in RESOURCES], at=now)

    def at(self, now: float) -> None:
        """The time of what is told next. A clock that goes back is taken to stand still."""
        self.now = max(self.now, now)

    def refusal(self, demand: Demand, nodes: int) -> str | None:
        """The gate's word."""
        return self._gate.refusal(demand, nodes)

    def stamp(self, project: str) -> int:
        """The gate's."""
        return self._gate.stamp(project)

    def started(self, demand: Demand, nodes: int) -> None:
        """Books what it holds."""
        self._book(demand, nodes)
        self._gate.started(demand, nodes)

    def ended(self, demand: Demand, nodes: int) -> None:
        """Books that it holds nothing."""
        self._book(demand, -nodes)
        self._gate.ended(demand, nodes)

    def promised(self, demand: Demand, by: Mapping[Demand, int]) -> None:
        """Passed on."""
        self._gate.promised(demand, by)

    def forgotten(self, job_id: str) -> None:
        """Passed on."""
        self._gate.forgotten(job_id)

    def averages(self, project: str) -> dict[str, float]:
        """What a project held of each resource on average until now, to be kept and given to another as `past`."""
        return dict(zip(RESOURCES, self._upto_now(project).average, strict=True))

    def standing_at(self, project: str, now: float) -> float:
        """As `standing`, after `at(now)`."""
        record = self._records.get(project)
        if record is not None and record.standing is not None and record.at == now:
            return record.standing  # most questions of a pass
        self.at(now)
        return self.standing(project)

    def standing(self, project: str) -> float:
        """The dominant share that the project will have averaged one half-life from now if nothing changes."""
        record = self._upto_now(project)
        if record.standing is None:
            shares = zip(record.held, self._part, record.average, strict=True)
            record.standing = max((held + average) * part / 2 for held, part, average in shares)
        return record.standing

    def _book(self, demand: Demand, nodes: int) -> None:
        record = self._upto_now(demand.project)
        takes = self._takes.get(demand.ask)
        if takes is None:
            takes = self._takes[demand.ask] = tuple(amount(demand.ask, name) for name in RESOURCES)
        for index, taken in enumerate(takes):
            record.held[index] += taken * nodes
        record.standing = None

    def _upto_now(self, project: str) -> _Record:
        record = self._records.get(project)
        if record is None:
            record = self._records[project] = _Record(at=self.now)
        if self.now > record.at:
            stays = left(self.now - record.at, self._half_life_s)
            pairs = zip(record.held, record.average, strict=True)
            record.average = [average * stays + held * (1 - stays) for held, average in pairs]
            record.at, record.standing = self.now, None
        return record


class FairShare:
    """The order of projects with shares. `weights` by project (1 where none is given) divide what it is held to have.

    `tiers` are priorities, ascending, at which a new tier begins: a demand of a higher tier goes before any of a lower
    one, whatever it waited; without them all is one tier. With `quotas`, what keeps within a project's own amount goes
    before what borrows, of whatever tier: that amount was promised to the project. With `served`, of a project and tier
    those come first who got least so far, and what was interrupted as if it had got nothing: it had its place.
    """

    def __init__(
        self,
        usage: Usage,
        quotas: Quotas | None = None,
        *,
        weights: Mapping[str, float] | None = None,
        tiers: Sequence[int] = (),
        head_start_s: float = HEAD_START_S,
        served: LeastServed | None = None,
    ) -> None:
        self._usage, self._quotas, self._weights, self.served = usage, quotas, dict(weights or {}), served
        if any(not weight > 0 for weight in self._weights.values()):
            raise ValueError("a weight must be more than 0; a project that should get nothing has a quota of 0")
        self._tiers, self._head_start_s = sorted(tiers), head_start_s

    def standing(self, project: str, now: float) -> float:
        """The share that a project has, for its weight: whoever has least goes first."""
        return self._usage.standing_at(project, now) / self._weights.get(project, 1.0)

    def rank(self, demand: Demand, served_gpu_s: float) -> Rank:
        """Its priority, and its level where time is shared: of a class all have the same, and the older goes first."""
        return (-demand.priority, 0 if self.served is None else self.served.level(served_gpu_s))

    def turn(self, demand: Demand, now: float) -> Rank:
        """Borrows, tier, standing of its project, level, not interrupted, since when it waits, less its head start."""
        was_interrupted = demand.is_recovering and demand.yielded_at is None
        return (
            self._quotas is not None and self._quotas.borrows(demand, demand.nodes_min),
            -bisect_right(self._tiers, demand.priority),
            self.standing(demand.project, now),
            0 if self.served is None or was_interrupted else self.served.level_of(demand, now),
            not demand.is_recovering,
            demand.since - demand.priority * self._head_start_s,
        )
