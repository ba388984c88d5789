"""Serves the queue of one plan: each job in turn gets a place, or a purchase, or the reasons why neither."""

import random
from collections import Counter as Tally
from collections.abc import Mapping
from math import isinf

from godwit.domain.ids import JobId, NodeId
from godwit.domain.jobs import Job, Resources, Slot
from godwit.domain.nodes import Node, NodeState
from godwit.domain.offers import Offer
from godwit.scheduler import market, projects
from godwit.scheduler.demands import Decision, Demand, Start
from godwit.scheduler.engine import NO_ROOM, Engine
from godwit.scheduler.outlook import Outlook, Outlooks
from godwit.scheduler.plan import Action, BuyNode, ReserveNode, StartAttempt
from godwit.scheduler.quotas import Quotas
from godwit.scheduler.reasons import Code, Refusal
from godwit.scheduler.refused import Refused
from godwit.scheduler.release import ROUNDING_S
from godwit.scheduler.reservations import Reservation
from godwit.scheduler.snapshot import Snapshot
from godwit.scheduler.stops import Stops

PORTS = range(20_000, 30_000, 5)
"""Where attempts put their five ports: below Linux's ephemeral range (32768 on), above what services use."""

MAX_REFUSALS = 50
"""Refusals kept per job; the rest are counted in one line."""


