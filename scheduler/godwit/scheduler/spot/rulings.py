"""Jobs that have a deadline, and on what each should run now: what `policy` says, for the planner to obey.

A job with `spot: auto` and a deadline is planned as if it had asked for spot machines only, or for none, whichever is
its ruling; so that placing, buying and moving need no rules of their own. Nodes that are kept or on their way for a job
decide for it: it does not change its mind about a machine that is paid for.

How long spot capacity has been there is not recorded: it is taken to be `SINCE_H`, and how often it ends is scaled to
what was seen of the offer (`trust.Record`: terminations over hours, by provider, region, type and market).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite

from godwit.domain.ids import JobId
from godwit.domain.jobs import Job, JobKind, Resources, Spot
from godwit.domain.nodes import Node
from godwit.domain.offers import Offer
from godwit.scheduler import repair
from godwit.scheduler.feasibility import BOOT_S
from godwit.scheduler.market.expected import READY_S, RESTART_S, SAVES_EVERY_S
from godwit.scheduler.placement import offer_refusal
from godwit.scheduler.reasons import Code, Refusal
from godwit.scheduler.snapshot import Snapshot
from godwit.scheduler.spot import policy
from godwit.scheduler.spot.situation import Market, Place, Situation, Task, Where
from godwit.scheduler.spot.spells import NOTHING_SEEN, Lifetimes
from godwit.scheduler.trust import PRIOR_SPOT_HOURS, PRIOR_SPOT_LOSSES, UNKNOWN, Record

SINCE_H = 3.0
"""The age at which the prior of spells has a spot machine lost as often as the public traces had (`trust`): one in
four to five hours."""

ELSEWHERE = 0.5
"""In which share of losses another place has capacity at once, where there are several: nobody counts it yet."""

MOST = 32
"""Jobs that wait and are ruled in one plan, those with the nearest deadlines: a bound on its work. Others take what
costs least."""


@dataclass(frozen=True)
class Ruling:
    """What a job is planned to ask of spot machines, and why."""

    spot: Spot
    because: str


def of(snapshot: Snapshot, now: float) -> Mapping[JobId, Ruling]:
    """The rulings for jobs that wait; none for a job whose run time nobody knows, or with only one market to choose."""
    waiting = [job for job in snapshot.jobs if repair.waits(job) and is_ruled(job)]
    waiting.sort(key=lambda job: (job.spec.deadline_at or 0.0, job.id))
    kept: dict[JobId, list[Node]] = {}
    for node in snapshot.nodes if waiting else ():
        if node.reserved_for is not None:
            kept.setdefault(node.reserved_for, []).append(node)
    found, shelves = dict[JobId, Ruling](), Shelves(snapshot, now)
    for job in waiting[:MOST]:
        ruling = _by_nodes(kept[job.id]) if job.id in kept else _by_policy(job, shelves)
        if ruling is not None:
            found[job.id] = ruling
    return found


def obeyed(snapshot: Snapshot, rulings: Mapping[JobId, Ruling]) -> Snapshot:
    """The snapshot as if each job had asked for what was ruled."""
    if not rulings:
        return snapshot
    return replace(snapshot, jobs=tuple(_asking(job, rulings.get(job.id)) for job in snapshot.jobs))


def told(
    rulings: Mapping[JobId, Ruling], refusals: Mapping[JobId, tuple[Refusal, ...]]
) -> dict[JobId, tuple[Refusal, ...]]:
    """What jobs are told that wait, in the words of their rulings: not that they asked for what they did not."""
    return {job_id: _told(rulings.get(job_id), whys) for job_id, whys in refusals.items()}


class Shelves:
    """Offers that would do, looked for once for all jobs that ask alike."""

    def __init__(self, snapshot: Snapshot, now: float) -> None:
        self.snapshot, self.now = snapshot, now
        self._suitable: dict[Resources, list[Offer]] = {}
        self._to_be_had: dict[Resources, tuple[Offer | None, tuple[Place, ...]]] = {}

    def suitable(self, resources: Resources) -> list[Offer]:
        """Those that would do, whether they can be had now or not."""
        if resources not in self._suitable:
            self._suitable[resources] = [offer for offer in self.snapshot.offers if _suits(resources, offer)]
        return self._suitable[resources]

    def to_be_had(self, resources: Resources) -> tuple[Offer | None, tuple[Place, ...]]:
        """Of what could be bought now for the whole job: the cheapest on demand, and all on spot."""
        if resources not in self._to_be_had:
            nodes = resources.nodes_min
            had = [offer for offer in self.suitable(resources) if self._has(offer, nodes)]
            on_demand = (one for one in had if not one.spot)
            cheapest = min(on_demand, key=lambda one: (one.price_usd_per_hour, one.key), default=None)
            self._to_be_had[resources] = (cheapest, tuple(_place(one, nodes, self.snapshot) for one in had if one.spot))
        return self._to_be_had[resources]

    def _has(self, offer: Offer, nodes: int) -> bool:
        hold = self.snapshot.held.get(offer.key)
        return (hold is None or hold.until <= self.now) and (offer.capacity is None or offer.capacity >= nodes)


def situation(job: Job, shelves: Shelves, where: Where = Where.NOWHERE) -> Situation | None:
    """How a job with a deadline stands; None where nobody knows how long it runs, or nothing is sold on demand."""
    snapshot, now, resources = shelves.snapshot, shelves.now, job.spec.resources
    estimate, deadline_at = snapshot.estimate(job, now), job.spec.deadline_at
    if estimate is None or deadline_at is None or not isfinite(deadline_at):
        return None
    on_demand, places = shelves.to_be_had(resources)
    if on_demand is None or not on_demand.price_usd_per_hour:  # nothing is saved on what costs nothing
        return None
    nodes, left_h = resources.nodes_min, estimate.left_s / 3600
    past = snapshot.pasts.get(job.id)
    served_h = 0.0 if past is None else past.served_s / 3600
    changeover_h = _changeover_h(snapshot.records.get(on_demand.key, UNKNOWN))
    slow_h = BOOT_S.most / 3600
    task = Task(
        left_h + served_h, max(0.0, deadline_at - job.created_at) / 3600, changeover_h,
        nodes * on_demand.price_usd_per_hour, slow_h + snapshot.policy.lease_s / 3600,
    )  # fmt: skip
    market = _market(places, [one for one in shelves.suitable(resources) if one.spot], nodes)
    look_h = snapshot.policy.offers_every_s / 3600 + slow_h
    return Situation(task, left_h, (deadline_at - now) / 3600, market, places, where, 0.0, look_h)


def is_ruled(job: Job) -> bool:
    """Whether a job left the market to the planner and has a deadline to keep."""
    spec = job.spec
    return spec.kind is JobKind.TRAIN and spec.resources.spot is Spot.AUTO and spec.deadline_at is not None


def _by_nodes(nodes: list[Node]) -> Ruling | None:
    markets = {node.offer.spot for node in nodes}
    if len(markets) != 1:
        return None
    spot = Spot.ONLY if markets == {True} else Spot.NEVER
    return Ruling(spot, "nodes of this market are kept for it")


def _by_policy(job: Job, shelves: Shelves) -> Ruling | None:
    at = situation(job, shelves)
    # What is late in any case takes what costs least and waits for nothing, as jobs without a deadline do.
    if at is None or at.slack_h < 0 or not any(offer.spot for offer in shelves.suitable(job.spec.resources)):
        return None
    choice = policy.choose(at)
    # Waiting is for spot capacity: where that may not be tried any more there is nothing to wait for.
    waits = choice.where is not Where.ON_DEMAND and at.may_try_spot
    return Ruling(Spot.ONLY if waits else Spot.NEVER, choice.because)


def _asking(job: Job, ruling: Ruling | None) -> Job:
    if ruling is None:
        return job
    return replace(job, spec=replace(job.spec, resources=replace(job.spec.resources, spot=ruling.spot)))


def _told(ruling: Ruling | None, whys: tuple[Refusal, ...]) -> tuple[Refusal, ...]:
    if ruling is None:
        return whys
    market = "spot" if ruling.spot is Spot.ONLY else "on demand"
    mine = Refusal(Code.WRONG_MARKET, f"its deadline: {market} now", ruling.because, "wait, or say resources.spot")
    return (*(why for why in whys if why.code is not Code.WRONG_MARKET), mine)


def _suits(resources: Resources, offer: Offer) -> bool:
    price = offer.price_usd_per_hour
    return isfinite(price) and price >= 0 and offer_refusal(resources, offer, offer.key) is None


def _changeover_h(record: Record) -> float:
    """A new machine, a restart, and on average half of what is done between two checkpoints."""
    ready_s = (record.ready_s + READY_S) / (record.ready + 1)
    return (ready_s + RESTART_S + SAVES_EVERY_S / 2) / 3600


def _place(offer: Offer, nodes: int, snapshot: Snapshot) -> Place:
    record = snapshot.records.get(offer.key, UNKNOWN)
    times = nodes * record.losses_per_hour(is_spot=True) * PRIOR_SPOT_HOURS / PRIOR_SPOT_LOSSES
    return Place(offer.key, nodes * offer.price_usd_per_hour, SINCE_H, Lifetimes(times=times))


def _market(places: tuple[Place, ...], spot: list[Offer], nodes: int) -> Market:
    if places:
        cheapest = min(places, key=lambda one: (one.usd_per_hour, one.name))
        elsewhere = ELSEWHERE if len(places) > 1 else 0.0
        return Market(cheapest.usd_per_hour, SINCE_H, cheapest.lasts, NOTHING_SEEN, NOTHING_SEEN, elsewhere)
    price = min((one.price_usd_per_hour for one in spot), default=0.0)
    return Market(nodes * price, 0.0, Lifetimes(times=float(nodes)))
