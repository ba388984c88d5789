"""What moving a job saves and costs, in dollars:

    saving = (price there - price here) x hours that it still runs
    cost   = nodes that are paid twice + the time that it stands still + egress
    pays   when saving > `margin` x cost

Prices are those of an hour of work (`market.expected`): of a slower GPU, or one that is lost more often, an hour is
worth less. A node counts in part where others are on it too.
"""

from collections.abc import Iterable

from godwit.domain.ids import NodeId
from godwit.domain.jobs import Attempt, Data, Job
from godwit.domain.migrations import Sum
from godwit.domain.nodes import Node
from godwit.domain.offers import Offer
from godwit.domain.resources import WHOLE_GPU_MILLI, Infra
from godwit.scheduler import gravity
from godwit.scheduler.demands import Demand
from godwit.scheduler.market import Purchase, expected
from godwit.scheduler.market.expected import Work
from godwit.scheduler.snapshot import Snapshot
from godwit.scheduler.trust import UNKNOWN

GB = 1e9


def weigh(snapshot: Snapshot, job: Job, demand: Demand, attempt: Attempt, to: Purchase, now: float) -> Sum:
    """The inequality of moving `job` from where it runs to the nodes of a purchase."""
    policy, work = snapshot.policy.migration, Work.of(job, demand)
    here = [node for slot in attempt.slots if (node := snapshot.node_by_id.get(slot.node_id)) is not None]
    kept = [snapshot.node_by_id[node_id] for node_id in to.keep]
    from_usd = sum(_part(node, attempt, snapshot) * _rate(node.offer, snapshot, work) for node in here)
    offers = [*to.buy, *(node.offer for node in kept)]
    to_usd = sum(_rate(offer, snapshot, work) for offer in offers)
    left_h, left_by = left(snapshot, job, attempt, now)
    size = snapshot.saved_bytes.get(job.id, 0)
    egress = max((egress_rate(one, here) for one in offers), default=0.0)
    copy_h = size / GB / gravity.REACH_GB_PER_S / 3600
    ready_h = max((one.ready_s for one in to.bought), default=0.0) / 3600
    idle_h = snapshot.policy.idle_after_s / 3600
    stands_h = (policy.saves_s + policy.restarts_s + _unsaved_s(snapshot, attempt, now)) / 3600
    data_usd = max((gravity.egress_usd(job.spec.resources.data, one.provider, one.region) for one in offers
                    if not any(_is_beside(one, node.offer) for node in here)), default=0.0)  # fmt: skip
    return Sum(
        from_usd_per_hour=from_usd, to_usd_per_hour=to_usd, left_h=left_h, left_by=left_by,
        overlap_usd=to_usd * (ready_h + copy_h) + from_usd * idle_h,
        standstill_usd=max(from_usd, to_usd) * stands_h,
        egress_usd=egress * size / GB + data_usd, egress_usd_per_gb=egress, checkpoint_bytes=size,
    )  # fmt: skip


def left(snapshot: Snapshot, job: Job, attempt: Attempt, now: float) -> tuple[float, str]:
    """Hours that a job still runs, and who says so."""
    estimate = snapshot.estimate(job, now)
    if estimate is not None:
        return estimate.left_s / 3600, f"by {estimate.source}"
    horizon_s = snapshot.policy.migration.horizon_s
    left_s = max(0.0, min(horizon_s, (now - attempt.created_at) / 2))
    return left_s / 3600, "nobody says; half of what it ran, up to an hour"


def egress_rate(offer: Offer, here: Iterable[Node]) -> float:
    """Dollars for a gigabyte that comes to this offer from the nodes of a job: the dearest of their places.

    A job's checkpoints are taken to lie next to it.
    """
    places = {(node.offer.provider, node.offer.region) for node in here}
    gigabytes = ((Data(Infra(provider, region), 1.0),) for provider, region in places)
    return max((gravity.egress_usd(one, offer.provider, offer.region) for one in gigabytes), default=0.0)


def _rate(offer: Offer, snapshot: Snapshot, work: Work) -> float:
    """Dollars for what is an hour of work on the model that the job names first."""
    one = expected.of(offer, snapshot.records.get(offer.key, UNKNOWN), work)
    return offer.price_usd_per_hour * one.slowdown / one.speed


def _part(node: Node, attempt: Attempt, snapshot: Snapshot) -> float:
    """The part of a node's price that a job's leaving saves: all of it where nobody else is there."""
    others = any(_is_on(node.id, other) for other in snapshot.attempts if other.id != attempt.id)
    if not others or not node.offer.gpu_count:
        return 0.0 if others else 1.0
    milli = sum(len(slot.gpus) * slot.gpu_milli for slot in attempt.slots if slot.node_id == node.id)
    return min(1.0, milli / (WHOLE_GPU_MILLI * node.offer.gpu_count))


def _is_on(node_id: NodeId, attempt: Attempt) -> bool:
    return any(slot.node_id == node_id and not slot.released for slot in attempt.slots)


def _unsaved_s(snapshot: Snapshot, attempt: Attempt, now: float) -> float:
    """Work since the last checkpoint. Mostly it is saved once more; what cannot save does it again."""
    return max(0.0, now - max(snapshot.saved_at.get(attempt.job_id, 0.0), attempt.created_at))


def _is_beside(one: Offer, other: Offer) -> bool:
    return (one.provider, one.region) == (other.provider, other.region)