class Counter:
    """Serves one waiting job after the other: a place, or a purchase, or the reasons why neither."""

    def __init__(self, snapshot: Snapshot, engine: Engine, gate: Quotas, now: float, seed: int) -> None:
        self._snapshot, self._engine, self._gate, self._now, self._seed = snapshot, engine, gate, now, seed
        self.market, self._stops = market.Market(snapshot, engine, now), Stops(snapshot, engine, gate, now)
        self._ports = {attempt.port for attempt in snapshot.attempts}
        self._ports_on: dict[NodeId, set[int]] = {}
        for attempt in snapshot.attempts:
            self._ports_on.setdefault(attempt.head.node_id, set()).add(attempt.port)
        self._refused: dict[Resources, list[Refusal]] = {}
        self._waits_for: dict[JobId, list[Refusal]] = {}
        self._by_market: dict[JobId, tuple[Job, Demand]] = {}
        self._bought: dict[JobId, list[Offer]] = {}
        self._waits_because: dict[JobId, str] = {}
        self._positions: dict[JobId, int] = {}
        self.actions: list[Action] = []

    def start_gathered(self) -> None:
        """Start whoever has all its nodes kept and ready, whatever its turn: nobody else may have them, and what it
        leaves of them is there for the queue, which would buy it instead.
        """
        there = [node for node in self._snapshot.nodes if node.state is NodeState.READY]
        gathered = Tally(node.reserved_for for node in there if node.reserved_for is not None)
        waiting = self._engine.waiting
        for job_id, count in gathered.items():
            demand = waiting.get(job_id)
            # A gang that takes more might take them from those before it.
            if demand is not None and demand.nodes_min == demand.nodes_max <= count:
                decision = Decision()
                self._engine.place(demand, self._now, decision)
                for start in decision.starts:
                    self._start(self._snapshot.job_by_id[job_id], start)

    def serve(self, job: Job, demand: Demand) -> None:
        """Decide for one job."""
        self._positions[job.id] = len(self._positions) + 1
        decision = Decision()
        why = self._engine.place(demand, self._now, decision)
        for start in decision.starts:
            self._start(job, start)
            return
        if self._engine.who_yields_to(job.id):
            self._wait_for_stops(job)
        elif why is not None and why != NO_ROOM:
            self._shut_out(job, demand, why)
        elif (rest := self.market.rest(job, demand)) is not None:
            self._waits_for[job.id] = [rest]
            self._engine.gate.promised(demand, {})
        elif job.spec.resources in self._refused and not self._engine.kept_for(job.id):
            self._refuse(job, demand)
        else:
            self._buy(job, demand)

    def _shut_out(self, job: Job, demand: Demand, why: str) -> None:
        """Its project may not hold more now: nothing is bought for it, and what was is for others."""
        for node_id in self._engine.kept_for(job.id):
            self.actions.append(ReserveNode(NodeId(node_id), None, f"project {job.project} may not hold more now"))
        if self._makes_room(job, demand, why):
            return
        known = {project.name: project for project in self._snapshot.projects}
        self._waits_for[job.id] = list(projects.refusals(self._gate, demand, known))
        self._waits_because[job.id] = "nobody knows when enough of its project's quota is free"

    def _makes_room(self, job: Job, demand: Demand, why: str) -> bool:
        actions = self._stops.make_room(demand, why)
        self.actions += actions
        if actions:
            self._wait_for_stops(job)
        return bool(actions)

    def _wait_for_stops(self, job: Job) -> None:
        self._waits_for[job.id] = self._stops.told(job.id)
        self._waits_because[job.id] = "others give way to it and are stopping"

    def _refuse(self, job: Job, demand: Demand) -> None:
        """Nothing free and nothing to buy: others may give way to it. Else, if it is one of the first, nodes are kept
        for it as they become free.
        """
        if self._makes_room(job, demand, NO_ROOM):
            return
        self._engine.reserve(demand, self._now)
        self._by_market[job.id] = (job, demand)

    def told(self) -> dict[JobId, tuple[Refusal, ...]]:
        """What each job is told that got no place."""
        told = {job_id: _shortened(refusals) for job_id, refusals in self._waits_for.items()}
        if not self._by_market:
            return told
        refused = Refused(self._engine, self._snapshot.node_by_id)
        none = [] if self._snapshot.offers else [_no_offers()]
        known: dict[tuple[int, int], tuple[Refusal, ...]] = {}
        for job_id, (job, demand) in self._by_market.items():
            by_nodes, by_offers = refused.by_nodes(job, demand), self._refused[job.spec.resources]
            about = (id(by_nodes), id(by_offers))
            if about not in known:
                known[about] = _shortened(none + sorted([*by_offers, *by_nodes], key=_in_order))
            reservation = self._engine.reservations().get(job_id)
            told[job_id] = known[about] if reservation is None else (_kept(reservation), *known[about])
        return told

    def spoken_for(self) -> frozenset[NodeId]:
        """Nodes on which somebody starts, and those kept for whoever is bought for, given way to, or first in turn."""
        cluster = self._engine.cluster
        starts = (action for action in self.actions if isinstance(action, StartAttempt))
        used = (slot.node_id for start in starts for slot in start.slots)
        return frozenset([*used, *(NodeId(cluster.ids[row]) for row in cluster.held)])

    @property
    def positions(self) -> Mapping[JobId, int]:
        """Where each job stands that was served, from 1, in this order."""
        return self._positions

    def outlook(self, job_id: JobId, demand: Demand) -> Outlook | None:
        """Where a job stands that got no place; None for one that was not served."""
        position = self._positions.get(job_id)
        if position is None:
            return None
        if job_id in self._waits_because:
            return Outlook(position, because=self._waits_because[job_id])
        outlooks = Outlooks(self._snapshot, self._engine, self._now)
        if job_id not in self._waits_for:
            return outlooks.waits_for_others(position, demand)
        kept = [self._snapshot.node_by_id[NodeId(node_id)] for node_id in self._engine.kept_for(job_id)]
        coming = [node for node in kept if node.state is not NodeState.READY]
        return outlooks.waits_for_nodes(position, coming, self._bought.get(job_id, []))

    def _start(self, job: Job, start: Start) -> None:
        nodes = self._snapshot.node_by_id
        slots = tuple(
            Slot(
                NodeId(share.node_id),
                rank,
                share.gpus,
                nodes[NodeId(share.node_id)].address or "",
                gpu_milli=share.gpu_milli,
            )
            for rank, share in enumerate(start.shares)
        )
        mine = self._ports_on.setdefault(slots[0].node_id, set())
        port = _port(self._seed, job, self._ports, mine)
        self._ports.add(port)
        mine.add(port)
        self.actions.append(StartAttempt(job.id, job.epoch + 1, slots, port, _placed_because(job, slots, nodes)))

    def _buy(self, job: Job, demand: Demand) -> None:
        """Buy what the gang lacks, and say what it waits for meanwhile."""
        before = [NodeId(node_id) for node_id in self._engine.kept_for(job.id)]
        purchase, by_offers = self.market.choose(job, demand)
        if purchase is None:
            self._refused[job.spec.resources] = by_offers
            self._refuse(job, demand)
            self._let_go(job)
            return
        self.market.book(purchase, job, demand)
        self._engine.gate.promised(demand, {})  # its project holds what is bought for it, before it is there
        for node_id in purchase.keep:
            if node_id not in before:
                self.actions.append(ReserveNode(node_id, job.id, f"job {job.id} waits for the rest of its gang"))
        for node_id in before:
            if node_id not in purchase.keep:
                self.actions.append(ReserveNode(node_id, None, f"job {job.id} gathers its gang elsewhere"))
        self.actions += [
            BuyNode(offer, job.id, purchase.because(offer), purchase.arithmetic(offer)) for offer in purchase.buy
        ]
        self._bought[job.id] = list(purchase.buy)
        self._waits_for[job.id] = [
            *(_not_ready(self._snapshot.node_by_id[node_id]) for node_id in purchase.keep if self._is_coming(node_id)),
            *(_being_bought(offer) for offer in purchase.buy),
        ]

    def _let_go(self, job: Job) -> None:
        """What is kept for a job that cannot have the rest now is for others once it stood unused for the idle time.

        Else parts of several gangs wait for each other for ever, and are paid.
        """
        for node_id in [] if self._engine.who_yields_to(job.id) else self._engine.kept_for(job.id):
            node = self._snapshot.node_by_id[NodeId(node_id)]
            unused_s = self._now - (job.state_since if node.idle_since is None else node.idle_since)
            if node.state is NodeState.READY and unused_s + ROUNDING_S >= self._snapshot.policy.idle_after_s:
                why = f"the rest of what job {job.id} needs cannot be had, and this was kept {unused_s:.0f} s for it"
                self.actions.append(ReserveNode(node.id, None, why))

    def _is_coming(self, node_id: NodeId) -> bool:
        return self._snapshot.node_by_id[node_id].state is not NodeState.READY


