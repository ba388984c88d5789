"""Training gives nodes to a service that needs more replicas, and takes them back when they are free again.

A replica that finds no room may take what elastic jobs of its own or a lower priority hold beyond their fewest nodes:
they shrink, and nobody stops who would have to wait. It comes before all other claims, so that a spike ends no job
while there is anything to bend. What it does not find there it may still take by its priority, as any job may.
"""

import numpy as np
from godwit.scheduler.demands import Demand
from godwit.scheduler.holdings import Holdings, Mask
from godwit.scheduler.quotas import Quotas


class SpareNodes:
    """Claims of `LeastLost`, of replicas of services on nodes that elastic jobs can do without.

    Who would borrow takes from its own project and from borrowers only, as with every other claim.
    """

    def __init__(self, gate: Quotas) -> None:
        self._gate = gate

    def begin(self, held: Holdings, now: float) -> None:  # noqa: ARG002 - the protocol's signature
        """Remember the lowest priority of those that bend."""
        self._held = held
        there = held.priority[held.may_yield & (held.spare_nodes > 0)]
        self._lowest = int(there.min()) if len(there) else None

    def standing(self, demand: Demand, now: float) -> tuple[object, tuple[float, ...]]:  # noqa: ARG002
        """The priority, among the replicas of one project that may take from the same."""
        group = (demand.serves, demand.project, self._gate.borrows(demand, demand.nodes_min))
        return group, (-demand.priority,)

    def may_hope(self, demand: Demand, now: float) -> bool:  # noqa: ARG002
        """Whether it serves, and anybody of its priority or lower bends."""
        return demand.serves and self._lowest is not None and self._lowest <= demand.priority

    def may_take(self, demand: Demand, now: float) -> Mask:  # noqa: ARG002
        """By slot of the holdings, who may be taken nodes from."""
        held = self._held
        found: Mask = held.may_yield & (held.priority <= demand.priority) & (held.spare_nodes > 0)
        if self._gate.borrows(demand, demand.nodes_min):
            for slot in np.flatnonzero(found).tolist():
                other = held.engine.running[held.ids[slot]].demand
                found[slot] = other.project == demand.project or self._gate.borrows(other, 0)
        return found

    def lost_max_s(self, demand: Demand) -> float | None:  # noqa: ARG002
        """None: its users wait now."""
        return None
