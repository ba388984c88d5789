"""What is done about sizes once the queue is served: nodes gathered, bought, given to a job, or taken back from it.

A job that bends in place gets its nodes while it runs. One that has to restart is stopped only when all of them are
there; they are kept for it, and so are those that it has, so that it starts again at once.
"""

from collections.abc import Iterator

from godwit.domain import lifecycle
from godwit.domain.ids import JobId, NodeId
from godwit.domain.jobs import Attempt, Job, Outcome, Slot
from godwit.domain.nodes import NodeState
from godwit.scheduler import fleet, market
from godwit.scheduler.demands import Demand
from godwit.scheduler.engine import Engine
from godwit.scheduler.fits import NEVER
from godwit.scheduler.plan import Action, BuyNode, EndAttempt, GrowAttempt, ReserveNode, ShrinkAttempt
from godwit.scheduler.resizing import bending, targets
from godwit.scheduler.resizing.targets import Target
from godwit.scheduler.snapshot import Snapshot


class Resizing:
    """The changes of size of one plan. What it gives is booked in the engine, so that nobody gets it twice."""

    def __init__(self, snapshot: Snapshot, engine: Engine, sold: market.Market, now: float) -> None:
        self._snapshot, self._engine, self._market, self._now = snapshot, engine, sold, now

    def actions(self, *, somebody_waits: bool) -> list[Action]:
        """What is to be done now. Free nodes are given away only while nobody waits for any."""
        found: list[Action] = []
        # What is kept for a job that moves is where it goes, not what it grows by.
        moving = {one.job_id for one in self._snapshot.migrations if not lifecycle.is_final(one.state)}
        for attempt in self._snapshot.attempts:
            job = self._snapshot.job_by_id.get(attempt.job_id)
            if job is None or not bending.is_elastic(job) or not bending.goes_on(job, attempt):
                continue
            if job.id not in moving and attempt.yields_to is None and self._engine.running[job.id].yields_to is None:
                found += self._of_one(job, attempt, somebody_waits=somebody_waits)
        return found

    def _of_one(self, job: Job, attempt: Attempt, *, somebody_waits: bool) -> Iterator[Action]:
        target = targets.target(job, attempt)
        size = len(attempt.staying)
        if target.nodes < size:
            if self._why_not(job, attempt, target.nodes, target) is None:
                yield from self._shrink(job, attempt, target)
        elif target.nodes > size:
            yield from self._grow(job, attempt, target)
        elif not somebody_waits and targets.may_grow_by_itself(job, attempt):
            yield from self._grow_on_free(job, attempt)

    def _why_not(self, job: Job, attempt: Attempt, size: int, target: Target) -> str | None:
        return targets.why_not_now(job, attempt, self._snapshot, self._now, size=size, is_wish=target.is_wish)

    def _shrink(self, job: Job, attempt: Attempt, target: Target) -> Iterator[Action]:
        # The last to come are the first to go: the head is never among them.
        leaving = tuple(slot.node_id for slot in attempt.staying[target.nodes :])
        reason = f"from {len(attempt.staying)} to {target.nodes} nodes: {target.why}"
        if bending.is_in_place(job):
            yield ShrinkAttempt(attempt.id, leaving, reason)
            return
        kept = (slot.node_id for slot in attempt.staying[: target.nodes])
        yield from self._restart(job, attempt, list(kept), reason)

    def _grow(self, job: Job, attempt: Attempt, target: Target) -> Iterator[Action]:
        """Gather what it lacks: nodes that are kept for it, free ones, and then bought ones."""
        demand = fleet.demand_of(job, self._snapshot, self._now)
        missing = target.nodes - len(attempt.staying)
        while missing and self._engine.gate.refusal(demand, missing) is not None:
            missing -= 1
        kept = [NodeId(node_id) for node_id in self._engine.kept_for(job.id)]
        ready = self._fitting(job, attempt, demand, missing)
        coming = [node_id for node_id in kept if node_id not in ready and self._is_coming(node_id)]
        for node_id in ready:
            if node_id not in kept:
                self._engine.keep(node_id, demand)
        bought = self._market.more(job, demand, attempt.head.node_id, missing - len(ready) - len(coming))
        for one in bought:
            reason = f"cheapest beside the nodes of job {job.id}: {target.why}"
            yield BuyNode(one.offer, job.id, reason, str(one))
        size = len(attempt.staying) + len(ready)
        is_all = not coming and not bought and (len(ready) == missing or bending.is_in_place(job))
        if ready and is_all and self._why_not(job, attempt, size, target) is None:
            yield from self._give(job, attempt, demand, ready, f"to {size} nodes: {target.why}")
            return
        for node_id in ready:
            if node_id not in kept:
                yield ReserveNode(node_id, job.id, f"kept for job {job.id}: {target.why}")

    def _grow_on_free(self, job: Job, attempt: Attempt) -> Iterator[Action]:
        """Nodes that are paid for and that nobody wants."""
        most = job.spec.resources.nodes_max - len(attempt.staying)
        best = Target(job.spec.resources.nodes_max, "", is_wish=False)
        if self._why_not(job, attempt, best.nodes, best) is not None:
            return  # to look for nodes costs more than to look at the clock
        demand = fleet.demand_of(job, self._snapshot, self._now)
        free = self._fitting(job, attempt, demand, most)
        while free and self._engine.gate.refusal(demand, len(free)) is not None:
            free.pop()
        size = len(attempt.staying) + len(free)
        chosen = Target(size, "they are free, and nobody waits for nodes", is_wish=False)
        if free and self._why_not(job, attempt, size, chosen) is None:
            yield from self._give(job, attempt, demand, free, f"to {size} nodes: {chosen.why}")

    def _give(
        self, job: Job, attempt: Attempt, demand: Demand, node_ids: list[NodeId], change: str
    ) -> Iterator[Action]:
        reason = f"from {len(attempt.staying)} {change}"
        if not bending.is_in_place(job):
            yield from self._restart(job, attempt, [*(slot.node_id for slot in attempt.staying), *node_ids], reason)
            return
        first = 1 + max(slot.rank for slot in (*attempt.slots, *attempt.left))
        cluster, nodes, slots = self._engine.cluster, self._snapshot.node_by_id, list[Slot]()
        for rank, node_id in enumerate(node_ids, start=first):
            share = cluster.share(cluster.row_of[node_id], demand.ask)
            cluster.take(share)
            address = nodes[node_id].address or ""
            slots.append(
                Slot(node_id, rank, share.gpus, address, gpu_milli=share.gpu_milli, joining=True, since=self._now)
            )
        yield GrowAttempt(attempt.id, tuple(slots), reason)

    def _restart(self, job: Job, attempt: Attempt, node_ids: list[NodeId], reason: str) -> Iterator[Action]:
        yield EndAttempt(attempt.id, Outcome.RESIZED, f"it starts again, {reason}")
        for node_id in node_ids:
            yield ReserveNode(node_id, job.id, f"job {job.id} goes on here: {reason}")

    def _fitting(self, job: Job, attempt: Attempt, demand: Demand, count: int) -> list[NodeId]:
        """Ready nodes beside those that it has, its own first; never one that it had in this attempt.

        An agent takes one part of an attempt on once, and refuses it afterwards: that is what fences it.
        """
        cluster = self._engine.cluster
        head = cluster.row_of.get(attempt.head.node_id)
        if head is None or count <= 0:
            return []
        keys = self._engine.fits(demand.ask).keys_for(job.id)
        domain = cluster.domain[demand.within]
        had = {slot.node_id for slot in (*attempt.slots, *attempt.left)}
        rows = [int(row) for row in (keys < NEVER).nonzero()[0] if domain[row] == domain[head]]
        rows.sort(key=lambda row: (int(keys[row]), cluster.ids[row]))
        return [NodeId(cluster.ids[row]) for row in rows if cluster.ids[row] not in had][:count]

    def _is_coming(self, node_id: NodeId) -> bool:
        node = self._snapshot.node_by_id.get(node_id)
        return node is not None and node.state in market.COMING and not node.gone


