"""Plans for a fleet of thousands, each time that anything happens, at a price that a benchmark can pay.

`exact`: each plan is `planner.plan` of the whole snapshot. Otherwise it is `planner.plan` of a snapshot without the
machines that nothing is known of and that the job holds, or held last: the job is so much smaller there, and gets them
back when it is placed; the breaker is told how many they are. Only a loss that is no number is judged with the whole
fleet, since all of the job's machines may be tested for it.
"""

from collections import Counter
from collections.abc import Set as AbstractSet
from dataclasses import replace
from itertools import islice

from godwit.domain.ids import NodeId
from godwit.domain.jobs import Job, Slot
from godwit.scheduler import planner
from godwit.scheduler.health.breaker import Scope
from godwit.scheduler.plan import Plan, StartAttempt
from godwit.scheduler.snapshot import Snapshot

from benchmarks.goodput.rows import GPUS, PROVIDER, Rows

SEED = 7
EIGHT = tuple(range(GPUS))
LEAST = 2
"""Machines of the job that stay in the smaller snapshot, whatever is known of them."""


class Planning:
    """Makes plans from rows."""

    def __init__(self, rows: Rows, *, exact: bool) -> None:
        self._rows, self._exact = rows, exact
        self.plans = 0

    def plan(self, now: float) -> Plan:
        """What to do now."""
        self.plans += 1
        left_out = set() if self._exact else self._left_out()
        plan = planner.plan(self._without(left_out), now, SEED)
        if not left_out or not any(isinstance(one, StartAttempt) for one in plan.actions):
            return plan
        actions = (
            replace(one, slots=(*one.slots, *self._slots(left_out, len(one.slots))))
            if isinstance(one, StartAttempt)
            else one
            for one in plan.actions
        )
        return replace(plan, actions=tuple(actions))

    def _left_out(self) -> set[NodeId]:
        rows = self._rows
        if any(one.check == "loss" and not one.decided for one in rows.findings.values()):
            return set()
        odd = rows.odd()
        stay = islice((node_id for node_id in rows.gang if node_id not in odd), LEAST)
        return set(rows.gang).difference(odd, stay)

    def _without(self, left_out: AbstractSet[NodeId]) -> Snapshot:
        rows, snapshot = self._rows, self._rows.snapshot(left_out)
        if not left_out:
            return snapshot
        there = Counter(node.offer.fabric_domain or "" for node in snapshot.nodes)
        beside: dict[Scope, int] = {
            ("fabric", f"{PROVIDER}/{domain}"): count for domain, count in (rows.sizes - there).items()
        }
        beside |= {("fleet", ""): len(left_out), ("provider", PROVIDER): len(left_out)}
        return replace(
            snapshot,
            jobs=tuple(_smaller(job, len(left_out)) for job in snapshot.jobs),
            health=replace(snapshot.health, beside=beside),
        )

    def _slots(self, left_out: AbstractSet[NodeId], first: int) -> tuple[Slot, ...]:
        nodes = (self._rows.nodes[node_id] for node_id in self._rows.gang if node_id in left_out)
        return tuple(Slot(node.id, first + number, EIGHT, node.address or "") for number, node in enumerate(nodes))


def _smaller(job: Job, by: int) -> Job:
    resources = job.spec.resources
    fewer = replace(resources, nodes_min=resources.nodes_min - by, nodes_max=resources.nodes_max - by)
    return replace(job, spec=replace(job.spec, resources=fewer))