def _not_ready(node: Node) -> Refusal:
    return Refusal(Code.NOT_READY, f"node {node.id}", f"is {node.state}", "wait until it is ready")


def _being_bought(offer: Offer) -> Refusal:
    return Refusal(Code.NOT_READY, offer.key, "is being bought for this job", "wait until it boots")


def _placed_because(job: Job, slots: tuple[Slot, ...], nodes: Mapping[NodeId, Node]) -> str:
    providers = Tally(nodes[slot.node_id].offer.provider for slot in slots)
    where = ", ".join(f"{count} on {provider}" for provider, count in sorted(providers.items()))
    return f"{len(slots)} node(s) with {job.spec.resources.gpus} free together: {where}"


def _port(seed: int, job: Job, taken: set[int], taken_here: set[int]) -> int:
    """One that no head has anywhere, since nodes may share a machine; where most are taken, none on this node."""
    avoided = taken if len(taken) < len(PORTS) // 2 else taken_here
    rng = random.Random(f"{seed}/{job.id}/{job.epoch + 1}")  # noqa: S311 - a port is not a secret
    while (port := rng.choice(PORTS)) in avoided and len(avoided) < len(PORTS):
        pass
    return port


_ORDER = {code: rank for rank, code in enumerate(Code)}
"""The order in which `Code` lists them: what time may lift first, what only a change of the job lifts last."""


def _in_order(refusal: Refusal) -> tuple[int, str]:
    return (_ORDER[refusal.code], refusal.subject)


def _shortened(refusals: list[Refusal]) -> tuple[Refusal, ...]:
    if len(refusals) <= MAX_REFUSALS:
        return tuple(refusals)
    rest = len(refusals) - MAX_REFUSALS
    return (*refusals[:MAX_REFUSALS], Refusal(refusals[-1].code, f"{rest} more", "refuse it for like reasons"))


def _kept(reservation: Reservation) -> Refusal:
    """What the first of the queue is told besides."""
    count, at = len(reservation.rows), reservation.at
    known = "when what runs there ends" if isinf(at) else "at the latest when what runs there is expected to end"
    return Refusal(
        Code.KEPT, f"{count} nodes", f"are kept for it; it starts {known}", "wait", None if isinf(at) else at
    )


def _no_offers() -> Refusal:
    return Refusal(Code.NO_OFFERS, "all providers", "none has offered anything yet", "`godwit providers` says why")
