"""Who gives way to whom in a running fleet: what was borrowed goes back, and what is less urgent makes room.

Puts `reclaim` (a quota is in the way) and `preemption` (there is no room) behind one seam, with two rules that only
matter where both are at work:

- a job that gave way less than `CALM_S` ago asks nobody to, in whatever way, so that one stop never leads to the next;
- what a project holds within its own amount does not give way to what another borrows, however urgent: it would claim
  it back at once.
"""

from dataclasses import dataclass
from enum import StrEnum

from godwit.scheduler.demands import Demand
from godwit.scheduler.engine import Engine
from godwit.scheduler.holdings import Mask
from godwit.scheduler.policies import Nobody, Yielding
from godwit.scheduler.preemption import CALM_S, LeastLost, LowerPriority
from godwit.scheduler.quotas import Quotas
from godwit.scheduler.reclaim import Reclaim

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
    time can go to starts however often jobs give way.
    """

    by: GivesWay = GivesWay.PRIORITY
    min_run_s: float = 300.0


def yielding_of(policy: Preemption, gate: Quotas) -> Yielding:
    """The engine's `Yielding` under a policy, beside this gate."""
    if policy.by is GivesWay.OFF:
        return Nobody()
    least_s = max(policy.min_run_s, _THIS_PASS_S)
    if policy.by is GivesWay.QUOTA:
        return Calm(Reclaim(gate, passes_less_urgent=False, min_run_s=least_s))
    no_room = LeastLost(OwnFirst(gate), min_run_s=least_s)
    return Calm(Reclaim(gate, no_room, min_run_s=least_s))


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
    """Claims of `LeastLost`: lower priorities. Who would borrow takes them from its own project and from borrowers."""

    def __init__(self, gate: Quotas) -> None:
        self._gate = gate

    def standing(self, demand: Demand, now: float) -> tuple[object, tuple[float, ...]]:
        """The priority, among those who may take from the same."""
        _, strength = super().standing(demand, now)
        return (demand.project if self._borrows(demand) else None), strength

    def may_take(self, demand: Demand, now: float) -> Mask:
        """All that is lower, or of that only what its own project or a borrower holds."""
        lower = super().may_take(demand, now)
        if not self._borrows(demand):
            return lower
        held = self._held
        for job_id, slot in held.slot_of.items():
            other = held.engine.running[job_id].demand
            lower[slot] &= other.project == demand.project or self._gate.borrows(other, 0)
        return lower

    def _borrows(self, demand: Demand) -> bool:
        return self._gate.borrows(demand, demand.nodes_min)
