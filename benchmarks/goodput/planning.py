"""Plans for a fleet of thousands, each time that anything happens, at a price that a benchmark can pay.

`exact`: each plan is `planner.plan` of the whole snapshot. Otherwise it is made in two steps that call the same code:
what a new finding or an incident that begins may call for is decided by `health.decide` from the whole snapshot, since
the breaker counts the whole fleet. All else is `planner.plan` of a snapshot without the machines that nothing is known
of and that the job holds, or held last: the job is so much smaller there, and gets them back when it is placed.
"""

from dataclasses import replace

from godwit.domain.health import IncidentState
from godwit.domain.ids import NodeId
from godwit.domain.jobs import Attempt, Job, Slot
from godwit.scheduler import planner
from godwit.scheduler.health import decide as health
from godwit.scheduler.plan import Plan, StartAttempt
from godwit.scheduler.snapshot import Snapshot

from benchmarks.goodput.rows import GPUS, Rows

SEED = 7
LEAST = 2
"""Machines of the job that stay in the smaller snapshot, whatever is known of them."""

BEGINS = frozenset({IncidentState.OPEN, IncidentState.HELD})
"""States in which an incident may ask the breaker."""


class Planning:
    """Makes plans from rows."""

    def __init__(self, rows: Rows, *, exact: bool) -> None:
        self._rows, self._exact = rows, exact
        self.plans = 0

    def plan(self, now: float) -> Plan:
        """What to do now."""
        self.plans += 1
        snapshot = self._rows.snapshot()
        if self._exact:
            return planner.plan(snapshot, now, SEED)
        view = snapshot.health
        if any(not one.decided for one in view.findings) or any(one.state in BEGINS for one in view.incidents):
            actions = tuple(health.decide(snapshot, now))
            if actions:
                return Plan(actions, wake_at=now)
        left_out = self._left_out()
        plan = planner.plan(self._without(snapshot, left_out), now, SEED)
        actions = tuple(
            replace(one, slots=(*one.slots, *self._slots(left_out, len(one.slots))))
            if isinstance(one, StartAttempt)
            else one
            for one in plan.actions
        )
        return replace(plan, actions=actions)

    def _left_out(self) -> frozenset[NodeId]:
        rows, odd = self._rows, self._rows.odd()
        quiet = [node_id for node_id in rows.gang if node_id not in odd]
        return frozenset(quiet[LEAST:])

    def _without(self, snapshot: Snapshot, left_out: frozenset[NodeId]) -> Snapshot:
        if not left_out:
            return snapshot
        return replace(
            snapshot,
            nodes=tuple(node for node in snapshot.nodes if node.id not in left_out),
            jobs=tuple(_smaller(job, len(left_out)) for job in snapshot.jobs),
            attempts=tuple(_without(attempt, left_out) for attempt in snapshot.attempts),
        )

    def _slots(self, left_out: frozenset[NodeId], first: int) -> tuple[Slot, ...]:
        nodes = [self._rows.nodes[node_id] for node_id in self._rows.gang if node_id in left_out]
        return tuple(
            Slot(node.id, first + number, tuple(range(GPUS)), node.address or "") for number, node in enumerate(nodes)
        )


def _smaller(job: Job, by: int) -> Job:
    resources = job.spec.resources
    fewer = replace(resources, nodes_min=resources.nodes_min - by, nodes_max=resources.nodes_max - by)
    return replace(job, spec=replace(job.spec, resources=fewer))


def _without(attempt: Attempt, left_out: frozenset[NodeId]) -> Attempt:
    return replace(attempt, slots=tuple(slot for slot in attempt.slots if slot.node_id not in left_out))