def next_deadlines(snapshot: Snapshot) -> Iterator[float]:
    """Instants at which time alone may change a size."""
    for attempt in snapshot.attempts:
        job = snapshot.job_by_id.get(attempt.job_id)
        if job is None or not bending.is_elastic(job) or not bending.goes_on(job, attempt):
            continue
        if targets.target(job, attempt).nodes != len(attempt.staying) or targets.may_grow_by_itself(job, attempt):
            yield targets.next_change_at(attempt, snapshot)
            yield targets.waited_long_at(attempt, snapshot)


def wanted_by(actions: list[Action]) -> Iterator[NodeId]:
    """Nodes that changes of size speak for, so that they are not given back in the same plan."""
    for action in actions:
        if isinstance(action, GrowAttempt):
            yield from (slot.node_id for slot in action.slots)
        elif isinstance(action, ReserveNode) and action.job_id is not None:
            yield action.node_id


def explained(job: Job, attempt: Attempt | None, snapshot: Snapshot, now: float) -> tuple[int, int, str] | None:
    """A running job's size, the size that it should have, and why these differ or what was decided; None for others."""
    if attempt is None or not bending.is_elastic(job) or not bending.goes_on(job, attempt):
        return None
    target, size = targets.target(job, attempt), len(attempt.staying)
    if target.nodes == size:
        return size, size, target.why
    held = targets.why_not_now(job, attempt, snapshot, now, size=target.nodes, is_wish=target.is_wish)
    if held is not None:
        return size, target.nodes, f"{target.why}; {held}"
    waits = "" if target.nodes < size else f"; {_what_it_waits_for(job.id, snapshot)}"
    return size, target.nodes, target.why + waits


def _what_it_waits_for(job_id: JobId, snapshot: Snapshot) -> str:
    kept = [node for node in snapshot.nodes if node.reserved_for == job_id]
    coming = sum(node.state is not NodeState.READY for node in kept)
    return f"{coming} nodes are on their way for it" if coming else "no node beside those it has is free or can be had"
