"""Why the nodes that are there do not take a job: one refusal per kind of node and reason, with how many of them.

Counted over arrays, and once for all jobs that ask alike: a fleet of thousands refuses a queue of thousands.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property

import numpy as np
from godwit.domain.ids import NodeId
from godwit.domain.jobs import Job
from godwit.domain.nodes import Health, Node, NodeState
from godwit.domain.offers import Offer
from godwit.scheduler import market, placement
from godwit.scheduler.asks import WHOLE, Ask
from godwit.scheduler.cluster import LEVELS
from godwit.scheduler.demands import Demand
from godwit.scheduler.engine import Engine
from godwit.scheduler.reasons import Code, Refusal
from numpy.typing import NDArray

Rows = NDArray[np.int64]

_APART_HELP = "wait until they are free, or let both projects share nodes: `godwit projects share PROJECT`"


class Refused:
    """Refusals of the nodes of one snapshot. Read after the engine has decided."""

    def __init__(self, engine: Engine, nodes: Mapping[NodeId, Node]) -> None:
        self._engine, self._nodes = engine, nodes
        self._told: dict[object, tuple[Refusal, ...]] = {}
        cluster = engine.cluster
        self._offers: list[Offer] = [nodes[NodeId(_first_of(kind, engine))].offer for kind in range(len(cluster.kinds))]
        self._kind = cluster.kind[: cluster.size]

    def by_nodes(self, job: Job, demand: Demand) -> tuple[Refusal, ...]:
        """Why no node, or no domain of nodes, takes this job now."""
        about = (
            job.spec.resources,
            demand.ask.tenant,
            job.id if job.id in self._engine.cluster.held.values() else None,
        )
        told = self._told.get(about)
        if told is None:
            told = self._told[about] = tuple(self._refusals(job, demand))
        return told

    def _refusals(self, job: Job, demand: Demand) -> Iterator[Refusal]:
        suited = self._engine.cluster.suited(demand.ask)
        for kind, offer in enumerate(self._offers):
            rows = np.flatnonzero(self._kind == kind)
            if suited[kind]:
                yield from self._by_suited(job, demand, offer, rows)
                continue
            unsuited = placement.offer_refusal(job.spec.resources, offer, self._name(rows, offer))
            if unsuited is not None:
                yield unsuited
        yield from self._too_few_together(demand)

    def _by_suited(self, job: Job, demand: Demand, offer: Offer, rows: Rows) -> Iterator[Refusal]:
        cluster, ask = self._engine.cluster, demand.ask
        by_state: dict[NodeState, list[int]] = {}
        for row in rows[~cluster.open[rows]].tolist():
            by_state.setdefault(self._node(row).state, []).append(row)
        held = by_state.pop(NodeState.READY, [])
        if held:
            message = "is held: many nodes have the same trouble, and it may pass"
            yield Refusal(Code.UNFIT, self._name(np.array(held), offer), message, "wait: `godwit incidents`")
        for state, closed in by_state.items():
            yield Refusal(Code.NOT_READY, self._name(np.array(closed), offer), f"is {state}", _opens(state))
        rows = rows[cluster.open[rows]]
        kept = [row for row in rows.tolist() if cluster.held.get(row, job.id) != job.id]
        if kept:
            whom = ", ".join(sorted({cluster.held[row] for row in kept})[:3])
            message = f"is kept for job {whom}"
            yield Refusal(Code.RESERVED, self._name(np.array(kept), offer), message, "wait for that job")
        rows = rows[~np.isin(rows, kept)]
        others = rows[~(np.ones(len(rows), np.bool_) & cluster.may_be_of(rows, ask.tenant))]
        if len(others):
            yield Refusal(Code.APART, self._name(others, offer), self._whose(others), _APART_HELP)
            rows = rows[~np.isin(rows, others)]
        unfit = rows[(self._gpus[rows] >= ask.gpus) & (self._healthy[rows] < ask.gpus)]
        if len(unfit):
            healthy, gpus = _range(self._healthy[unfit]), _range(self._gpus[unfit])
            message = f"{healthy} of {gpus} GPUs are healthy, {ask.gpus} asked"
            help_is = "wait until the others are repaired: `godwit incidents`"
            yield Refusal(Code.UNFIT, self._name(unfit, offer), message, help_is)
        yield from self._by_busy(ask, offer, rows[~np.isin(rows, unfit)])

    def _whose(self, rows: Rows) -> str:
        names = sorted({self._engine.cluster.tenant_of(row) or "projects that share nodes" for row in rows.tolist()})
        whom = ", ".join(f"project {name}" if " " not in name else name for name in names[:3])
        return f"holds jobs of {whom}, and not both projects share nodes"

    def _node(self, row: int) -> Node:
        return self._nodes[NodeId(self._engine.cluster.ids[row])]

    @cached_property
    def _gpus(self) -> NDArray[np.int64]:
        """How many GPUs each row has."""
        return np.array([len(self._node(row).gpus) for row in range(self._engine.cluster.size)], np.int64)

    @cached_property
    def _healthy(self) -> NDArray[np.int64]:
        """How many of them are healthy."""
        nodes = (self._node(row) for row in range(self._engine.cluster.size))
        return np.array([sum(gpu.health is Health.HEALTHY for gpu in node.gpus) for node in nodes], np.int64)

    def _by_busy(self, ask: Ask, offer: Offer, rows: Rows) -> Iterator[Refusal]:
        cluster = self._engine.cluster
        least = WHOLE if ask.gpu_milli == WHOLE else ask.gpu_milli
        free = (cluster.free[rows] >= least).sum(axis=1)
        short = free < ask.gpus
        if short.any():
            message = f"{_range(free[short])} GPUs free, {ask.gpus} asked"
            yield Refusal(Code.BUSY, self._name(rows[short], offer), message, "wait, or add nodes")
        rows = rows[~short]
        taken = (cluster.cpu[rows] < ask.cpu_milli) | (cluster.memory[rows] < ask.memory_mib)
        if taken.any():
            message = "its CPUs or memory are taken"
            yield Refusal(Code.BUSY, self._name(rows[taken], offer), message, "wait, or add nodes")

    def _too_few_together(self, demand: Demand) -> Iterator[Refusal]:
        most = self._engine.fits(demand.ask).most[demand.within]
        if 0 < most < demand.nodes_min:
            message = f"{most} nodes fit in one {LEVELS[demand.within]}, {demand.nodes_min} needed together"
            yield Refusal(Code.NOT_TOGETHER, "the gang", message, "fewer nodes, fabric: any, or wait")

    def _name(self, rows: Rows, offer: Offer) -> str:
        return f"node {self._engine.cluster.ids[rows[0]]}" if len(rows) == 1 else f"{len(rows)} nodes of {offer.key}"


def _opens(state: NodeState) -> str:
    """What lets work start on a node in this state, if anything does."""
    if state in market.COMING:
        return "wait until it is ready"
    if state is NodeState.CORDONED:
        return "wait for its repair (`godwit incidents`), or let work start on it (`godwit uncordon`)"
    return "wait until its agent is heard again" if state is NodeState.LOST else "it goes away: wait for others"


def _first_of(kind: int, engine: Engine) -> str:
    return engine.cluster.ids[int(np.argmax(engine.cluster.kind[: engine.cluster.size] == kind))]


def _range(counts: NDArray[np.int64]) -> str:
    low, high = int(counts.min()), int(counts.max())
    return str(low) if low == high else f"{low} to {high}"
