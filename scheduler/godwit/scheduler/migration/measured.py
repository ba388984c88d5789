"""What came of a migration: the saving and the cost as they were, in the same terms as they were predicted."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from godwit.domain.jobs import Attempt, AttemptState
from godwit.domain.migrations import Migration
from godwit.domain.nodes import Node, NodeState

GB = 1e9
_OVER = frozenset({NodeState.TERMINATING, NodeState.TERMINATED, NodeState.FAILED})


@dataclass(frozen=True)
class Measured:
    """Dollars, over the `hours` that the job worked on its new nodes so far."""

    hours: float
    saving_usd: float
    overlap_usd: float
    standstill_usd: float
    egress_usd: float

    @property
    def cost_usd(self) -> float:
        """What moving cost."""
        return self.overlap_usd + self.standstill_usd + self.egress_usd

    @property
    def net_usd(self) -> float:
        """What is left of the saving; below 0 while it has not paid yet."""
        return self.saving_usd - self.cost_usd


def measured(migration: Migration, attempts: Sequence[Attempt], left: Iterable[Node], now: float) -> Measured | None:
    """What came of a migration so far; None before the job worked there. `left` are the nodes that it left.

    The saving counts while the attempt lasts that it led to. Paid twice is what the new nodes cost from when the first
    of them was asked for until the job was told to stop, and the old ones from then until they went back, or were of
    use to others; standing still is the downtime.
    """
    there = next((a for a in attempts if a.epoch == migration.from_epoch + 1), None)
    if migration.working_at is None or migration.switched_at is None or there is None:
        return None
    until = there.state_since if there.state is AttemptState.ENDED else now
    hours = max(0.0, until - migration.working_at) / 3600
    twice = migration.to_paid_s(migration.switched_at) / 3600 * migration.sum.to_usd_per_hour
    for node in left:
        twice += node.offer.price_usd_per_hour * _idle_s(node, migration.switched_at, now) / 3600
    price = max(migration.sum.from_usd_per_hour, migration.sum.to_usd_per_hour)
    return Measured(
        hours=hours,
        saving_usd=migration.sum.saving_usd_per_hour * hours,
        overlap_usd=twice,
        standstill_usd=price * (migration.downtime_s or 0.0) / 3600,
        egress_usd=migration.sum.egress_usd_per_gb * migration.moved_bytes / GB,
    )


def _idle_s(node: Node, since: float, now: float) -> float:
    """How long a node was paid after a job was told to leave it and before anybody else used it or it went back."""
    if node.state in _OVER:
        return max(0.0, node.state_since - since)
    return max(0.0, now - since) if node.idle_since is not None else 0.0
