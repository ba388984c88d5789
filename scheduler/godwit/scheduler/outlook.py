"""Where a waiting job stands, and between which instants it may start, as far as anything known tells."""

from dataclasses import dataclass
from math import inf, isinf

from godwit.domain.nodes import Node
from godwit.domain.offers import Offer
from godwit.scheduler import reservations
from godwit.scheduler.demands import Demand
from godwit.scheduler.engine import Engine
from godwit.scheduler.reservations import Horizon
from godwit.scheduler.snapshot import Snapshot

LATE = 2.0
"""A machine that took twice what its like take on average is late: boot times have a long tail, and no more than their
mean is recorded."""


@dataclass(frozen=True)
class Outlook:
    """`position` in the queue, from 1. It starts not before `earliest` and not after `latest`; None where unknown."""

    position: int
    earliest: float | None = None
    latest: float | None = None
    because: str = ""


class Outlooks:
    """Outlooks of the jobs of one plan."""

    def __init__(self, snapshot: Snapshot, engine: Engine, now: float) -> None:
        self._snapshot, self._engine, self._now = snapshot, engine, now

    def waits_for_nodes(self, position: int, coming: list[Node], bought: list[Offer]) -> Outlook:
        """Of a job whose nodes are on their way: when machines like these were ready before."""
        ages = [(node.offer, self._now - node.created_at) for node in coming] + [(offer, 0.0) for offer in bought]
        boots = [(self._boot_s(offer), age_s) for offer, age_s in ages]
        if not boots or any(boot_s is None for boot_s, _ in boots):
            return Outlook(position, because="its nodes are on their way, and none like them was ready before")
        left_s = max((boot_s or 0.0) - age_s for boot_s, age_s in boots)
        late_s = max(LATE * (boot_s or 0.0) - age_s for boot_s, age_s in boots)
        because = "its nodes are on their way, and such nodes took so long before"
        return Outlook(position, self._now + max(0.0, left_s), self._now + max(0.0, late_s), because)

    def waits_for_others(self, position: int, demand: Demand) -> Outlook:
        """Of a job that waits for what runs: soonest if nobody goes before it, at the latest where nodes are kept."""
        kept = self._engine.reservations().get(demand.job_id)
        found = kept or reservations.find(self._engine, Horizon(self._engine).refresh(), demand, self._now, inf)
        if found is None or isinf(found.at):
            return Outlook(position, because="nobody knows when what it waits for ends: run_time of a job would tell")
        earliest = self._now if kept is not None else found.at
        because = f"{len(found.rows)} nodes are expected to be free then"
        return Outlook(position, earliest, found.at if kept is not None else None, because)

    def _boot_s(self, offer: Offer) -> float | None:
        record = self._snapshot.records.get(offer.key)
        return None if record is None or not record.ready else record.ready_s / record.ready
