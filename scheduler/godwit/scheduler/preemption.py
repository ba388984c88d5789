"""Who gives way to a demand that finds no room: whoever may be taken and loses least work.

A stop costs the work since the last committed checkpoint and the time to start again, times the GPUs that it holds.
Three rules bound what stops can do:

- a job that started less than `min_run_s` ago is left alone, so that each start gets some work done;
- a job that gave way less than `calm_s` ago makes nobody else give way, so that one stop never leads to the next;
- nobody stops unless the demand then fits: the freed shares are on the right nodes, near enough to each other.

Shrink before kill: where elastic jobs have enough nodes to spare, only they stop. What they are left is kept for them,
so that they go on at once with fewer nodes, before anybody is stopped who would have to wait.
"""

from typing import Protocol

import numpy as np
from godwit.scheduler import clearing
from godwit.scheduler.clearing import Clearing
from godwit.scheduler.demands import Demand, Running
from godwit.scheduler.engine import NO_ROOM, Engine
from godwit.scheduler.holdings import Holdings, Mask
from numpy.typing import NDArray

RESTART_S = 60.0
"""Seconds of a whole gang that stopping and starting again costs besides lost work, where nothing better is known."""

MIN_RUN_S = 600.0
"""How long a start is left alone: ten times a restart, so that of the GPUs' time at most a tenth goes to restarts."""

CALM_S = 3600.0
"""How long a job that gave way asks nobody else to: whoever took its place has then mostly ended or passed it by."""

RECHECK_S = 300.0
"""A demand that found nobody to give way looks again after so long: a guard lapses, a checkpoint comes."""

SHRINKS_TRIED_MAX = 4
"""Choices among elastic jobs that are looked at: a bound on the work of one decision."""


class Claims(Protocol):
    """Whom a demand may take. Everything is read after `begin`, within one pass of the engine."""

    def begin(self, held: Holdings, now: float) -> None:
        """A pass begins."""
        ...

    def standing(self, demand: Demand, now: float) -> tuple[object, tuple[float, ...]]:
        """A group, and a rank in it: nobody of a group may take what one of lower rank and equal shape may not."""
        ...

    def may_hope(self, demand: Demand, now: float) -> bool:
        """Whether there is anybody that it might take. Cheap."""
        ...

    def may_take(self, demand: Demand, now: float) -> Mask:
        """By slot of the holdings, who may be taken."""
        ...

    def lost_max_s(self, demand: Demand) -> float | None:
        """The most that stops may cost per GPU that the demand gains, in seconds; None for no limit."""
        ...


class LowerPriority:
    """A demand may take whatever has a lower priority, at any cost."""

    def begin(self, held: Holdings, now: float) -> None:  # noqa: ARG002 - the protocol's signature
        """Remember the lowest priority that runs."""
        self._held = held
        there = held.priority[held.may_yield]
        self._lowest = int(there.min()) if len(there) else None

    def standing(self, demand: Demand, now: float) -> tuple[object, tuple[float, ...]]:  # noqa: ARG002
        """The priority."""
        return None, (-demand.priority,)

    def may_hope(self, demand: Demand, now: float) -> bool:  # noqa: ARG002
        """Whether anything lower runs."""
        return self._lowest is not None and self._lowest < demand.priority

    def may_take(self, demand: Demand, now: float) -> Mask:  # noqa: ARG002
        """All that is lower."""
        lower: Mask = self._held.priority < demand.priority
        return lower

    def lost_max_s(self, demand: Demand) -> float | None:  # noqa: ARG002
        """None: priority is worth any loss."""
        return None


