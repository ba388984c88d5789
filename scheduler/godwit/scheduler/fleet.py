"""The engine as a snapshot has it: what is free, what runs, who waits, and what is kept for whom."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from godwit.domain.ids import JobId
from godwit.domain.jobs import Attempt, AttemptState, Fabric, Job, JobKind, JobState, Resources
from godwit.domain.nodes import Health, Node, NodeState
from godwit.domain.offers import Offer
from godwit.domain.resources import Infra
from godwit.scheduler import repair
from godwit.scheduler.asks import Ask, NodeKind
from godwit.scheduler.avoidance import Avoiding
from godwit.scheduler.cluster import ANYWHERE, FABRIC, Cluster, Share
from godwit.scheduler.demands import Demand
from godwit.scheduler.engine import Engine
from godwit.scheduler.fits import Scorer, best_fit
from godwit.scheduler.fragmentation import Fragmentation, Workload
from godwit.scheduler.health import attribution
from godwit.scheduler.policies import Gate, Order, Yielding
from godwit.scheduler.snapshot import Snapshot


def demand_of(job: Job, snapshot: Snapshot, now: float) -> Demand:
    """A job as the planner weighs it. Its estimate counts from the start of its attempt, or from now if it waits."""
    resources, attempt = job.spec.resources, snapshot.attempt_by_job.get(job.id)
    estimate = snapshot.estimate(job, now)
    ran_s = 0.0 if attempt is None else max(0.0, now - attempt.created_at)
    ask, low, high = _where(job, snapshot)
    return Demand(
        job.id,
        ask,
        job.created_at,
        low,
        high,
        within=ANYWHERE if resources.fabric is Fabric.ANY or resources.nodes_max == 1 else FABRIC,
        project=job.project,
        priority=job.spec.priority,
        is_recovering=job.state in {JobState.RECOVERING, JobState.RESIZING},
        served_gpu_s=snapshot.served_gpu_s.get(job.id, 0.0),
        estimate_s=None if estimate is None else ran_s + estimate.left_s,
        may_yield=job.spec.preemptible,
        yielded_at=snapshot.yielded_at.get(job.id),
        stood_on=snapshot.stood_on.get(job.id, ()),
        serves=job.spec.kind is JobKind.SERVICE,
    )


def _where(job: Job, snapshot: Snapshot) -> tuple[Ask, int, int]:
    """What a job asks for. One that migrates goes to the nodes that are kept for it, and to no others meanwhile."""
    ask, resources = snapshot.ask_of(job), job.spec.resources
    kept = [node for node in snapshot.nodes if node.reserved_for == job.id] if job.state is JobState.MIGRATING else []
    if not kept:
        most = resources.nodes_max if job.nodes_wanted is None else max(resources.nodes_min, job.nodes_wanted)
        return ask, resources.nodes_min, most
    there = dict.fromkeys(Infra(node.offer.provider, node.offer.region) for node in kept)
    return replace(ask, infra=tuple(there), data=()), len(kept), len(kept)


def engine_of(
    snapshot: Snapshot,
    waiting: Iterable[Job],
    now: float,
    *,
    order: Order | None = None,
    gate: Gate | None = None,
    yielding: Yielding | None = None,
) -> Engine:
    """An engine that was told of everything in the snapshot."""
    engine = Engine(Cluster(), order=order, gate=gate, yielding=yielding, patience=snapshot.policy.patience)
    kinds: dict[Offer, NodeKind] = {}
    barred = attribution.barred(snapshot) | attribution.unsettled(snapshot, now)
    for node in snapshot.nodes:
        kind = kinds.get(node.offer)
        if kind is None:
            kind = kinds[node.offer] = NodeKind.of(node.offer)
        _add(engine.cluster, node, kind, is_open=node.state is NodeState.READY and node.id not in barred)
    for attempt in snapshot.attempts:
        _start(engine, attempt, snapshot, now)
    demands = {job.id: demand_of(job, snapshot, now) for job in waiting}
    expecting = repair.expecting(snapshot)
    for node in snapshot.nodes:
        if node.reserved_for is not None and node.reserved_for in expecting:
            engine.keep(node.id, demands.get(node.reserved_for) or Demand(node.reserved_for, Ask(), 0.0))
    for demand in demands.values():
        engine.submit(demand)
        if engine.kept_for(demand.job_id):
            engine.gate.promised(demand, {})  # what was bought or freed for it is as good as held
    for job_id, leaving in _leaving(snapshot).items():
        if job_id in demands:
            engine.gives_way(leaving, demands[job_id])
    # What runs and what waits tells best what will be asked next; of nothing at all nothing can be learned.
    asked = [running.demand.ask for running in engine.running.values()] + [demand.ask for demand in demands.values()]
    workload = Workload(asked)
    scorer: Scorer = Fragmentation(engine.cluster, workload) if workload.total else best_fit
    doubtful = attribution.doubtful(snapshot) | attribution.hot(snapshot)
    if workload.total or doubtful:
        engine.score_by(Avoiding(scorer, engine.cluster, doubtful) if doubtful else scorer)
    return engine


def _leaving(snapshot: Snapshot) -> dict[JobId, list[JobId]]:
    """Whom each job waits for that others give way to."""
    found: dict[JobId, list[JobId]] = {}
    for attempt in snapshot.attempts:
        if attempt.yields_to is not None:
            found.setdefault(attempt.yields_to, []).append(attempt.job_id)
    return found


def _add(cluster: Cluster, node: Node, kind: NodeKind, *, is_open: bool) -> None:
    place = {} if node.offer.fabric_domain is None else {"fabric": node.offer.fabric_domain}
    usable = [gpu.index for gpu in node.gpus if gpu.health is Health.HEALTHY]
    # CPUs and memory as they were sold: what a machine reports is always a little less, and a job that asks for all of
    # it would be bought one machine after the other.
    cluster.add(node.id, kind, place, gpus=usable, is_open=is_open)


def _start(engine: Engine, attempt: Attempt, snapshot: Snapshot, now: float) -> None:
    job = snapshot.job_by_id.get(attempt.job_id)
    # A job that is final may still have an attempt that stops; what it holds besides GPUs is freed a moment early.
    rest = Demand(attempt.job_id, Ask.of(Resources()), attempt.created_at)
    demand = rest if job is None else demand_of(job, snapshot, now)
    engine.started(demand, _shares(attempt, demand.ask, engine.cluster), attempt.created_at)
    if attempt.state is AttemptState.STOPPING:
        engine.running[attempt.job_id].yields_to = ""
    saved_at = snapshot.saved_at.get(attempt.job_id)
    if saved_at is not None:
        engine.saved(attempt.job_id, max(saved_at, attempt.created_at))


def _shares(attempt: Attempt, ask: Ask, cluster: Cluster) -> Iterator[Share]:
    width = cluster.free.shape[1]
    for slot in attempt.slots:
        if not slot.released and slot.node_id in cluster.row_of:
            there = tuple(gpu for gpu in slot.gpus if gpu < width)  # a node may have come back with fewer
            yield Share(slot.node_id, there, slot.gpu_milli, ask.cpu_milli, ask.memory_mib, ask.tenant)
