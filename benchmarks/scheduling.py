"""How fast decisions are at the size of a large fleet: 5,000 nodes of 8 GPUs, 80 % full, 10,000 gangs in the queue.

Nodes are of three GPU models in 40 fabric domains; gangs ask for 1, 2 or 4 GPUs or for 1 to 16 whole nodes of one
fabric, in 20 projects with three priorities, with CPUs and memory that bind. The projects share the fleet in four
cohorts, each with a quota of a twentieth, by family too; they borrow, and are served by fair share. *Sustained*:
twenty jobs end, as many arrive, one pass decides, again and again, so that fleet and queue stay as full as they were.
*Incremental*: one job ends, one pass. *Full re-plan*: `planner.plan` on a snapshot of all of it, every refusal told.
Baselines in the same run: the same without quotas, by priority alone; first fit over the same arrays without order,
gate or explanation; and Kueue's own performance test (43 workloads a second, kubernetes-sigs/kueue
test/performance/scheduler). How cost grows is printed without quotas.

Times are CPU seconds of this process, which does nothing else and has one thread: on a machine that others use too,
wall time measures them.
"""

import random
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median, quantiles

from godwit.scheduler import quotas
from godwit.scheduler.accounts import Limit, Quota
from godwit.scheduler.asks import Ask, NodeKind
from godwit.scheduler.cluster import Cluster
from godwit.scheduler.demands import Demand
from godwit.scheduler.engine import Engine
from godwit.scheduler.fair_share import FairShare, Usage
from godwit.scheduler.quotas import Quotas
from godwit.scheduler.reclaim import Reclaim

from benchmarks.figures import Figure, at_least, at_most

NODES, QUEUE, DOMAINS, PROJECTS = 5_000, 10_000, 40, 20
MODELS = ("H100-SXM", "A100-80GB-SXM", "H200-SXM")
GANGS = ((1, 1), (2, 1), (4, 1), (8, 1), (8, 1), (8, 2), (8, 4), (8, 8), (8, 16))
"""GPUs per node and nodes; the small ones are most of any trace, the large ones most of its GPU time."""

FULL = 0.8
SEED = 11
BATCH = 20
CURVE = (500, 1_000, 2_000, 5_000, 10_000)
KUEUE_PER_S = 43.0


def measure() -> Iterator[Figure]:
    """Placements per second, one decision, a full pass, memory, and how cost grows with nodes and queue."""
    fleet = _Fleet(NODES, make=_with_quotas)
    full_s = fleet.timed()
    rates = [fleet.sustained(1_000) for _ in range(5)]
    steps = sorted(fleet.step() for _ in range(1_000))
    what = f"{NODES:,} nodes, {QUEUE:,} gangs queued"
    yield Figure("scheduling: gangs placed, sustained", median(rates), "/s", at_least(2_000), what)
    yield Figure(
        "scheduling: one decision, p99", quantiles(steps, n=100)[98] * 1000, "ms", at_most(10), "one job ended"
    )
    yield Figure("scheduling: one decision, median", median(steps) * 1000, "ms")
    plain = _Fleet(NODES)
    plain.timed()
    rates = [plain.sustained(1_000) for _ in range(5)]
    yield Figure("scheduling: gangs placed without quotas", median(rates), "/s", note="baseline, by priority alone")
    yield Figure("scheduling: first pass over the queue", full_s * 1000, "ms", note="every index built")
    yield Figure("scheduling: Kueue's own test, published", KUEUE_PER_S, "/s", note="baseline, another machine")
    yield Figure("scheduling: first fit over the same arrays", _first_fit_rate(), "/s", note="baseline, no order")
    yield from _curve()
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    yield Figure("scheduling: peak memory", peak_mb, "MB", at_most(500), "of this process, curve included")