class LeastLost:
    """The engine's `Yielding`: of those whom `claims` let a demand take, the ones whose stop costs least.

    Of several claims the first that finds anybody counts; without any it is `LowerPriority`. Before them come those of
    `bends`, who take only what others can do without.
    """

    def __init__(
        self,
        *claims: Claims,
        bends: Claims | None = None,
        restart_s: float = RESTART_S,
        min_run_s: float = MIN_RUN_S,
        calm_s: float = CALM_S,
    ) -> None:
        self._bends = bends
        self._claims = (*(() if bends is None else (bends,)), *(claims or (LowerPriority(),)))
        self._restart_s, self._min_run_s, self._calm_s = restart_s, min_run_s, calm_s
        self._held: Holdings | None = None
        self._refused: dict[object, tuple[float, ...]] = {}

    def may_help_anybody(self, engine: Engine, now: float) -> bool:
        """Whether anything runs. Begins a pass: what was refused in the last one may be granted in this."""
        if self._held is None or self._held.engine is not engine:
            self._held = Holdings(engine)
        self._refused.clear()
        self._cost: NDArray[np.int64] | None = None
        self._held.refresh()
        for claims in self._claims:
            claims.begin(self._held, now)
        return bool(engine.running)

    def may_help(self, demand: Demand, engine: Engine, now: float) -> bool:
        """Whether it may take anybody, and nobody of its shape with a better claim was refused in this pass."""
        if demand.yielded_at is not None and now - demand.yielded_at < self._calm_s:
            engine.wake(demand.yielded_at + self._calm_s)
            return False
        for claims in self._claims:  # noqa: SIM110 - asked of each class in each pass, where `any` costs twice as much
            if self._may_hope(claims, demand, now):
                return True
        return False

    def choose(self, demand: Demand, why: str, engine: Engine, now: float) -> list[str]:
        """The running jobs that give way, by name; empty when the demand would not fit, or at too high a cost.

        Their nodes are kept for the demand, so that nobody takes what is free there already. One for whom
        `engine.kept_for` then names nodes shrinks to them.
        """
        if why != NO_ROOM or self._held is None:
            return []
        for claims in self._claims:
            if self._may_hope(claims, demand, now):
                found = self._cheapest(self._held, claims, demand, engine, now)
                if found is not None:
                    self._keep(found, demand, engine)
                    return list(found.job_ids)
                shape, strength = _shape(claims, demand, now)
                self._refused[shape] = strength
        engine.wake(now + RECHECK_S)
        return []

    def _may_hope(self, claims: Claims, demand: Demand, now: float) -> bool:
        if not claims.may_hope(demand, now):
            return False
        shape, strength = _shape(claims, demand, now)
        return shape not in self._refused or strength < self._refused[shape]

    def _cheapest(self, held: Holdings, claims: Claims, demand: Demand, engine: Engine, now: float) -> Clearing | None:
        # The holdings are as the pass found them: what starts within the pass is left alone.
        if self._cost is None:
            self._cost = held.lost_milli_s(now, self._restart_s)
            self._ran_enough: Mask = now - held.started_at >= self._min_run_s
        may = claims.may_take(demand, now) & held.may_yield & self._ran_enough
        most_s = claims.lost_max_s(demand)
        for search in (self._shrinking,) if claims is self._bends else (self._shrinking, clearing.find):
            found = search(engine, held, demand, may, self._cost)
            if found is not None and (most_s is None or found.cost <= most_s * demand.gpu_milli):
                return found
        return None

    def _shrinking(
        self, engine: Engine, held: Holdings, demand: Demand, may: Mask, cost: NDArray[np.int64]
    ) -> Clearing | None:
        """The cheapest way in which everybody who stops may go on at once, on the fewer nodes that it is left."""
        may = may & (held.spare_nodes > 0)
        for _ in range(SHRINKS_TRIED_MAX):
            found = clearing.find(engine, held, demand, may, cost)
            if found is None:
                return None
            slots = [held.slot_of[job_id] for job_id in found.job_ids]
            left = [len(_left(engine.running[job_id], found)) for job_id in found.job_ids]
            fewest = [engine.running[job_id].demand.nodes_min for job_id in found.job_ids]
            ended = [slot for slot, there, least in zip(slots, left, fewest, strict=True) if there < least]
            if not ended:
                return found
            may[ended] = False
        return None

    def _keep(self, found: Clearing, demand: Demand, engine: Engine) -> None:
        """Nodes for whom they are cleared, and for those who shrink what they are left."""
        if self._held is not None:
            self._held.told_to_yield(found.job_ids)
        for node_id in found.node_ids:
            engine.keep(node_id, demand)
        for job_id in found.job_ids:
            running = engine.running[job_id]
            left = _left(running, found)
            if len(left) >= running.demand.nodes_min:
                for node_id in left:
                    engine.keep(node_id, running.demand)


def _shape(claims: Claims, demand: Demand, now: float) -> tuple[object, tuple[float, ...]]:
    group, strength = claims.standing(demand, now)
    return (id(claims), demand.ask, demand.nodes_min, demand.within, group), strength


def _left(running: Running, found: Clearing) -> list[str]:
    """The nodes of a job that are not cleared."""
    return [share.node_id for share in running.shares if share.node_id not in found.node_ids]
