"""Who gives way when a quota is in the way: what was borrowed goes back, and urgent work passes less urgent of its own.

A `Yielding` of the engine, beside the gate `quotas.Quotas`. When a demand is refused by a quota,

1. if its project would stay within its own amount with it, those who hold more than their own give back: first a job of
   whoever borrowed most in units of its own amount, until nobody borrows or the demand may start;
2. running jobs of its own project and lower priority may be passed (`passes_less_urgent`), whether it borrows or not;
3. within a project first the jobs without which it still holds its own, of these what loses least work for each unit
   that it frees of what is missing, of equals the least urgent, then the larger, so that fewer stop;
4. those without whom the demand may start as well are left alone, the most expensive first;
5. nobody is taken who, waiting again, would be served before the demand: it would only take the place back;
6. where the fleet is full as well, those who may be taken are chosen by where they run (`clearing`), so that the gang
   fits when they are gone, and their nodes are kept for it.

Nothing is taken when all of that is not enough. Rules 1, 2 and 4 are those of Kueue's reclaimWithinCohort "Any" and
withinClusterQueue "LowerPriority" (kubernetes-sigs/kueue, `pkg/scheduler/preemption`); rule 3 is ours, where Kueue
takes the lowest priority and then the newest.

So the engine's order decides what a claim is worth (rule 5): `fair_share.FairShare` puts what is a project's own before
what is borrowed, and all that was borrowed can be claimed; under an order of priorities over all projects a borrower of
higher priority keeps what it has. An order that ages lets nobody be passed by what it would serve later.
"""

from collections.abc import Iterable
from dataclasses import replace
from math import inf

from godwit.scheduler import clearing
from godwit.scheduler.accounts import Shortfall
from godwit.scheduler.clearing import Clearing
from godwit.scheduler.demands import Demand, Running
from godwit.scheduler.engine import NO_ROOM, Engine
from godwit.scheduler.entitlements import Entitled
from godwit.scheduler.holdings import Holdings
from godwit.scheduler.piles import Piles, Takeable
from godwit.scheduler.policies import Nobody, Yielding
from godwit.scheduler.preemption import RECHECK_S, RESTART_S
from godwit.scheduler.quotas import Quotas

MAY_TAKE_MAX = 256
"""Running jobs that one demand may stop. A bound on the work of one decision; a gang that needs more waits."""

TRIES_MAX = 4
"""Selections made for one demand in a pass, each without those of the one before who would be served first again."""