@dataclass
class _Fleet:
    """A full fleet with a full queue."""

    nodes: int
    queue: int = QUEUE
    rng: random.Random = field(default_factory=lambda: random.Random(SEED))
    number: int = 0
    make: Callable[[Cluster], Engine] = Engine

    def __post_init__(self) -> None:
        self.engine = self.make(_cluster(self.nodes))
        self.running: list[str] = []
        filled = 0
        while filled < FULL * self.nodes * 8:
            demand = self.gang(largest=4)
            rows = self.engine.room(demand)
            if rows is not None:
                self.engine.started(demand, [self.engine.cluster.share(row, demand.ask) for row in rows], 0.0)
                self.running.append(demand.job_id)
                filled += demand.ask.gpus * demand.nodes_min
        for _ in range(self.queue):
            self.engine.submit(self.gang())

    def gang(self, largest: int = 16) -> Demand:
        """Another one that asks for something."""
        self.number += 1
        gpus, nodes = self.rng.choice([gang for gang in GANGS if gang[1] <= largest])
        ask = Ask(gpus, cpu_milli=gpus * 8_000, memory_mib=gpus * 65_536, models=(self.rng.choice(MODELS),))
        project, priority = f"project-{self.rng.randrange(PROJECTS)}", self.rng.choice((-100, 0, 100))
        return Demand(f"job-{self.number}", ask, float(self.number), nodes, nodes, project=project, priority=priority)

    def timed(self) -> float:
        """Seconds of one pass."""
        began = time.process_time()
        decision = self.engine.decide(0.0)
        took_s = time.process_time() - began
        self.running += [start.demand.job_id for start in decision.starts]
        self._refill(len(decision.starts))
        return took_s

    def step(self) -> float:
        """Seconds of the end of one job and the pass after it."""
        job_id = self._any_running()
        began = time.process_time()
        self.engine.ended(job_id)
        decision = self.engine.decide(0.0)
        took_s = time.process_time() - began
        self.running += [start.demand.job_id for start in decision.starts]
        self._refill(len(decision.starts))
        return took_s

    def sustained(self, placements: int) -> float:
        """Gangs placed a second while the fleet and the queue stay full; arrivals and ends are in the time."""
        placed, spent_s = 0, 0.0
        while placed < placements:
            ending = [self._any_running() for _ in range(BATCH)]
            began = time.process_time()
            for job_id in ending:
                self.engine.ended(job_id)
            starts = self.engine.decide(0.0).starts
            spent_s += time.process_time() - began
            self.running += [start.demand.job_id for start in starts]
            placed += len(starts)
            arrivals = [self.gang() for _ in starts]
            began = time.process_time()
            for demand in arrivals:
                self.engine.submit(demand)
            spent_s += time.process_time() - began
        return placed / spent_s

    def _refill(self, count: int) -> None:
        for _ in range(count):
            self.engine.submit(self.gang())

    def _any_running(self) -> str:
        index = self.rng.randrange(len(self.running))
        self.running[index], self.running[-1] = self.running[-1], self.running[index]
        return self.running.pop()


def _with_quotas(cluster: Cluster) -> Engine:
    gpus = cluster.size * 8
    own, family = Limit(gpus * 1000 // PROJECTS), Limit(gpus * 1000 // PROJECTS // len(MODELS))
    limits = {quotas.GPUS: own, **dict.fromkeys(MODELS, family)}
    gate = Quotas(Quota(f"project-{number}", limits, f"cohort-{number % 4}") for number in range(PROJECTS))
    usage = Usage({quotas.GPUS: gpus * 1000, quotas.CPUS: cluster.size * 192_000}, gate)
    order = FairShare(usage, gate, tiers=(0, 100))
    return Engine(cluster, order=order, gate=usage, yielding=Reclaim(gate, patience_s=60.0))


def _cluster(nodes: int) -> Cluster:
    cluster = Cluster()
    for number in range(nodes):
        domain = number % DOMAINS
        kind = NodeKind(MODELS[domain % len(MODELS)], 8, 80.0, 192_000, 2_048 * 1_024, "cloud", "region")
        rack = f"rack-{domain}-{number // DOMAINS // 8}"
        cluster.add(f"node-{number:05}", kind, {"fabric": f"fabric-{domain}", "rack": rack})
    return cluster


def _curve() -> Iterator[Figure]:
    """One decision against the size of the fleet, and against the length of the queue."""
    for nodes in CURVE:
        fleet = _Fleet(nodes)
        fleet.timed()
        steps = [fleet.step() for _ in range(300)]
        yield Figure(f"scheduling: one decision at {nodes:,} nodes", median(steps) * 1000, "ms", note="median")
    for queue in (1_000, 10_000, 100_000):
        fleet = _Fleet(1_000, queue)
        pass_s = fleet.timed()
        yield Figure(f"scheduling: one pass, {queue:,} in the queue", pass_s * 1000, "ms", note="1,000 nodes")


def _first_fit_rate() -> float:
    """Gangs of one node a second, each on the first row with enough GPUs."""
    fleet = _Fleet(NODES, queue=0)
    cluster, count = fleet.engine.cluster, 1_000
    gangs = [gang for gang in (fleet.gang(largest=1) for _ in range(10 * count)) if gang.ask.gpus < 8][:count]
    began = time.process_time()
    placed = 0
    for demand in gangs:
        fits = (cluster.free[: cluster.size] == 1000).sum(axis=1) >= demand.ask.gpus
        row = int(fits.argmax())
        if fits[row]:
            cluster.take(cluster.share(row, demand.ask))
            placed += 1
    return placed / (time.process_time() - began)
