"""How fast the planner decides from a snapshot, in process: 200 queued gangs on 500 nodes, and 10,000 on 5,000.

On a free fleet every gang is placed; on a full one every gang is refused with its reasons, which is what the planner
does most of its life. The baseline is a first fit without reasons, prices or fabrics: what deciding costs at least.
"""

import random
import time
from collections.abc import Callable, Iterator
from statistics import median

from godwit.domain.ids import AttemptId, GpuUuid, JobId, NodeId, ProjectId, ProviderName
from godwit.domain.jobs import Attempt, AttemptState, Job, JobSpec, JobState, Resources, Slot
from godwit.domain.nodes import Gpu, Node, NodeState
from godwit.domain.offers import Offer
from godwit.domain.resources import GpuAsk
from godwit.scheduler import planner
from godwit.scheduler.plan import Plan, StartAttempt
from godwit.scheduler.snapshot import Snapshot

from benchmarks.figures import Figure, at_most

NODES, GPUS, GANGS, FABRICS = 500, 8, 200, 10
SHAPES = ((1, 1), (1, 2), (1, 4), (1, 8), (2, 8), (4, 8))
"""Nodes and GPUs per node of a gang; together they fill less than half of the fleet."""

LARGE_NODES, LARGE_QUEUE, LARGE_FABRICS = 5_000, 10_000, 40
LARGE_SHAPES = (*SHAPES, (8, 8), (16, 8))

ROUNDS = 5
SEED = 7
NOW = 1_790_000_000.0


def measure() -> Iterator[Figure]:
    """Decisions per second on a free fleet and on a full one, and the baseline's."""
    free, full = _snapshot(full=False), _snapshot(full=True)
    placed, refused, fitted = [], [], []
    for _ in range(ROUNDS):
        placed.append(_timed(lambda: _started(planner.plan(free, NOW, SEED)), GANGS))
        refused.append(_timed(lambda: len(planner.plan(full, NOW, SEED).refusals), GANGS))
        fitted.append(_timed(lambda: _first_fit(free), GANGS))
    fleet = f"{NODES} nodes x {GPUS} GPUs, one plan for {GANGS} gangs"
    yield Figure("planner: gangs placed", GANGS / median(placed), "/s", note=f"{fleet}: {median(placed) * 1000:.0f} ms")
    yield Figure("planner: gangs refused, fleet full", GANGS / median(refused), "/s", note="every reason of every node")
    yield Figure("planner: first fit, no reasons", GANGS / median(fitted), "/s", note="baseline")
    large = _large_snapshot()
    took = [_cpu_s(large) for _ in range(3)]
    what = f"{LARGE_NODES:,} nodes, {LARGE_QUEUE:,} gangs, every refusal told; CPU time"
    yield Figure("planner: a full re-plan from a snapshot", median(took), "s", at_most(2), what)


def _timed(decide: Callable[[], int], wanted: int) -> float:
    began = time.perf_counter()
    decided = decide()
    took_s = time.perf_counter() - began
    if decided != wanted:
        raise RuntimeError(f"{decided} of {wanted} gangs were decided as this measurement needs it")
    return took_s


def _cpu_s(snapshot: Snapshot) -> float:
    began = time.process_time()
    made = planner.plan(snapshot, NOW, SEED)
    took_s = time.process_time() - began
    if _started(made) + len(made.refusals) != LARGE_QUEUE:
        raise RuntimeError("a job that waits got neither a place nor a reason")
    return took_s


def _large_snapshot() -> Snapshot:
    """A fleet that is 80 % full, and that the queue would fill many times over."""
    rng = random.Random(SEED)
    nodes = tuple(_node(number, LARGE_FABRICS) for number in range(LARGE_NODES))
    busy = nodes[: LARGE_NODES * 4 // 5]
    running = tuple(_job(f"job-on-{node.id}", 1, GPUS, JobState.RUNNING) for node in busy)
    attempts = tuple(_attempt(job, node) for job, node in zip(running, busy, strict=True))
    waiting = tuple(_job(f"job-{number:05}", *rng.choice(LARGE_SHAPES)) for number in range(LARGE_QUEUE))
    sold_out = tuple({node.offer.key: node.offer for node in nodes}.values())
    return Snapshot(jobs=(*running, *waiting), attempts=attempts, nodes=nodes, offers=sold_out, serving_since=NOW)


def _started(plan: Plan) -> int:
    return sum(isinstance(action, StartAttempt) for action in plan.actions)


def _snapshot(*, full: bool) -> Snapshot:
    rng = random.Random(SEED)
    nodes = tuple(_node(number) for number in range(NODES))
    jobs = tuple(_job(f"job-{number:04}", *rng.choice(SHAPES)) for number in range(GANGS))
    if not full:
        return Snapshot(jobs=jobs, nodes=nodes, serving_since=NOW)
    running = tuple(_job(f"job-on-{node.id}", 1, GPUS, JobState.RUNNING) for node in nodes)
    attempts = tuple(_attempt(job, node) for job, node in zip(running, nodes, strict=True))
    sold_out = tuple({node.offer.key: node.offer for node in nodes}.values())
    return Snapshot(jobs=(*running, *jobs), attempts=attempts, nodes=nodes, offers=sold_out, serving_since=NOW)


def _node(number: int, fabrics: int = FABRICS) -> Node:
    offer = Offer(
        ProviderName("cloud"), f"region-{number % fabrics}", None, "h100.8x", "H100-SXM", GPUS, 80.0, 128, 1024.0,
        price_usd_per_hour=20.0 + number % 7, fabric_domain=f"fabric-{number % fabrics}", capacity=0, seen_at=NOW,
    )  # fmt: skip
    gpus = tuple(Gpu(GpuUuid(f"GPU-{number}-{index}"), index, "H100-SXM", 80.0) for index in range(GPUS))
    return Node(
        NodeId(f"node-{number:04}"), offer, NodeState.READY, NOW - 600, NOW - 500, address=f"10.0.{number}.1",
        gpus=gpus, cpus=128, memory_gib=1024.0, last_seen_at=NOW, lease_until=NOW + 15, idle_since=NOW,
    )  # fmt: skip


def _job(name: str, nodes: int, gpus: int, state: JobState = JobState.QUEUED) -> Job:
    resources = Resources(gpus=GpuAsk(gpus, ("H100",)), nodes_min=nodes, nodes_max=nodes)
    spec = JobSpec(name=name, run="true", resources=resources)
    return Job(JobId(name), ProjectId("default"), spec, state, created_at=NOW - 60, state_since=NOW - 60, epoch=0)


def _attempt(job: Job, node: Node) -> Attempt:
    slots = (Slot(node.id, 0, tuple(range(GPUS)), node.address or ""),)
    attempt_id = AttemptId(f"attempt-{node.id}")
    return Attempt(attempt_id, job.id, 1, AttemptState.RUNNING, slots, 20_000, NOW - 60, NOW - 60)


def _first_fit(snapshot: Snapshot) -> int:
    """Gangs placed by taking the first nodes with enough GPUs."""
    free, placed = {node.id: len(node.gpus) for node in snapshot.nodes}, 0
    for job in snapshot.jobs:
        gpus, wanted = job.spec.resources.gpus.count, job.spec.resources.nodes_min
        chosen = [node_id for node_id, left in free.items() if left >= gpus][:wanted]
        if len(chosen) == wanted:
            placed += 1
            for node_id in chosen:
                free[node_id] -= gpus
    return placed
