"""Whether a job can be done by its deadline for its budget, answered at submit: yes, or how much short and what can.

For each way to run it (nodes of an offer, or of the fleet once they are free), as expected and at the slowest:

    run_s   = estimate_s / (speed * useful)           useful: the share of paid time that becomes work (`trust`)
    ends_at = now + starts_in_s + run_s
    usd     = usd_once + usd_per_hour * paid hours    in whole billing steps, while starting too where that is billed
    done    = min(1, time until the deadline / run_s, time that the budget pays for / run_s)

`done` is the share of the work that is finished by the deadline for the money; the answer is short by 1 - done of the
way that gets farthest. A later deadline or a larger budget never makes `done` less, so it never turns a yes into a no.

Estimates are ranges since they may be wrong: YES keeps to both limits even if all goes as slowly as thought possible,
LIKELY if it goes as expected, NO not even then. Without an estimate only that can be said which holds for any.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from math import ceil, floor, inf, isfinite, isnan

from godwit.domain.ids import OfferKey
from godwit.domain.offers import Offer
from godwit.domain.resources import is_of_family
from godwit.scheduler.asks import NodeKind
from godwit.scheduler.demands import Demand
from godwit.scheduler.trust import UNKNOWN, Record

LONGEST_S = 1e12
"""The longest time that can be guessed, 30,000 years: a bound, so that no sum below overflows."""

SLOWEST = 1e-6
"""The least speed or useful share that a way may have; for the same reason."""


@dataclass(frozen=True)
class Range:
    """A guess of a time in seconds: at least, probably, at most."""

    least: float
    likely: float
    most: float

    def __post_init__(self) -> None:
        if not 0 <= self.least <= self.likely <= self.most <= LONGEST_S:
            raise ValueError(f"{self} is no guess: least, likely and most must ascend from 0 to {LONGEST_S:.0e} s")

    @classmethod
    def around(cls, likely: float, factor: float = 2.0) -> "Range":
        """`likely`, wrong by up to `factor` either way."""
        return cls(likely / factor, likely, likely * factor)


BOOT_S = Range(60.0, 240.0, 900.0)
"""From a launch call to a usable node where nothing was measured: a choice. Cloud VMs with GPUs boot in minutes; the
planner gives one up after a quarter of an hour."""


@dataclass(frozen=True)
class Estimate:
    """How long the whole gang of `nodes` runs. `speedup` is by other numbers of nodes, relative to that; a size that
    is not in it is not considered. `model_speed` is by GPU family, 1 where none is given.
    """

    run_s: Range
    nodes: int = 1
    speedup: Mapping[int, float] = field(default_factory=dict)
    model_speed: Mapping[str, float] = field(default_factory=dict)

    def speed(self, nodes: int, model: str | None) -> float | None:
        """Relative to `nodes` nodes of speed 1; None where nobody knows."""
        size = 1.0 if nodes == self.nodes else self.speedup.get(nodes)
        known = (speed for name, speed in self.model_speed.items() if model and is_of_family(model, name))
        return None if size is None else size * next(known, 1.0)


@dataclass(frozen=True)
class Way:
    """One way to run a gang: on `nodes` nodes that cost `usd_per_hour` together, `starts_in_s` from now.

    `usd_once` is what moving its data there costs. `is_billed_while_starting`: bought nodes are, those that others
    still use are not.
    """

    name: str
    nodes: int
    usd_per_hour: float
    starts_in_s: Range
    speed: float = 1.0
    useful: float = 1.0
    usd_once: float = 0.0
    billing_step_s: float = 1.0
    is_billed_while_starting: bool = True

    def __post_init__(self) -> None:
        money = isfinite(self.usd_per_hour) and isfinite(self.usd_once) and min(self.usd_per_hour, self.usd_once) >= 0
        if not money or not (
            SLOWEST <= self.speed < inf and SLOWEST <= self.useful <= 1 and 1e-3 <= self.billing_step_s < inf
        ):
            raise ValueError(f"{self} cannot be reckoned with: prices from 0, speed, useful share and step above 0")


@dataclass(frozen=True)
class Outcome:
    """What comes of a way if it goes as in one guess: whether it `keeps` to both limits; the share `done` if not."""

    way: Way
    ends_at: float
    usd: float
    keeps: bool
    done: float


_FAR = 253_402_300_800.0
"""The year 10000, which calendars do not have."""


class Verdict(IntEnum):
    """In ascending order of confidence. UNKNOWN: without an estimate nothing speaks against it."""

    NO = 0
    UNKNOWN = 1
    LIKELY = 2
    YES = 3


@dataclass(frozen=True)
class Answer:
    """The answer, in values. Outcomes are as expected (`likely`), and None where there is no such way.

    `best` keeps to both limits at the least cost, or gets farthest. `cheapest_in_time` heeds the deadline alone,
    `soonest_in_budget` the budget alone. `short_by` is 0 when `best` keeps to both.
    """

    verdict: Verdict
    short_by: float
    deadline_at: float | None
    budget_usd: float | None
    best: Outcome | None = None
    cheapest_in_time: Outcome | None = None
    soonest_in_budget: Outcome | None = None


def answer(
    ways: Iterable[Way], run_s: Range | None, deadline_at: float | None, budget_usd: float | None, now: float
) -> Answer:
    """Weigh all ways for a job that runs `run_s` at speed 1; None when nobody knows how long."""
    known = sorted(ways, key=lambda way: (way.name, way.nodes))
    until, money = _limits(deadline_at, budget_usd)
    probably_s, at_most_s = (0.0, 0.0) if run_s is None else (run_s.likely, run_s.most)
    likely = [_outcome(way, probably_s, way.starts_in_s.likely, until, money, now) for way in known]
    slowest = [_outcome(way, at_most_s, way.starts_in_s.most, until, money, now) for way in known]
    best = min(likely, key=lambda one: (not one.keeps, -one.done, one.usd, one.ends_at, one.way.name), default=None)
    in_time = (one for one in likely if one.ends_at <= until)
    in_budget = (one for one in likely if one.usd <= money)
    return Answer(
        _verdict(likely, slowest, knows=run_s is not None),
        1.0 if best is None else 1.0 - best.done,
        deadline_at,
        budget_usd,
        best,
        min(in_time, key=lambda one: (one.usd, one.ends_at, one.way.name), default=None),
        min(in_budget, key=lambda one: (one.ends_at, one.usd, one.way.name), default=None),
    )


def ways_to_buy(
    demand: Demand,
    offers: Iterable[Offer],
    estimate: Estimate | None = None,
    *,
    records: Mapping[OfferKey, Record] | None = None,
    starts_in_s: Mapping[OfferKey, Range] | None = None,
    usd_once: Mapping[OfferKey, float] | None = None,
) -> Iterator[Way]:
    """Each size of the gang on each offer that suits it and has so many. One offer for all its nodes: it is one fabric.

    An offer without a believable price is passed over, since nothing could be promised of it.
    """
    for offer in offers:
        if not 0 <= offer.price_usd_per_hour < inf or not demand.ask.suits(NodeKind.of(offer)):
            continue
        most = demand.nodes_max if offer.capacity is None else min(demand.nodes_max, offer.capacity)
        for nodes in _sizes(demand, estimate, most):
            speed = 1.0 if estimate is None else estimate.speed(nodes, offer.gpu_model)
            if speed is not None:
                yield Way(
                    offer.key,
                    nodes,
                    nodes * offer.price_usd_per_hour,
                    (starts_in_s or {}).get(offer.key, BOOT_S),
                    speed,
                    (records or {}).get(offer.key, UNKNOWN).score,
                    (usd_once or {}).get(offer.key, 0.0),
                    offer.billing_step_s,
                )


def words(it: Answer) -> str:
    """The answer as one sentence; times in UTC."""
    limits = [] if it.deadline_at is None else [f"by {_time(it.deadline_at)}"]
    limits += [] if it.budget_usd is None else [f"under ${it.budget_usd:,.0f}"]
    ask = " ".join(limits) or "at all"
    if it.best is None:
        return f"cannot finish {ask}: nothing that it could run on is on offer"
    if it.verdict is Verdict.UNKNOWN:
        return f"may finish {ask}, if it is short enough: nobody said how long it runs"
    if it.verdict is not Verdict.NO:
        how = "finishes" if it.verdict is Verdict.YES else "should finish"
        return f"{how} {ask}: {_offer(it.best)}"
    others = [] if it.cheapest_in_time is None else [f"cheapest that is in time: {_offer(it.cheapest_in_time)}"]
    others += [] if it.soonest_in_budget is None else [f"soonest for the money: {_offer(it.soonest_in_budget)}"]
    return "; ".join([f"cannot finish {ask}: {it.short_by:.0%} short", *others])


def _offer(one: Outcome) -> str:
    return f"{one.way.nodes} x {one.way.name}, done {_time(one.ends_at)} for ${one.usd:,.0f}"


def _time(at: float) -> str:
    if not 0 <= at < _FAR:
        return "no time on a calendar"
    return f"{datetime.fromtimestamp(at, UTC):%a %Y-%m-%d %H:%MZ}"


def _sizes(demand: Demand, estimate: Estimate | None, most: int) -> list[int]:
    known = {demand.nodes_min} if estimate is None else {estimate.nodes, *estimate.speedup}
    return sorted(size for size in known if demand.nodes_min <= size <= most)


def _limits(deadline_at: float | None, budget_usd: float | None) -> tuple[float, float]:
    until, money = inf if deadline_at is None else deadline_at, inf if budget_usd is None else budget_usd
    if isnan(until) or not money >= 0:
        raise ValueError(f"deadline {deadline_at} and budget {budget_usd} are no limits: say a time and dollars from 0")
    return until, money


def _outcome(way: Way, run_s: float, starts_s: float, until: float, money: float, now: float) -> Outcome:
    works_s = run_s / (way.speed * way.useful)
    unused_s = starts_s if way.is_billed_while_starting else 0.0
    ends_at = now + starts_s + works_s
    usd = _usd(way, unused_s + works_s)
    if ends_at <= until and usd <= money:
        return Outcome(way, ends_at, usd, keeps=True, done=1.0)
    in_time_s, paid_s = max(0.0, until - now - starts_s), max(0.0, _paid_s(way, money) - unused_s)
    done = min(1.0, in_time_s / works_s, paid_s / works_s) if works_s else 0.0
    return Outcome(way, ends_at, usd, keeps=False, done=done)


def _usd(way: Way, paid_s: float) -> float:
    steps = ceil(paid_s / way.billing_step_s)
    return way.usd_once + way.usd_per_hour * steps * way.billing_step_s / 3600


def _paid_s(way: Way, money: float) -> float:
    """How long the money lasts, in whole steps."""
    left = money - way.usd_once
    per_step = way.usd_per_hour * way.billing_step_s / 3600
    if left < 0:
        return 0.0
    steps = left / per_step if per_step else inf
    return floor(steps) * way.billing_step_s if steps < inf else inf


def _verdict(likely: list[Outcome], slowest: list[Outcome], *, knows: bool) -> Verdict:
    if not any(one.keeps for one in likely):
        return Verdict.NO
    if not knows:
        return Verdict.UNKNOWN
    return Verdict.YES if any(one.keeps for one in slowest) else Verdict.LIKELY
