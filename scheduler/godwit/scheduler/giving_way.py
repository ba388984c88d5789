"""Who gives way to whom in a running fleet: what was borrowed goes back, and what is less urgent makes room.

Puts `reclaim` (a quota is in the way), `preemption` (there is no room) and `time_sharing` behind one seam, with rules
that only matter where several are at work:

- a job that gave way less than `CALM_S` ago asks nobody to, in whatever way, so that one stop never leads to the next;
- what a project holds within its own amount does not give way to what another borrows, however urgent: it would claim
  it back at once;
- where time is shared, a job passes those of other projects only that are served later than its own: they would take
  the place back.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from godwit.scheduler.demands import Demand
from godwit.scheduler.engine import Engine
from godwit.scheduler.entitlements import Entitled
from godwit.scheduler.fair_share import FairShare
from godwit.scheduler.holdings import Holdings, Mask
from godwit.scheduler.policies import Nobody, Yielding
from godwit.scheduler.preemption import CALM_S, RECHECK_S, Claims, LeastLost, LowerPriority
from godwit.scheduler.quotas import Quotas
from godwit.scheduler.reclaim import Reclaim
from godwit.scheduler.spikes import SpareNodes
from godwit.scheduler.time_sharing import LOST_MAX_S, LeastServed

_THIS_PASS_S = 0.001
"""What starts in the very pass that asks is left alone, whatever the policy: nobody could be told to stop it yet."""


class GivesWay(StrEnum):
    """What may be stopped for others: nothing, what was borrowed, or also what has a lower priority."""

    OFF = "off"
    QUOTA = "quota"
    PRIORITY = "priority"


@dataclass(frozen=True)
class Preemption:
    """`min_run_s`: a job that started less long ago is left alone.

    Five minutes: a start costs about one (a Ray cluster, a checkpoint to read), so that at most a fifth of the GPUs'
    time can go to starts however often jobs give way. `time_sharing`: also whoever got much more gives way, of the same
    priority; not where `by` is off.
    """

    by: GivesWay = GivesWay.PRIORITY
    min_run_s: float = 300.0
    time_sharing: bool = False


def yielding_of(policy: Preemption, gate: Quotas, order: FairShare | None = None) -> Yielding:
    """The engine's `Yielding` under a policy, beside this gate; where time is shared, by the levels of `order`."""
    if policy.by is GivesWay.OFF:
        return Nobody()
    least_s = max(policy.min_run_s, _THIS_PASS_S)
    by_priority = policy.by is GivesWay.PRIORITY
    claims: list[Claims] = [OwnFirst(gate) if by_priority else Entitled(gate, passes_less_urgent=False)]
    if policy.time_sharing and order is not None and order.served is not None:
        claims.append(MuchMore(gate, order, order.served))
    no_room = LeastLost(*claims, bends=SpareNodes(gate) if by_priority else None, min_run_s=least_s)
    return Calm(Reclaim(gate, no_room, passes_less_urgent=by_priority, min_run_s=least_s))


class Calm:
    """A `Yielding` of which nobody asks anything who gave way lately."""

    def __init__(self, inner: Yielding, *, calm_s: float = CALM_S) -> None:
        self._inner, self._calm_s = inner, calm_s

    def may_help_anybody(self, engine: Engine, now: float) -> bool:
        """As the other."""
        return self._inner.may_help_anybody(engine, now)

    def may_help(self, demand: Demand, engine: Engine, now: float) -> bool:
        """As the other, but not for one that gave way lately."""
        is_calm = demand.yielded_at is None or now - demand.yielded_at >= self._calm_s
        return is_calm and self._inner.may_help(demand, engine, now)

    def choose(self, demand: Demand, why: str, engine: Engine, now: float) -> list[str]:
        """As the other."""
        return self._inner.choose(demand, why, engine, now)


class OwnFirst(LowerPriority):
    """Claims of `LeastLost`: what is less urgent, and besides what others borrow of what is the demand's own.

    Who would borrow takes from its own project and from borrowers only.
    """

    def __init__(self, gate: Quotas) -> None:
        self._gate, self._entitled = gate, Entitled(gate)

    def begin(self, held: Holdings, now: float) -> None:
        """A pass begins."""
        super().begin(held, now)
        self._entitled.begin(held, now)

    def standing(self, demand: Demand, now: float) -> tuple[object, tuple[float, ...]]:
        """The priority, among the demands of one project that may take from the same."""
        return self._entitled.standing(demand, now)

    def may_hope(self, demand: Demand, now: float) -> bool:
        """Whether anything lower runs, or anybody borrows what is its own."""
        return super().may_hope(demand, now) or self._entitled.may_hope(demand, now)

    def may_take(self, demand: Demand, now: float) -> Mask:
        """All that is lower, or of that only what its own project or a borrower holds; and what it is entitled to."""
        lower = super().may_take(demand, now)
        if self._gate.borrows(demand, demand.nodes_min):
            held = self._held
            for job_id, slot in held.slot_of.items():
                other = held.engine.running[job_id].demand
                lower[slot] &= other.project == demand.project or self._gate.borrows(other, 0)
        found: Mask = lower | self._entitled.may_take(demand, now)
        return found


class MuchMore:
    """Claims of `LeastLost`: of no higher priority, whoever got so much more that it is levels further.

    Of other projects only those of which the standing is worse; and who would borrow passes borrowers only.
    """

    def __init__(self, gate: Quotas, order: FairShare, served: LeastServed) -> None:
        self._gate, self._order, self._served = gate, order, served

    def begin(self, held: Holdings, now: float) -> None:
        """Look at the levels of all that runs."""
        self._held, self._furthest = held, dict[int, int]()
        self._served.begin(held, now)

    def standing(self, demand: Demand, now: float) -> tuple[object, tuple[float, ...]]:
        """The level, among the demands of one project and priority that may take from the same."""
        group = (demand.project, demand.priority, self._gate.borrows(demand, demand.nodes_min))
        return group, (self._served.level_of(demand, now),)

    def may_hope(self, demand: Demand, now: float) -> bool:
        """Whether anybody of its priority or lower is so much further."""
        held, priority = self._held, demand.priority
        if priority not in self._furthest:
            there = self._served.levels[held.may_yield & (held.priority <= priority)]
            self._furthest[priority] = int(there.max()) if len(there) else -1
        if self._furthest[priority] >= self._served.level_of(demand, now) + self._served.gap:
            return True
        if self._furthest[priority] >= 0:
            held.engine.wake(now + RECHECK_S)  # whoever runs gets further, though nothing else may happen
        return False

    def may_take(self, demand: Demand, now: float) -> Mask:
        """By slot of the holdings, who may be taken."""
        held, least = self._held, self._served.level_of(demand, now) + self._served.gap
        found: Mask = held.may_yield & (held.priority <= demand.priority) & (self._served.levels >= least)
        borrows = self._gate.borrows(demand, demand.nodes_min)
        mine = self._order.standing(demand.project, now)
        for slot in np.flatnonzero(found).tolist():
            other = held.engine.running[held.ids[slot]].demand
            found[slot] = other.project == demand.project or (
                self._order.standing(other.project, now) > mine and not (borrows and not self._gate.borrows(other, 0))
            )
        return found

    def lost_max_s(self, demand: Demand) -> float | None:  # noqa: ARG002 - the protocol's signature
        """The same for all."""
        return LOST_MAX_S
