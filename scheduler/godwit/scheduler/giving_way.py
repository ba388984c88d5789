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
from godwit.scheduler.entitlements import Entitled
from godwit.scheduler.holdings import Holdings, Mask
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
    by_priority = policy.by is GivesWay.PRIORITY
    no_room = LeastLost(OwnFirst(gate) if by_priority else Entitled(gate, passes_less_urgent=False), min_run_s=least_s)
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
