"""A fleet that is only rows: as many nodes as wanted, most of them busy, some idle, and a few that are broken."""

import random
from collections.abc import Iterator

from godwit.control_plane.store import entities
from godwit.control_plane.store.database import Database
from godwit.domain.health import Incident, IncidentState, Remedy
from godwit.domain.ids import AttemptId, GpuUuid, IncidentId, InstanceId, JobId, NodeId, ProjectId, ProviderName
from godwit.domain.jobs import Attempt, AttemptState, Job, JobSpec, JobState, Resources, Slot
from godwit.domain.nodes import Gpu, Health, Node, NodeState
from godwit.domain.offers import Offer
from godwit.domain.resources import parse_gpus

GPUS = 8
GANG = 16
"""Nodes of one job."""

PROVIDERS = ("aurora", "borealis", "cascade")
_FATES = {3: NodeState.LOST, 5: NodeState.DRAINING}
"""What becomes of one node in two hundred each."""

REGIONS, DOMAIN = 4, 64
"""Regions of a provider, and nodes of one fabric."""


def seed(db: Database, nodes: int, now: float) -> None:
    """Write a fleet of `nodes` nodes with eight GPUs each, in one transaction; the same each time."""
    rng = random.Random(7)
    made = [_node(rng, number, now) for number in range(nodes)]
    ready = [node for node in made if node.state is NodeState.READY]
    with db.write() as tx:
        for node in made:
            entities.insert(tx, node)
        for number in range(len(ready) // GANG):
            if number % 8 != 7:  # an eighth of the gangs' places is idle
                job, attempt = _job(number, ready[number * GANG : (number + 1) * GANG], now)
                entities.insert(tx, job)
                entities.insert(tx, attempt)
        for node in made:
            for incident in _incidents(node, now):
                entities.insert(tx, incident)


def _node(rng: random.Random, number: int, now: float) -> Node:
    provider = PROVIDERS[number % len(PROVIDERS)]
    region = f"{provider}-{number // DOMAIN % REGIONS}"
    offer = Offer(
        ProviderName(provider), region, f"{region}a", "h100.8x", "H100-SXM", GPUS, 80.0, 208, 1800.0,
        20.0 + number % 3, spot=number % 5 == 0, fabric_domain=f"{region}/{number // DOMAIN}",
    )  # fmt: skip
    state = _FATES.get(number % 200, NodeState.READY)
    gpus = tuple(
        Gpu(GpuUuid(f"GPU-{rng.getrandbits(64):016x}"), i, "H100-SXM", 80.0, _health(rng.random())) for i in range(GPUS)
    )
    return Node(
        NodeId(f"node-{number:04x}{rng.getrandbits(48):012x}"), offer, state, now - 1000.0, now - rng.random() * 9e5,
        InstanceId(f"i-{rng.getrandbits(68):017x}"), f"10.0.{number // 250}.{number % 250}", gpus, 208, 1800.0, now,
    )  # fmt: skip


def _health(fate: float) -> Health:
    return Health.FAULTY if fate < 0.001 else Health.SUSPECT if fate < 0.002 else Health.HEALTHY


def _job(number: int, on: list[Node], now: float) -> tuple[Job, Attempt]:
    job_id, project = JobId(f"job-{number:06d}"), ProjectId(f"team-{number % 12}")
    resources = Resources(gpus=parse_gpus("H100:8"), nodes_min=len(on), nodes_max=len(on))
    spec = JobSpec(name=f"train-{number}", run="python train.py", resources=resources, project=project)
    job = Job(job_id, project, spec, JobState.RUNNING, now - 9e4, now - 8e4, epoch=1)
    slots = tuple(
        Slot(node.id, rank, tuple(range(GPUS)), node.address or "", gpu_milli=1000) for rank, node in enumerate(on)
    )
    attempt_id = AttemptId(f"{job_id}-1")
    return job, Attempt(attempt_id, job_id, 1, AttemptState.RUNNING, slots, 6379, now - 8e4, now - 8e4)


def _incidents(node: Node, now: float) -> Iterator[Incident]:
    sick = tuple(gpu.uuid for gpu in node.gpus if gpu.health is Health.FAULTY)
    if sick:
        yield Incident(
            IncidentId(f"{node.id}/1"), node.id, node.offer.provider, IncidentState.REPAIRING, now - 60, now - 60,
            "kernel-log", "xid:79", "fallen-off", "it fell off the bus", Remedy.REBOOT, sick,
        )  # fmt: skip
