"""`plan(snapshot, now, seed) -> Plan`: the one place where godwit decides anything. Pure.

The stages run in the order in which they may contradict each other: first what is known to be lost or over, and only
when that is settled, who gets what. A plan whose first stages found something says no more; the shell writes it down
and asks again, so that every stage sees a snapshot without unfinished business.
"""

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from godwit.domain.ids import JobId, NodeId
from godwit.domain.jobs import Job, Slot
from godwit.domain.offers import Offer
from godwit.scheduler import fleet as fleets
from godwit.scheduler import market, placement, queue, release, repair, warm
from godwit.scheduler.bounds import Room
from godwit.scheduler.fleet import Fleet
from godwit.scheduler.plan import Action, BuyNode, Plan, ReserveNode, StartAttempt, TerminateNode
from godwit.scheduler.reasons import Code, Refusal
from godwit.scheduler.snapshot import Snapshot

PORTS = range(20_000, 30_000, 4)
"""Where heads put their four ports: below Linux's ephemeral range (32768 on), above what services use."""

MAX_REFUSALS = 50
"""Refusals kept per job; the rest are counted in one line."""


def plan(snapshot: Snapshot, now: float, seed: int) -> Plan:
    """Decide what to do now. Equal arguments give equal plans, whatever the order of the snapshot's tuples."""
    snapshot = snapshot.in_order()
    settled = [*repair.nodes(snapshot, now), *repair.attempts(snapshot, now), *repair.jobs(snapshot)]
    if settled:
        return Plan(tuple(settled), wake_at=now)
    actions: list[Action] = list(release.idle(snapshot, now))
    released = {action.node_id for action in actions if isinstance(action, TerminateNode)}
    placed, refusals = _serve_queue(snapshot, now, seed, released)
    actions += placed
    # Last of all: what was just decided changes which nodes are idle, and nobody waits for a warm one.
    actions = actions or list(warm.purchases(snapshot, refusals.values(), now))
    return Plan(tuple(actions), refusals, _wake_at(snapshot, now))


def preview(snapshot: Snapshot, job: Job, now: float, seed: int) -> Plan:
    """What `job` would get, or gets told, if the queue were served now; nothing is settled first. Pure."""
    others = tuple(other for other in snapshot.jobs if other.id != job.id)
    actions, refusals = _serve_queue(replace(snapshot, jobs=(*others, job)).in_order(), now, seed, ())
    mine = tuple(a for a in actions if isinstance(a, BuyNode | StartAttempt | ReserveNode) and a.job_id == job.id)
    return Plan(mine, {job.id: refusals.get(job.id, ())})


def _serve_queue(
    snapshot: Snapshot, now: float, seed: int, excluded: Iterable[NodeId]
) -> tuple[list[Action], dict[JobId, tuple[Refusal, ...]]]:
    fleet, stock = fleets.free_of(snapshot), market.Stock(Room(snapshot.policy.bounds, snapshot.nodes))
    for node_id in excluded:
        fleet.by_id.pop(node_id, None)
    ports = {attempt.port for attempt in snapshot.attempts}
    actions: list[Action] = []
    refusals: dict[JobId, tuple[Refusal, ...]] = {}
    for job in queue.order(job for job in snapshot.jobs if repair.waits(job)):
        attempt = snapshot.attempt_by_job.get(job.id)
        if attempt is not None:
            refusals[job.id] = (_fencing(attempt.id),)
            continue
        slots = placement.place(job, fleet)
        if slots is not None:
            fleet.take(slots, job.spec.resources)
            port = _port(seed, job, ports)
            ports.add(port)
            actions.append(StartAttempt(job.id, job.epoch + 1, slots, port, _placed_because(job, slots, fleet)))
            continue
        bought, why = _buy(job, snapshot, fleet, stock, now)
        actions += bought
        refusals[job.id] = why
    return actions, refusals


