"""Whom a quota lets a demand take, wherever they run: the claims of a project on what others borrow, and on its own.

`preemption.LeastLost(Entitled(quotas))` frees nodes for a demand that its quota allows and that finds no room;
`reclaim.Reclaim` asks the same when a quota and a full fleet are in the way at once.
"""

import numpy as np
from godwit.scheduler.demands import Demand, Running
from godwit.scheduler.holdings import NOBODY, Holdings, Mask
from godwit.scheduler.quotas import Quotas


class Entitled:
    """Claims of `preemption.LeastLost`. A demand within its project's own amount may take of those who borrow, each as
    much as it borrows and what loses least first; and of its own project what is less urgent.
    """

    def __init__(self, quotas: Quotas, *, passes_less_urgent: bool = True) -> None:
        self._quotas, self._passes = quotas, passes_less_urgent

    def begin(self, held: Holdings, now: float) -> None:  # noqa: ARG002 - the protocol's signature
        """Remember who holds what."""
        self._held = held

    def standing(self, demand: Demand, now: float) -> tuple[object, tuple[float, ...]]:  # noqa: ARG002
        """Within a project the more urgent may take whatever the less urgent may."""
        return (demand.project, self._quotas.borrows(demand, demand.nodes_min)), (-demand.priority,)

    def may_hope(self, demand: Demand, now: float) -> bool:  # noqa: ARG002
        """Whether its project runs anything less urgent, or anybody borrows what is its own."""
        if self._passes and self._quotas.has_less_urgent(demand):
            return True
        return not self._quotas.borrows(demand, demand.nodes_min) and bool(self._quotas.borrowers(demand))

    def may_take(self, demand: Demand, now: float) -> Mask:
        """By slot of the holdings, who may be taken."""
        held = self._held
        found: Mask = np.zeros(len(held.ids), np.bool_)
        if not self._quotas.borrows(demand, demand.nodes_min):
            for project in self._quotas.borrowers(demand):
                found[self._borrowed(project, now)] = True
        if self._passes:
            mine = (held.slot_of.get(job_id, NOBODY) for job_id in self._quotas.holders.get(demand.project, ()))
            found[[slot for slot in mine if held.priority[slot] < demand.priority]] = True
        return found & held.may_yield

    def lost_max_s(self, demand: Demand) -> float | None:  # noqa: ARG002
        """None: what is a project's own is its own."""
        return None

    def _borrowed(self, project: str, now: float) -> list[int]:
        """Slots of jobs that may go until their project borrows no more, what loses least per GPU first."""
        there = [running for job_id in self._quotas.holders.get(project, ()) if (running := self._running(job_id))]
        there.sort(key=lambda running: (now - running.saved_at, running.demand.priority, running.demand.job_id))
        gone: list[Running] = []
        for running in there:
            if not self._quotas.exceeds(project):
                break
            self._quotas.book(running.demand, -len(running.shares))
            gone.append(running)
        for running in gone:
            self._quotas.book(running.demand, len(running.shares))
        return [self._held.slot_of[running.demand.job_id] for running in gone]

    def _running(self, job_id: str) -> Running | None:
        slot = self._held.slot_of.get(job_id)
        return self._held.engine.running.get(job_id) if slot is not None and self._held.may_yield[slot] else None
