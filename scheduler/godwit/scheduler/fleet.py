"""What of the fleet is free: GPUs, CPUs and memory per node, net of what live attempts hold. Mutable while planning."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from godwit.domain.ids import JobId, NodeId
from godwit.domain.jobs import Attempt, Job, Resources, Slot
from godwit.domain.nodes import Health, Node
from godwit.scheduler.snapshot import Snapshot

FabricKey = tuple[str, str, str]
"""Provider, region and fabric domain; a node without a fabric is a domain of its own."""


@dataclass
class FreeNode:
    """A node and what is free on it."""

    node: Node
    gpus: list[int]
    cpus: float
    memory_gib: float
    reserved_for: JobId | None

    @property
    def fabric(self) -> FabricKey:
        """The fabric domain that the node lies in."""
        offer = self.node.offer
        return (offer.provider, offer.region, offer.fabric_domain or self.node.id)


def cpus_of(resources: Resources) -> int:
    """CPUs that a job takes of a node: a job without GPUs takes at least one."""
    return resources.cpus if resources.gpus.count else max(1, resources.cpus)


@dataclass
class Fleet:
    """Free capacity by node; `take` books it while a plan is made."""

    by_id: dict[NodeId, FreeNode] = field(default_factory=dict)

    def take(self, slots: Iterable[Slot], resources: Resources) -> None:
        """Book what an attempt's slots hold."""
        for slot in slots:
            free = self.by_id.get(slot.node_id)
            if free is None or slot.released:
                continue
            free.gpus = [index for index in free.gpus if index not in slot.gpus]
            free.cpus -= cpus_of(resources)
            free.memory_gib -= resources.memory_gib
            free.reserved_for = None


def free_of(snapshot: Snapshot) -> Fleet:
    """The free capacity of every node of the snapshot, whatever its state."""
    fleet = Fleet()
    for node in snapshot.nodes:
        healthy = [gpu.index for gpu in node.gpus if gpu.health is Health.HEALTHY]
        fleet.by_id[node.id] = FreeNode(node, healthy, node.cpus, node.memory_gib, node.reserved_for)
    for attempt in snapshot.attempts:
        fleet.take(attempt.slots, _resources_of(attempt, snapshot.job_by_id.get(attempt.job_id)))
    return fleet


def _resources_of(attempt: Attempt, job: Job | None) -> Resources:
    # A job that is final may still have an attempt that stops; what it holds besides GPUs is freed a moment early.
    return job.spec.resources if job is not None and attempt.slots else Resources()
