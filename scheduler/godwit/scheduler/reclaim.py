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

from collections.abc import Iterable, Iterator

from godwit.scheduler import clearing, quotas
from godwit.scheduler.accounts import Shortfall
from godwit.scheduler.clearing import Clearing
from godwit.scheduler.demands import Demand, Running
from godwit.scheduler.engine import NO_ROOM, Engine
from godwit.scheduler.entitlements import Entitled
from godwit.scheduler.holdings import Holdings
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
        self._passes, self._patience_s, self._min_run_s = passes_less_urgent, patience_s, min_run_s

    def may_help_anybody(self, engine: Engine, now: float) -> bool:
        """Whether anybody has a quota; for the other a pass begins."""
        return self._otherwise.may_help_anybody(engine, now) or self._quotas.bind

    def may_help(self, demand: Demand, engine: Engine, now: float) -> bool:
        """Whether its own project runs anything less urgent, or what it may claim is lent."""
        return self._may_claim(demand, engine, now) or self._otherwise.may_help(demand, engine, now)

    def choose(self, demand: Demand, why: str, engine: Engine, now: float) -> list[str]:
        """The running jobs that give way, in the order of the rules; empty when they would not be enough."""
        if why == NO_ROOM:
            return self._otherwise.choose(demand, why, engine, now)
        if not self._may_claim(demand, engine, now):
            return []
        barred = set[str]()
        has_room = engine.room(demand, now) is not None
        for _ in range(TRIES_MAX):
            cleared = Clearing((), (), 0) if has_room else self._cleared(demand, engine, now, barred)
            if cleared is None:
                break
            taken = self._enough(demand, engine, now, barred, cleared.job_ids)
            if not taken:
                break
            first_again = self._served_before(demand, taken, engine, now)
            if not first_again:
                for node_id in cleared.node_ids:
                    engine.keep(node_id, demand)
                return [running.demand.job_id for running in taken]
            barred |= first_again
        engine.wake(now + RECHECK_S)  # a guard may have lapsed by then, or a checkpoint come
        return []

    def _cleared(self, demand: Demand, engine: Engine, now: float, barred: set[str]) -> Clearing | None:
        """Who of those that it may take stands where it would fit; None when it would fit nowhere."""
        if self._held is None or self._held.engine is not engine:
            self._held = Holdings(engine)
        held = self._held.refresh()
        self._entitled.begin(held, now)
        may = self._entitled.may_take(demand, now) & (now - held.started_at >= self._min_run_s)
        may[[held.slot_of[job_id] for job_id in barred]] = False
        return clearing.find(engine, held, demand, may, held.lost_milli_s(now, RESTART_S))

    def may_be_taken(self, running: Running, now: float) -> bool:
        """Whether a running job may be told to stop at all."""
        is_free = running.demand.may_yield and running.yields_to is None
        return is_free and now - running.started_at >= self._min_run_s

    def _may_claim(self, demand: Demand, engine: Engine, now: float) -> bool:
        gate = self._quotas
        takes_back = gate.is_lent(demand) and not gate.borrows(demand, demand.nodes_min)
        if not takes_back and not (self._passes and gate.has_less_urgent(demand)):
            return False
        if now < demand.since + self._patience_s:
            engine.wake(demand.since + self._patience_s)
            return False
        return True

    def _enough(
        self, demand: Demand, engine: Engine, now: float, barred: set[str], first: Iterable[str]
    ) -> list[Running]:
        """Running jobs, `first` and others, after which no quota refuses it; empty when there are not enough."""
        chosen = [engine.running[job_id] for job_id in first]
        taken = list(chosen)
        for running in taken:
            self._quotas.book(running.demand, -len(running.shares))
        try:
            while missing := self._quotas.explain(demand, demand.nodes_min):
                gone = barred.union(running.demand.job_id for running in taken)
                found = self._next(demand, missing[0], engine, now, gone)
                if found is None or len(taken) == MAY_TAKE_MAX:
                    return []
                self._quotas.book(found.demand, -len(found.shares))
                taken.append(found)
            self._spare(demand, taken, now, chosen)
            return list(taken)
        finally:
            self._put_back(taken)

    def _served_before(self, demand: Demand, taken: list[Running], engine: Engine, now: float) -> set[str]:
        """Who of them would be served before the demand if they waited, beside it."""
        order = engine.order
        for running in taken:
            self._quotas.book(running.demand, -len(running.shares))
        mine = (order.turn(demand, now), order.rank(demand, demand.served_gpu_s))
        found = set[str]()
        for running in taken:
            other = running.demand
            if (order.turn(other, now), order.rank(other, running.served_gpu_s(now))) < mine:
                found.add(other.job_id)
        self._put_back(taken)
        return found

    def _put_back(self, taken: list[Running]) -> None:
        for running in taken:
            self._quotas.book(running.demand, len(running.shares))

    def _next(self, demand: Demand, missing: Shortfall, engine: Engine, now: float, gone: set[str]) -> Running | None:
        """Whom to take beside those who are `gone`: a borrower, or else of its own project."""
        if not self._quotas.borrows(demand, demand.nodes_min):
            over = self._quotas.borrowers(demand)
            for project in sorted(over, key=lambda project: (-over[project], project)):
                found = self._cheapest(self._takeable(project, engine, now, gone), missing, now)
                if found is not None:
                    return found
        if not self._passes:
            return None
        there = self._takeable(demand.project, engine, now, gone)
        return self._cheapest((one for one in there if one.demand.priority < demand.priority), missing, now)

    def _takeable(self, project: str, engine: Engine, now: float, gone: set[str]) -> Iterator[Running]:
        for job_id in self._quotas.holders.get(project, ()):
            if job_id not in gone and self.may_be_taken(engine.running[job_id], now):
                yield engine.running[job_id]

    def _cheapest(self, there: Iterable[Running], missing: Shortfall, now: float) -> Running | None:
        """By rule 3; None when nobody there frees anything of what is missing."""
        best, best_loss = None, None
        for running in there:
            demand, nodes = running.demand, len(running.shares)
            freed = quotas.amount(demand.ask, missing.resource) * nodes
            if not freed:
                continue
            lost = running.lost_gpu_s(now) / min(freed, missing.short_by)
            falls_short = self._quotas.falls_short(demand, nodes)
            loss = (falls_short, lost, demand.priority, -freed, demand.job_id)
            if best_loss is None or loss < best_loss:
                best, best_loss = running, loss
        return best

    def _spare(self, demand: Demand, taken: list[Running], now: float, but: list[Running]) -> None:
        """Put back those that are not needed after all, since a later one freed more than was missing."""
        others = [running for running in taken if running not in but]
        for running in sorted(others, key=lambda running: (-running.lost_gpu_s(now), running.demand.job_id)):
            self._quotas.book(running.demand, len(running.shares))
            if self._quotas.refusal(demand, demand.nodes_min) is None:
                taken.remove(running)
            else:
                self._quotas.book(running.demand, -len(running.shares))