def _buy(
    job: Job, snapshot: Snapshot, fleet: Fleet, stock: market.Stock, now: float
) -> tuple[list[Action], tuple[Refusal, ...]]:
    """Buy what the gang lacks, and say what it waits for meanwhile."""
    on_nodes = [r for free in fleet.by_id.values() if (r := placement.node_refusal(job, free)) is not None]
    purchase, on_market = market.choose(job, snapshot, fleet, stock, now)
    if purchase is None:
        none = [] if snapshot.offers else [_no_offers()]
        return [], _shortened(none + sorted(on_market + on_nodes, key=lambda r: (_ORDER[r.code], r.subject)))
    stock.take(purchase.buy)
    actions: list[Action] = []
    kept = {free.node.id for free in purchase.keep}
    for free in fleet.by_id.values():
        if free.node.id in kept and free.reserved_for is None:
            actions.append(ReserveNode(free.node.id, job.id, f"job {job.id} waits for the rest of its gang"))
        elif free.reserved_for == job.id and free.node.id not in kept:
            actions.append(ReserveNode(free.node.id, None, f"job {job.id} gathers its gang elsewhere"))
    for free in purchase.keep:
        free.reserved_for = job.id
    actions += [BuyNode(offer, job.id, _bought_because(offer, purchase)) for offer in purchase.buy]
    waits_for = [r for r in on_nodes if r.subject.removeprefix("node ") in kept]
    waits_for += [
        Refusal(Code.NOT_READY, o.key, "is being bought for this job", "wait until it boots") for o in purchase.buy
    ]
    return actions, _shortened(waits_for)


def _bought_because(offer: Offer, purchase: market.Purchase) -> str:
    count = len(purchase.buy)
    return (
        f"cheapest that completes the gang: {count} to buy at ${purchase.price_usd_per_hour:.2f}/h in all, "
        f"this one {offer.key} at ${offer.price_usd_per_hour:.2f}/h"
        + ("; its provider lost a node lately, but nothing else will do" if purchase.recently_lost else "")
    )


def _placed_because(job: Job, slots: tuple[Slot, ...], fleet: Fleet) -> str:
    providers = Counter(fleet.by_id[slot.node_id].node.offer.provider for slot in slots)
    where = ", ".join(f"{count} on {provider}" for provider, count in sorted(providers.items()))
    return f"{len(slots)} node(s) with {job.spec.resources.gpus} free together: {where}"


def _port(seed: int, job: Job, taken: set[int]) -> int:
    rng = random.Random(f"{seed}/{job.id}/{job.epoch + 1}")  # noqa: S311 - a port is not a secret
    while (port := rng.choice(PORTS)) in taken and len(taken) < len(PORTS) // 2:
        pass
    return port


_ORDER = {code: rank for rank, code in enumerate(Code)}
"""The order in which `Code` lists them: what time may lift first, what only a change of the job lifts last."""


def _shortened(refusals: list[Refusal]) -> tuple[Refusal, ...]:
    if len(refusals) <= MAX_REFUSALS:
        return tuple(refusals)
    rest = len(refusals) - MAX_REFUSALS
    return (*refusals[:MAX_REFUSALS], Refusal(refusals[-1].code, f"{rest} more", "refuse it for like reasons"))


def _fencing(attempt_id: str) -> Refusal:
    return Refusal(
        Code.FENCING, f"attempt {attempt_id}", "may still run somewhere", "wait until its nodes stop or its lease ends"
    )


def _no_offers() -> Refusal:
    return Refusal(Code.NO_OFFERS, "all providers", "none has offered anything yet", "`godwit providers` says why")


def _wake_at(snapshot: Snapshot, now: float) -> float | None:
    instants = [
        *repair.next_deadlines(snapshot, now),
        *release.next_deadlines(snapshot, now),
        *(hold.until for hold in snapshot.holds),
    ]
    return min((at for at in instants if at > now), default=None)
