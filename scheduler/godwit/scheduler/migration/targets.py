"""Where a job that is to move goes: free nodes and offers of one place, chosen as for any gang that waits."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from godwit.domain.ids import NodeId
from godwit.domain.jobs import Attempt, Job
from godwit.domain.migrations import Migration, MigrationState, Sum
from godwit.domain.nodes import Node, NodeState
from godwit.domain.resources import Infra
from godwit.scheduler import fleet as fleets
from godwit.scheduler.demands import Demand
from godwit.scheduler.market import COMING, Market, Purchase
from godwit.scheduler.migration import sums
from godwit.scheduler.migration.actions import MoveMigration
from godwit.scheduler.plan import Action, BuyNode, ReserveNode
from godwit.scheduler.reasons import Refusal
from godwit.scheduler.snapshot import Snapshot

_USABLE = frozenset({NodeState.READY, *COMING})

TOLD_MAX = 3
"""Refusals that a migration is told which goes nowhere; `godwit offers` shows the others."""


@dataclass(frozen=True)
class Target:
    """Where a job goes, and what that saves and costs."""

    job: Job
    demand: Demand
    purchase: Purchase
    sum: Sum


def held(snapshot: Snapshot, migration: Migration) -> list[Node]:
    """The nodes that are kept for a migration, ready or on their way; what was lost of them is left out."""
    nodes = (node for node in snapshot.nodes if node.reserved_for == migration.job_id)
    return [node for node in nodes if node.state in _USABLE and not node.gone and _is_there(node, migration)]


def _is_there(node: Node, migration: Migration) -> bool:
    """Whether a node lies where the job is to go: what was kept for it to grow by before does not count."""
    offer, to = node.offer, migration.to
    return to is None or to.covers(offer.provider, offer.region, offer.zone)


def size(attempt: Attempt) -> int:
    """How many nodes a job that moves needs: as many as it has."""
    return len(attempt.staying)


def purchases(snapshot: Snapshot, market: Market, now: float) -> Iterator[Action]:
    """Keep and buy what migrations lack that have just begun, or whose purchases were refused."""
    for migration in snapshot.migrations:
        attempt = snapshot.attempt_by_job.get(migration.job_id)
        if attempt is None or migration.state not in {MigrationState.PLANNED, MigrationState.PREPARING}:
            continue
        have = held(snapshot, migration)
        if migration.copies or len(have) >= size(attempt):
            continue
        found = find(snapshot, market, snapshot.job_by_id[migration.job_id], attempt, migration.to, now)
        why = found if isinstance(found, str) else _useless(found, migration)
        if migration.state is MigrationState.PLANNED and why is not None:
            yield MoveMigration(migration.id, MigrationState.FAILED, why)
        elif isinstance(found, Target) and why is None:
            yield from _prepare(found, migration, market, {node.id for node in have})


def find(snapshot: Snapshot, market: Market, job: Job, attempt: Attempt, to: Infra | None, now: float) -> Target | str:
    """The cheapest place for a running job within `to` (None: anywhere), or why there is none."""
    count = size(attempt)
    infra = job.spec.resources.infra if to is None else (to,)
    resources = replace(job.spec.resources, infra=infra, nodes_min=count, nodes_max=count)
    moved = replace(job, spec=replace(job.spec, resources=resources))
    demand = fleets.demand_of(moved, snapshot, now)
    purchase, refusals = market.choose(moved, demand)
    where = "anywhere" if to is None else str(to)
    if purchase is None:
        return f"{count} node(s) with {resources.gpus} cannot be had {where}: {_told(refusals)}"
    here = {slot.node_id for slot in attempt.slots}
    if here.intersection(purchase.keep):
        return f"it runs {where} already; name another place"
    return Target(moved, demand, purchase, sums.weigh(snapshot, job, demand, attempt, purchase, now))


def _useless(target: Target, migration: Migration) -> str | None:
    """Why a move that nobody named a place for is not worth it."""
    if migration.to is not None or target.sum.saving_usd_per_hour > 0:
        return None
    return f"nowhere costs less: {target.sum}"


def _prepare(target: Target, migration: Migration, market: Market, have: set[NodeId]) -> Iterator[Action]:
    market.book(target.purchase, target.job, target.demand)
    job_id, purchase = migration.job_id, target.purchase
    if migration.state is MigrationState.PLANNED:
        where = purchase_text(purchase)
        yield MoveMigration(migration.id, MigrationState.PREPARING, f"{where}: {target.sum}", target.sum)
    for node_id in purchase.keep:
        if node_id not in have:
            yield ReserveNode(node_id, job_id, f"job {job_id} moves there")
    for offer in purchase.buy:
        yield BuyNode(offer, job_id, f"job {job_id} moves there; {purchase.because(offer)}", purchase.arithmetic(offer))


def purchase_text(purchase: Purchase) -> str:
    """What is kept and bought, for a person."""
    parts = [f"{len(purchase.keep)} node(s) that are free are kept"] if purchase.keep else []
    for key in dict.fromkeys(offer.key for offer in purchase.buy):
        parts.append(f"{sum(offer.key == key for offer in purchase.buy)} x {key} bought")
    return " and ".join(parts)


def _told(refusals: list[Refusal]) -> str:
    told = [f"{one.subject} {one.message}" for one in refusals[:TOLD_MAX]]
    more = f", and {len(refusals) - TOLD_MAX} more" if len(refusals) > TOLD_MAX else ""
    return "; ".join(told) + more if told else "nothing is sold there now"
