"""Buying for several waiting jobs at once: how near the planner comes to an exact optimum, and what each costs in time.

Instances are small: 4 to 20 jobs, a third of them gangs, and 8 to 20 offers of machines with 1, 2, 4 or 8 GPUs, whose
prices per GPU differ by a factor of two, some with few to be had. All are on demand and untried, so that dollars an
hour and expected dollars for an hour of work are one order. The optimum is HiGHS's (see `exact_purchase`).
"""

import random
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace

from godwit.domain.ids import JobId, ProviderName
from godwit.domain.jobs import Fabric, Job, JobSpec, JobState, Resources
from godwit.domain.offers import Offer
from godwit.domain.projects import DEFAULT
from godwit.domain.resources import GpuAsk
from godwit.scheduler import planner
from godwit.scheduler.asks import Ask, NodeKind
from godwit.scheduler.market import Stock
from godwit.scheduler.market.shelf import place
from godwit.scheduler.market.stock import Spare, Spares
from godwit.scheduler.plan import BuyNode
from godwit.scheduler.reasons import Code, Refusal
from godwit.scheduler.snapshot import Snapshot

from benchmarks import exact_purchase
from benchmarks.figures import Figure, at_most

INSTANCES = 50
NOW = 1_000.0
_SHAPES = {1: (24, 200.0), 2: (48, 400.0), 4: (96, 800.0), 8: (200, 1800.0)}
_NOTHING = Refusal(Code.NOT_READY, "", "", "")


def measure(instances: int = INSTANCES) -> Iterator[Figure]:
    """Ratios to the optimum, and times."""
    planned, alone, plan_s, exact_s = [], [], [], []
    for seed in range(instances):
        snapshot = instance(seed)
        began = time.perf_counter()
        usd = planned_usd(snapshot)
        plan_s.append(time.perf_counter() - began)
        began = time.perf_counter()
        least = exact_purchase.least_usd_per_hour(snapshot.jobs, snapshot.offers)
        exact_s.append(time.perf_counter() - began)
        planned.append(usd / least)
        alone.append(in_order_usd(snapshot) / least)
    note = f"dollars an hour above HiGHS's optimum, {instances} queues of 4 to 20 jobs among 8 to 20 offers"
    by_turn = "baseline: each in turn the cheapest"
    yield Figure("joint purchase: planner, mean", _percent(statistics.mean(planned)), "%", at_most(5.0), note)
    yield Figure("joint purchase: planner, worst", _percent(max(planned)), "%")
    yield Figure("joint purchase: in order, mean", _percent(statistics.mean(alone)), "%", note=by_turn)
    yield Figure("joint purchase: in order, worst", _percent(max(alone)), "%", note=by_turn)
    yield Figure("joint purchase: a plan, median", 1000 * statistics.median(plan_s), "ms", note="the whole planner")
    yield Figure("joint purchase: a plan, worst", 1000 * max(plan_s), "ms", at_most(50.0))
    yield Figure("joint purchase: the optimum, median", 1000 * statistics.median(exact_s), "ms", note="HiGHS")
    yield Figure("joint purchase: the optimum, worst", 1000 * max(exact_s), "ms", note="HiGHS")


def _percent(ratio: float) -> float:
    return 100 * (ratio - 1)


def instance(seed: int) -> Snapshot:
    """A queue that the fleet cannot hold, as there is no fleet, and a market that can."""
    rng = random.Random(seed)
    offers = [_offer(rng, number) for number in range(rng.randint(8, 20))]
    # Of the largest machines there are plenty somewhere, so that nobody goes without and sums can be compared.
    plenty = replace(_offer(rng, 99, gpus=8), capacity=None)
    jobs = [_job(rng, number) for number in range(rng.randint(4, 20))]
    return Snapshot(jobs=tuple(jobs), offers=(*offers, plenty))


def planned_usd(snapshot: Snapshot) -> float:
    """What the planner buys, in dollars an hour."""
    made = planner.plan(snapshot, NOW, 1)
    unserved = [job_id for job_id, told in made.refusals.items() if any(one.code is not Code.NOT_READY for one in told)]
    if unserved:
        raise RuntimeError(
            f"{unserved} got nothing, so that the sums cannot be compared: give the market more capacity"
        )
    return sum(action.offer.price_usd_per_hour for action in made.actions if isinstance(action, BuyNode))


def in_order_usd(snapshot: Snapshot) -> float:
    """What is bought when each job in turn takes what others leave, or else the cheapest for itself."""
    stock, spares, total = Stock(), Spares(), 0.0
    for job in sorted(snapshot.jobs, key=lambda job: (job.created_at, job.id)):
        resources = job.spec.resources
        ask = Ask.of(resources)
        if resources.nodes_min == 1 and spares.take(ask) is not None:
            continue
        bought = _cheapest(resources, ask, snapshot, stock)
        stock.take(bought)
        total += sum(offer.price_usd_per_hour for offer in bought)
        for offer in bought:
            spare = Spare.all_of(NodeKind.of(offer), _NOTHING)
            spare.take(ask)
            spares.add(spare)
    return total


def _cheapest(resources: Resources, ask: Ask, snapshot: Snapshot, stock: Stock) -> list[Offer]:
    usable = sorted(
        (offer for offer in snapshot.offers if ask.suits(NodeKind.of(offer))), key=lambda one: one.price_usd_per_hour
    )
    found: list[list[Offer]] = []
    for where in sorted({place(resources, offer) for offer in usable}):
        there = [offer for offer in usable if place(resources, offer) == where]
        several = [one for offer in there for one in [offer] * min(resources.nodes_min, stock.left(offer))]
        if len(several) >= resources.nodes_min:
            found.append(several[: resources.nodes_min])
    return min(found, key=lambda offers: sum(offer.price_usd_per_hour for offer in offers))


def _offer(rng: random.Random, number: int, gpus: int | None = None) -> Offer:
    count = gpus or rng.choice([1, 2, 4, 8])
    cpus, memory_gib = _SHAPES[count]
    price = round(count * rng.uniform(2.0, 4.0), 2)
    capacity = rng.choice([None, None, 1, 2, 4])
    where = f"f{rng.randint(1, 3)}"
    provider = ProviderName(rng.choice(["p", "q"]))
    return Offer(
        provider, "r", None, f"t{number}", "H100-SXM", count, 80.0, cpus, memory_gib, price, capacity=capacity,
        fabric_domain=where,
    )  # fmt: skip


def _job(rng: random.Random, number: int) -> Job:
    is_gang = rng.random() < 0.33
    nodes = rng.choice([2, 3, 4]) if is_gang else 1
    gpus = rng.choice([4, 8, 8]) if is_gang else rng.choice([1, 1, 1, 2, 2, 4, 8])
    cpus = gpus * rng.choice([0, 8, 16])
    resources = Resources(GpuAsk(gpus, ("H100",)), nodes, nodes, cpus, fabric=Fabric.ONE)
    spec = JobSpec(f"j{number}", "true", resources=resources)
    return Job(JobId(f"j{number:02}"), DEFAULT, spec, JobState.QUEUED, float(number), float(number))
