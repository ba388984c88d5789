"""A node is one machine with an agent; it holds GPUs, and leases that let it run attempts for a while unheard."""

from dataclasses import dataclass
from enum import StrEnum

from godwit.domain.ids import GpuUuid, InstanceId, JobId, NodeId
from godwit.domain.offers import Offer


class NodeState(StrEnum):
    """Where a node stands in its life; health is a matter of its own. Edges are in `lifecycle`."""

    REQUESTED = "requested"
    PROVISIONING = "provisioning"
    JOINING = "joining"
    READY = "ready"
    CORDONED = "cordoned"
    DRAINING = "draining"
    LOST = "lost"
    TERMINATING = "terminating"
    TERMINATED = "terminated"
    FAILED = "failed"


class Health(StrEnum):
    """What is believed of a GPU's fitness."""

    HEALTHY = "healthy"
    SUSPECT = "suspect"
    FAULTY = "faulty"
    QUARANTINED = "quarantined"
    RETIRED = "retired"


@dataclass(frozen=True)
class Gpu:
    """One device, known by its UUID wherever it turns up; `index` is its place on the node."""

    uuid: GpuUuid
    index: int
    model: str
    memory_gib: float
    health: Health = Health.HEALTHY


@dataclass(frozen=True)
class Node:
    """One machine, bought as `offer`. `instance_id` is None until the provider has named it.

    `last_seen_at` is when its agent was last heard. `lease_until` is the last instant at which the node may still run
    an attempt if it hears nothing more: the control plane gives its work to others only after that, or when the
    provider says that the machine is gone (`gone`). `reserved_for` is the job for which it was bought and which has not
    started on it yet. `idle_since` is set while no attempt holds anything of it. `leaves_at` is when its provider takes
    the machine back, once its agent was told so. `confinement` is what its agent says of whom programs run as.
    """

    id: NodeId
    offer: Offer
    state: NodeState
    created_at: float
    state_since: float
    instance_id: InstanceId | None = None
    address: str | None = None
    gpus: tuple[Gpu, ...] = ()
    cpus: int = 0
    memory_gib: float = 0.0
    last_seen_at: float | None = None
    lease_until: float | None = None
    gone: bool = False
    reserved_for: JobId | None = None
    idle_since: float | None = None
    leaves_at: float | None = None
    detail: str = ""
    confinement: str = ""
    version: int = 1
