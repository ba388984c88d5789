"""Small fleets, queues and markets, said in few words."""

from dataclasses import replace
from typing import Any

from godwit.domain.ids import AttemptId, GpuUuid, JobId, NodeId, ProjectId, ProviderName
from godwit.domain.jobs import Attempt, AttemptState, Job, JobSpec, JobState, Resources, Slot
from godwit.domain.nodes import Gpu, Node, NodeState
from godwit.domain.offers import Offer
from godwit.domain.resources import GpuAsk
from godwit.scheduler.snapshot import Snapshot

NOW = 1_000.0


def offer(name: str = "h100.8x", *, provider: str = "lambda", price: float = 20.0, **fields: Any) -> Offer:
    """Eight H100 on demand, unless said otherwise."""
    base = Offer(
        ProviderName(provider), "east", None, name, "H100-SXM", 8, 80.0, 200, 1800.0, price, fabric_domain="f1"
    )
    return replace(base, **fields)


def node(name: str, sold_as: Offer | None = None, state: NodeState = NodeState.READY, **fields: Any) -> Node:
    """A node that was heard just now."""
    sold_as = sold_as or offer()
    gpus = tuple(
        Gpu(GpuUuid(f"GPU-{name}-{i}"), i, sold_as.gpu_model or "", sold_as.gpu_memory_gib)
        for i in range(sold_as.gpu_count)
    )
    base = Node(
        NodeId(name), sold_as, state, NOW - 100, NOW - 100, address="127.0.0.9", gpus=gpus, cpus=sold_as.cpus,
        memory_gib=sold_as.memory_gib, last_seen_at=NOW - 0.5, lease_until=NOW + 14.5, idle_since=NOW - 1,
    )  # fmt: skip
    return replace(base, **fields)


def job(name: str, gpus: int = 8, nodes: int = 1, state: JobState = JobState.QUEUED, **fields: Any) -> Job:
    """A queued job for H100s; fields of `Resources` go there, others to the job."""
    own: dict[str, Any] = {key: fields.pop(key) for key in list(fields) if key in Resources.__dataclass_fields__}
    ask = GpuAsk(gpus, ("H100",) if gpus else ())
    wanted: dict[str, Any] = {"gpus": ask, "nodes_min": nodes, "nodes_max": nodes} | own
    resources = Resources(**wanted)
    spec = JobSpec(name, "true", resources=resources, priority=fields.pop("priority", 0))
    base = Job(JobId(name), ProjectId("default"), spec, state, NOW - 50, NOW - 50)
    return replace(base, **fields)


def attempt(of: Job, *nodes: Node, state: AttemptState = AttemptState.RUNNING, **fields: Any) -> Attempt:
    """An attempt that holds the first GPUs of these nodes."""
    count = of.spec.resources.gpus.count
    slots = tuple(Slot(n.id, rank, tuple(range(count)), n.address or "") for rank, n in enumerate(nodes))
    base = Attempt(AttemptId(f"{of.id}-a"), of.id, max(1, of.epoch), state, slots, 20_000, NOW - 40, NOW - 40)
    return replace(base, **fields)


def world(**fields: Any) -> Snapshot:
    """A snapshot of a control plane that has served for long."""
    given: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
    return Snapshot(**{"serving_since": NOW - 1_000} | given)
