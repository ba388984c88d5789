"""Policies by name: the planner as it ships, and the baselines that it is compared with.

What ships is the engine with an order and a rule of giving way. Baselines that know how long each job runs are marked:
nothing that ships may ask for that.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from godwit.scheduler import giving_way, time_sharing
from godwit.scheduler.asks import WHOLE
from godwit.scheduler.cluster import Cluster
from godwit.scheduler.demands import Decision, Demand
from godwit.scheduler.engine import Engine
from godwit.scheduler.fair_share import FairShare, Usage
from godwit.scheduler.giving_way import Preemption
from godwit.scheduler.preemption import LeastLost, LowerPriority
from godwit.scheduler.projects import TIERS
from godwit.scheduler.quotas import GPUS, Quotas
from godwit.scheduler.reservations import Patience
from godwit.scheduler.simulator.baselines import Easy, InLine
from godwit.scheduler.time_sharing import LeastServed


class Policy(Protocol):
    """What a world asks. It books starts on its engine itself; of ends the world tells the engine."""

    engine: Engine

    def submit(self, demand: Demand, work_s: float) -> None:
        """A demand begins to wait, with so much work left; only an oracle may look at that."""
        ...

    def decide(self, now: float) -> Decision:
        """What to do now."""
        ...


class Planner:
    """The engine as it is."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def submit(self, demand: Demand, work_s: float) -> None:  # noqa: ARG002 - durations are not for the planner
        """Tell the engine."""
        self.engine.submit(demand)

    def decide(self, now: float) -> Decision:
        """Ask the engine."""
        return self.engine.decide(now)


@dataclass(frozen=True, slots=True)
class Named:
    """A policy that can be asked for by name."""

    make: Callable[[Cluster, float], Policy]
    told: str
    is_oracle: bool = False


def _shipped(cluster: Cluster, _restart_s: float) -> Policy:
    """As `planner.plan` puts it together for a control plane in which no project has a quota."""
    gate = Quotas(())
    gpus = sum(cluster.kinds[kind].gpus for kind in cluster.kind[: cluster.size])
    usage = Usage({GPUS: gpus * WHOLE}, gate)
    order = FairShare(usage, gate, tiers=TIERS)
    yielding = giving_way.yielding_of(Preemption(), gate)
    return Planner(Engine(cluster, order=order, gate=usage, yielding=yielding, patience=Patience()))


def _shared(cluster: Cluster, restart_s: float) -> Policy:
    order = LeastServed()
    return Planner(Engine(cluster, order=order, yielding=time_sharing.yielding(order, restart_s=restart_s)))


def _free_of_cost(cluster: Cluster, _restart_s: float) -> Policy:
    order = LeastServed(gap=1, lost_max_s=None)
    return Planner(Engine(cluster, order=order, yielding=LeastLost(order, restart_s=0.0, min_run_s=0.0, calm_s=0.0)))


POLICIES: Mapping[str, Named] = {
    "default": Named(_shipped, "as a control plane decides: fair shares of users, backfill, lower priorities give way"),
    "priority": Named(
        lambda cluster, restart_s: Planner(Engine(cluster, yielding=LeastLost(LowerPriority(), restart_s=restart_s))),
        "priority, then age; lower priorities give way; whoever fits may pass",
    ),
    "time-sharing": Named(_shared, "priority, then least attained service; whoever got much more gives way"),
    "fifo": Named(lambda cluster, _: InLine(Engine(cluster)), "in order of submission, nobody passes"),
    "easy-oracle": Named(
        lambda cluster, _: Easy(Engine(cluster)), "in order; passes who cannot delay the first; knows durations", True
    ),
    "sjf-oracle": Named(
        lambda cluster, _: InLine(Engine(cluster), shortest_first=True), "shortest first; knows durations", True
    ),
    "las-costless": Named(
        _free_of_cost, "time sharing as if stops cost nothing; run it with --restart 0 --checkpoint 0"
    ),
}
"""Policies by name, in the order in which they are told."""