class Reclaim:
    """Yielding over quotas. What finds no room although its quota allows it is passed to `otherwise`.

    A demand claims when it has waited `patience_s`: what ends by itself until then costs nobody any work. A job that
    started less than `min_run_s` ago is left alone, so that no work is started only to be stopped.
    """

    def __init__(
        self,
        gate: Quotas,
        otherwise: Yielding | None = None,
        *,
        passes_less_urgent: bool = True,
        patience_s: float = 0.0,
        min_run_s: float = 0.0,
    ) -> None:
        self._quotas, self._otherwise = gate, otherwise or Nobody()
        self._entitled = Entitled(gate, passes_less_urgent=passes_less_urgent)
        self._held: Holdings | None = None
        self._too_little: dict[tuple[int, int], tuple[int, int, float]] = {}
        self._takeable = Takeable(gate, min_run_s)
        self._lapses_at = inf
        self._passes, self._patience_s, self._min_run_s = passes_less_urgent, patience_s, min_run_s

    def may_help_anybody(self, engine: Engine, now: float) -> bool:
        """Whether anybody has a quota; for the other a pass begins."""
        return self._otherwise.may_help_anybody(engine, now) or self._quotas.bind

    def may_help(self, demand: Demand, engine: Engine, now: float) -> bool:
        """Where a quota refuses it: whether its own project runs anything less urgent, or what it may claim is lent."""
        if self._quotas.refusal(demand, demand.nodes_min) is None:
            return self._otherwise.may_help(demand, engine, now)
        return self._may_claim(demand, engine, now)

    def choose(self, demand: Demand, why: str, engine: Engine, now: float) -> list[str]:
        """The running jobs that give way, in the order of the rules; empty when they would not be enough."""
        if why == NO_ROOM:
            return self._otherwise.choose(demand, why, engine, now)
        if not self._may_claim(demand, engine, now):
            return []
        barred, self._lapses_at = set[str](), inf
        for _ in range(TRIES_MAX):
            taken, node_ids = self._gang(demand, engine, now, barred)
            first_again = self._served_before(demand, taken, engine, now)
            if taken and not first_again:
                for node_id in node_ids:
                    engine.keep(node_id, demand)
                return [running.demand.job_id for running in taken]
            if not first_again:
                break
            barred |= first_again
        engine.wake(min(now + RECHECK_S, self._lapses_at))
        return []

    def _gang(
        self, demand: Demand, engine: Engine, now: float, barred: set[str]
    ) -> tuple[list[Running], tuple[str, ...]]:
        """Who gives way, and on a full fleet the nodes to keep; nobody where that would not be enough."""
        taken = self._enough(demand, engine, now, barred, ())
        if not taken and not barred:
            self._remember(demand)
        if not taken or engine.room(demand, now) is not None:
            return taken, ()
        cleared = self._cleared(demand, engine, now, barred)
        if cleared is None:
            return [], ()
        return self._enough(demand, engine, now, barred, cleared.job_ids), cleared.node_ids

    def _remember(self, demand: Demand) -> None:
        """That there was not enough to take for claims like this, which stays so until the books change."""
        kind, stamp = self._quotas.kind(demand), self._quotas.stamp(demand.project)
        self._too_little[kind] = (stamp, demand.priority, self._lapses_at)

    def _is_too_little(self, demand: Demand, now: float) -> bool:
        stamp, priority, until = self._too_little.get(self._quotas.kind(demand), (-1, 0, 0.0))
        return demand.priority <= priority and now < until and stamp == self._quotas.stamp(demand.project)

    def _cleared(self, demand: Demand, engine: Engine, now: float, barred: set[str]) -> Clearing | None:
        """Who of those that it may take stands where it would fit; None when it would fit nowhere."""
        if self._held is None or self._held.engine is not engine:
            self._held = Holdings(engine)
        held = self._held.refresh()
        self._entitled.begin(held, now)
        may = self._entitled.may_take(demand, now) & (now - held.started_at >= self._min_run_s)
        may[[held.slot_of[job_id] for job_id in barred]] = False
        return clearing.find(engine, held, demand, may, held.lost_milli_s(now, RESTART_S))

    def _may_claim(self, demand: Demand, engine: Engine, now: float) -> bool:
        gate = self._quotas
        takes_back = gate.is_lent(demand) and not gate.borrows(demand, demand.nodes_min)
        if not takes_back and not (self._passes and gate.has_less_urgent(demand)):
            return False
        if now < demand.since + self._patience_s:
            engine.wake(demand.since + self._patience_s)
            return False
        return not self._is_too_little(demand, now)

    def _enough(
        self, demand: Demand, engine: Engine, now: float, barred: set[str], first: Iterable[str]
    ) -> list[Running]:
        """Running jobs, `first` and others, after which no quota refuses it; empty when there are not enough."""
        chosen = [engine.running[job_id] for job_id in first]
        taken = list(chosen)
        piles = Piles(self._quotas, self._takeable, engine, demand, now, barred)
        for running in taken:
            self._quotas.book(running.demand, -len(running.shares))
            piles.take(running)
        try:
            while missing := self._quotas.explain(demand, demand.nodes_min):
                found = self._next(demand, missing[0], piles)
                if found is None or len(taken) == MAY_TAKE_MAX:
                    return []
                self._quotas.book(found.demand, -len(found.shares))
                taken.append(found)
            self._spare(demand, taken, now, chosen)
            return list(taken)
        finally:
            self._put_back(taken)
            self._lapses_at = min(self._lapses_at, piles.lapses_at)

    def _served_before(self, demand: Demand, taken: list[Running], engine: Engine, now: float) -> set[str]:
        """Who of them would be served before the demand if they waited, beside it."""
        order = engine.order
        for running in taken:
            self._quotas.book(running.demand, -len(running.shares))
        mine = (order.turn(demand, now), order.rank(demand, demand.served_gpu_s))
        found = set[str]()
        for running in taken:
            other = replace(running.demand, served_gpu_s=running.served_gpu_s(now))
            if (order.turn(other, now), order.rank(other, other.served_gpu_s)) < mine:
                found.add(other.job_id)
        self._put_back(taken)
        return found

    def _put_back(self, taken: list[Running]) -> None:
        for running in taken:
            self._quotas.book(running.demand, len(running.shares))

    def _next(self, demand: Demand, missing: Shortfall, piles: Piles) -> Running | None:
        """Whom to take now: of a borrower, or else of its own project."""
        if not self._quotas.borrows(demand, demand.nodes_min):
            over = self._quotas.borrowers(demand)
            for project in sorted(over, key=lambda project: (-over[project], project)):
                found = piles.cheapest(project, missing)
                if found is not None:
                    return found
        if not self._passes or self._is_beyond(demand, missing):
            return None
        return piles.cheapest(demand.project, missing)

    def _is_beyond(self, demand: Demand, missing: Shortfall) -> bool:
        """Whether all that is less urgent of its project is too little, and would leave it borrowing: seen at once."""
        most = self._quotas.held_less_urgent(demand, missing.resource)
        return most < missing.short_by and missing.held - most + missing.asked > missing.nominal

    def _spare(self, demand: Demand, taken: list[Running], now: float, but: list[Running]) -> None:
        """Put back those that are not needed after all, since a later one freed more than was missing."""
        others = [running for running in taken if running not in but]
        for running in sorted(others, key=lambda running: (-running.lost_gpu_s(now), running.demand.job_id)):
            self._quotas.book(running.demand, len(running.shares))
            if self._quotas.refusal(demand, demand.nodes_min) is None:
                taken.remove(running)
            else:
                self._quotas.book(running.demand, -len(running.shares))
