"""Time sharing without knowing how long jobs run: least attained service first, in levels that double.

The longer a job has run, the longer it is likely to run on (durations of training jobs are heavy-tailed), so whoever
got least so far is likely to be done soonest. Service is GPUs x time ("2D-LAS", Tiresias: Gu et al., NSDI'19). Levels
keep jobs of like service from taking turns: within one the older goes first, and only a job that is `GAP` levels
further gives way.

    level(served) = 0 below one GPU-hour, 1 below two, 2 below four, ...
"""

import math

import numpy as np
from godwit.scheduler.demands import Demand
from godwit.scheduler.holdings import Holdings, Mask
from godwit.scheduler.policies import Rank, Yielding
from godwit.scheduler.preemption import RECHECK_S, RESTART_S, LeastLost, LowerPriority

FIRST_GPU_S = 3600.0
"""Service of the first level: a GPU-hour. Most jobs of a research cluster never reach it: they are never stopped."""

GAP = 2
"""Levels between who takes and who gives way: the latter got at least twice what the former may have got at most."""

LOST_MAX_S = 300.0
"""The most that stops may cost per GPU gained: half of a usual time between checkpoints, so that a job gives way soon
after it saved. A job that never saves never gives way to another of its own priority."""

PATIENCE = 2.0
"""A demand that has waited so many times what it ran goes back to the first level, so that nobody starves. Tiresias has
the same rule (PromoteKnob)."""

KNOWN_MAX = 100_000
"""Demands whose level is remembered: it is asked for in every pass, and only changes when they run."""


def yielding(order: "LeastServed", *, restart_s: float = RESTART_S) -> Yielding:
    """Who gives way under this order: lower priorities at any cost, then whoever got much more, while it is cheap."""
    return LeastLost(LowerPriority(), order, restart_s=restart_s)


class LeastServed:
    """An order of the engine, and the claims of its `preemption.LeastLost`. Priority comes before service."""

    def __init__(
        self,
        *,
        first_gpu_s: float = FIRST_GPU_S,
        gap: int = GAP,
        lost_max_s: float | None = LOST_MAX_S,
        patience: float = PATIENCE,
    ) -> None:
        self._first_gpu_s, self.gap = first_gpu_s, gap
        self._lost_max_s, self._patience = lost_max_s, patience
        self._known: dict[str, tuple[Demand, int, float]] = {}

    def level(self, served_gpu_s: float) -> int:
        """0 below the first level's service, and one more for each doubling."""
        return max(0, math.frexp(served_gpu_s / self._first_gpu_s)[1])

    def rank(self, demand: Demand, served_gpu_s: float) -> Rank:
        """Priority, then level. Of equals, the engine lets the older go first."""
        return (-demand.priority, self.level(served_gpu_s))

    def turn(self, demand: Demand, now: float) -> Rank:
        """As the rank, but on the first level for one that has waited too long."""
        return (-demand.priority, self.level_of(demand, now))

    def begin(self, held: Holdings, now: float) -> None:
        """Look at the levels of all that runs."""
        self._held = held
        self.levels = np.maximum(0, np.frexp(held.all_served_gpu_s(now) / self._first_gpu_s)[1])
        there = held.may_yield
        self._lowest = int(held.priority[there].min()) if there.any() else None
        is_lowest = there & (held.priority == self._lowest)
        self._furthest = {} if self._lowest is None else {self._lowest: int(self.levels[is_lowest].max())}

    def standing(self, demand: Demand, now: float) -> tuple[object, tuple[float, ...]]:
        """As the turn."""
        return None, self.turn(demand, now)

    def may_hope(self, demand: Demand, now: float) -> bool:
        """Whether anybody has a lower priority, or the same and got so much more."""
        if self._lowest is None or demand.priority < self._lowest:
            return False
        if demand.priority > self._lowest:
            return True
        if self._furthest[self._lowest] >= self.level_of(demand, now) + self.gap:
            return True
        self._held.engine.wake(now + RECHECK_S)  # whoever runs gets further, though nothing else may happen
        return False

    def may_take(self, demand: Demand, now: float) -> Mask:
        """All of lower priority, and of its own those who got so much more."""
        held = self._held
        more = (held.priority == demand.priority) & (self.levels >= self.level_of(demand, now) + self.gap)
        found: Mask = (held.priority < demand.priority) | more
        return found

    def lost_max_s(self, demand: Demand) -> float | None:  # noqa: ARG002 - the protocol's signature
        """The same for all."""
        return self._lost_max_s

    def level_of(self, demand: Demand, now: float) -> int:
        """The level at which it is served: its own, or the first for one that has waited too long."""
        known = self._known.get(demand.job_id)
        if known is None or known[0] is not demand:
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            known = self._known[demand.job_id] = (demand, self.level(demand.served_gpu_s), self._first_again_at(demand))
        return 0 if now > known[2] else known[1]

    def _first_again_at(self, demand: Demand) -> float:
        if demand.yielded_at is None or not demand.gpu_milli:
            return math.inf
        ran_s = demand.served_gpu_s * 1000 / demand.gpu_milli
        return demand.yielded_at + self._patience * ran_s
