"""What replaces machines that are taken back is bought while what ran there still saves. Pure."""

from collections.abc import Iterator
from dataclasses import replace

from godwit.domain.jobs import Attempt, Job, Outcome
from godwit.domain.nodes import Node, NodeState
from godwit.domain.resources import Infra
from godwit.scheduler import fleet as fleets
from godwit.scheduler import notices
from godwit.scheduler.market import COMING, Market
from godwit.scheduler.plan import Action, BuyNode, ReserveNode
from godwit.scheduler.snapshot import Snapshot

_USABLE = frozenset({NodeState.READY, *COMING})


def purchases(snapshot: Snapshot, market: Market, now: float) -> Iterator[Action]:
    """Keep and buy what replaces nodes that are taken back, while what ran there still saves.

    For a job that waits for its own attempt to stop; later it is served like any other, and what is kept for it counts.
    """
    for attempt in snapshot.attempts:
        job = snapshot.job_by_id.get(attempt.job_id)
        going = notices.leaving(attempt, snapshot)
        if job is None or attempt.outcome is not Outcome.EVICTED or not going:
            continue
        kept = sum(node.reserved_for == job.id and _will_do(node) for node in snapshot.nodes)
        if len(going) > kept:
            yield from _replace(snapshot, market, job, attempt, len(going) - kept, now)


def _will_do(node: Node) -> bool:
    return not node.gone and node.leaves_at is None and node.state in _USABLE


def _replace(
    snapshot: Snapshot, market: Market, job: Job, attempt: Attempt, count: int, now: float
) -> Iterator[Action]:
    """So many nodes as leave; beside those of the gang that stay, where any do."""
    staying = [snapshot.node_by_id.get(slot.node_id) for slot in attempt.slots]
    near = next((node for node in staying if node is not None and node.leaves_at is None), None)
    infra = job.spec.resources.infra if near is None else (Infra(near.offer.provider, near.offer.region),)
    resources = replace(job.spec.resources, infra=infra, nodes_min=count, nodes_max=count)
    part = replace(job, spec=replace(job.spec, resources=resources))
    demand = fleets.demand_of(part, snapshot, now)
    purchase, _ = market.choose(part, demand)
    if purchase is None:
        return  # nothing to be had: the job is told why when it is its turn
    market.book(purchase, part, demand)
    for node_id in purchase.keep:
        yield ReserveNode(node_id, job.id, f"job {job.id} goes on there: a machine of it is taken back")
    for offer in purchase.buy:
        why = f"a machine of job {job.id} is taken back; {purchase.because(offer)}"
        yield BuyNode(offer, job.id, why, purchase.arithmetic(offer))
