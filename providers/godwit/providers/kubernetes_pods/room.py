"""What a cluster has room for: nodes and pods in, offers out. Pure."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from godwit.domain import gpu_names
from godwit.domain.ids import ProviderName
from godwit.domain.offers import Offer
from godwit.providers.kubernetes_pods.options import Options
from kubernetes.utils.quantity import parse_quantity

Json = Mapping[str, Any]
Amounts = Sequence[Any]
"""GPUs, CPUs and bytes of memory, as `Decimal` or 0."""

REGION, ZONE = "topology.kubernetes.io/region", "topology.kubernetes.io/zone"

NOWHERE = "cluster"
"""The region of nodes that have no label for one, as in a cluster of one's own."""

SHARE = 0.9
"""The part of a node's CPUs and memory that GPUs share; the rest is for the pods that a cluster runs on every node."""

NVIDIA, AMD = "nvidia.com/gpu", "amd.com/gpu"

WHOLE = (None, "cpu", "memory")
"""What a pod as a whole can request, in the order of `Amounts`: no GPUs."""

LIFECYCLE, IN_PRODUCTION = "node.coreweave.cloud/state", "production"
"""CoreWeave's own label: other states mean that the node is being tested or repaired."""

CARVED = ("-SHARED", "-MIG-")
"""In the product's name: GPU feature discovery says that a GPU is a time slice or a part of one."""


@dataclass(frozen=True)
class NodeKind:
    """What makes nodes interchangeable. `product` is the label's value, `model` godwit's name for it."""

    product: str
    model: str
    region: str
    zone: str | None
    fabric: str | None
    spot: bool


@dataclass(frozen=True)
class Free:
    """GPUs, CPUs and GiB of memory."""

    gpus: int
    cpus: float
    memory_gib: float


@dataclass(frozen=True)
class Host:
    """One node: what it has for pods, and how much of it is free."""

    kind: NodeKind
    gpu_memory_gib: float
    whole: Free
    free: Free


def resource_of(model: str) -> str:
    """The resource that a pod requests for GPUs of this model."""
    return AMD if model.startswith("MI") else NVIDIA


def type_of(kind: NodeKind, gpus: int) -> str:
    """The instance type: product, GPUs and fabric. Label values hold no colon, so `parse_type` reads it again."""
    return ":".join(filter(None, (kind.product, str(gpus), kind.fabric)))


def parse_type(instance_type: str) -> tuple[str, int, str | None]:
    """Product, GPUs and fabric. Raises `ValueError` when it is none of ours."""
    product, *rest = instance_type.split(":")
    if not product or len(rest) not in {1, 2} or not rest[0].isdecimal() or not int(rest[0]):
        raise ValueError(f"{instance_type} is not a type of this cluster")
    return product, int(rest[0]), rest[1] if rest[1:] else None


def offers(
    name: ProviderName, nodes: Iterable[Json], pods: Iterable[Json], options: Options, now: float
) -> list[Offer]:
    """One offer per kind of node and size: 1, 2, 4 GPUs and so on, and all that a node has."""
    taken = requested(pods)
    groups: dict[NodeKind, list[Host]] = defaultdict(list)
    for node in nodes:
        host = host_of(node, taken[node["metadata"]["name"]], options)
        if host is not None:
            groups[host.kind].append(host)
    return [offer for hosts in groups.values() for offer in _offers(name, hosts, options, now)]


def _offers(name: ProviderName, hosts: Sequence[Host], options: Options, now: float) -> Iterator[Offer]:
    kind = hosts[0].kind
    for gpus in _sizes(max(host.whole.gpus for host in hosts)):
        price = options.price_usd_per_hour(kind.model, gpus, spot=kind.spot)
        able = [host for host in hosts if host.whole.gpus >= gpus]
        need = Free(gpus, *(min(share) for share in zip(*(_share(h, gpus, options) for h in able), strict=True)))
        if price is not None and need.cpus >= 1 and need.memory_gib >= 1:
            yield Offer(
                name, kind.region, kind.zone, type_of(kind, gpus), kind.model, gpus, able[0].gpu_memory_gib,
                int(need.cpus), float(need.memory_gib), price, kind.spot, sum(_fitting(h.free, need) for h in able),
                None if kind.fabric is None else f"{name}/{kind.fabric}", now,
            )  # fmt: skip


def host_of(node: Json, taken: Free, options: Options) -> Host | None:
    """A node as a host; None when no pod of ours could start there."""
    meta, allocatable = node["metadata"], node.get("status", {}).get("allocatable") or {}
    labels = meta.get("labels") or {}
    product = next((labels[label] for label in options.model_labels() if labels.get(label)), None)
    if product is None or any(word in product for word in CARVED) or not _usable(node, labels, options):
        return None
    memory_gib = _number(labels.get("nvidia.com/gpu.memory")) / 1024
    model = gpu_names.normalise(product, memory_gib) or product
    gpus = int(quantity(allocatable.get(resource_of(model))))
    wanted = options.selectors.get(model, {})
    if not gpus or any(labels.get(label) != value for label, value in wanted.items()):
        return None
    fabric = labels.get(options.fabric_label) if options.fabric_label else None
    spot = any(labels.get(label) == value for label, value in options.spot_labels.items())
    kind = NodeKind(product, model, labels.get(REGION) or NOWHERE, labels.get(ZONE), fabric, spot)
    whole = Free(gpus, float(quantity(allocatable.get("cpu"))), float(quantity(allocatable.get("memory"))) / 2**30)
    free = Free(gpus - taken.gpus, whole.cpus - taken.cpus, whole.memory_gib - taken.memory_gib)
    return Host(kind, memory_gib, whole, free)


def requested(pods: Iterable[Json]) -> Mapping[str, Free]:
    """By node, what its live pods have requested."""
    taken: dict[str, Free] = defaultdict(lambda: Free(0, 0.0, 0.0))
    for pod in pods:
        node = pod["spec"].get("nodeName")
        if node and pod.get("status", {}).get("phase") not in {"Succeeded", "Failed"}:
            asked, before = _requests(pod["spec"]), taken[node]
            taken[node] = Free(before.gpus + asked.gpus, before.cpus + asked.cpus, before.memory_gib + asked.memory_gib)
    return taken


def ready(node: Json) -> bool:
    """Whether its kubelet reports, and reports well."""
    conditions = node.get("status", {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def tolerations(options: Options) -> list[dict[str, Any]]:
    """What the pods tolerate: the usual taint of GPU nodes, and what the configuration names."""
    usual = [{"key": key, "operator": "Exists", "effect": "NoSchedule"} for key in (NVIDIA, AMD)]
    return [*usual, *options.tolerations]


def quantity(text: Any) -> Any:
    """A Kubernetes quantity, such as "15500m" or "2Ti", as a `Decimal`; 0 when there is none."""
    return parse_quantity(text) if text is not None else 0


def _usable(node: Json, labels: Mapping[str, str], options: Options) -> bool:
    spec = node.get("spec") or {}
    in_production = labels.get(LIFECYCLE, IN_PRODUCTION) == IN_PRODUCTION
    if spec.get("unschedulable") or node["metadata"].get("deletionTimestamp") or not in_production:
        return False
    hard = [taint for taint in spec.get("taints") or [] if taint["effect"] != "PreferNoSchedule"]
    return ready(node) and all(any(_tolerates(t, taint) for t in tolerations(options)) for taint in hard)


def _tolerates(toleration: Json, taint: Json) -> bool:
    if toleration.get("effect") not in {None, "", taint["effect"]}:
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in {None, "", taint["key"]}
    return (toleration.get("key"), toleration.get("value", "")) == (taint["key"], taint.get("value", ""))


def _requests(spec: Json) -> Free:
    """What the scheduler counts for a pod (Kubernetes v1.36, component-helpers, `PodRequests`): its containers and
    sidecars together, or an init container with the sidecars begun before it where that is more, and what its runtime
    adds. What the pod as a whole requests counts instead where it is told."""
    running = _sum(_asked(container) for container in spec.get("containers") or [])
    sidecars: Amounts = (0, 0, 0)
    starting: list[Amounts] = []
    for container in spec.get("initContainers") or []:
        with_it = _sum((sidecars, _asked(container)))
        starting.append(with_it)
        if container.get("restartPolicy") == "Always":
            sidecars = with_it
    most = [max(each) for each in zip(_sum((running, sidecars)), *starting, strict=True)]
    whole = (spec.get("resources") or {}).get("requests") or {}
    told = [quantity(whole[name]) if name in whole else each for name, each in zip(WHOLE, most, strict=True)]
    gpus, cpus, memory = _sum((told, _asked({"resources": {"requests": spec.get("overhead") or {}}})))
    return Free(int(gpus), float(cpus), float(memory) / 2**30)


def _sum(amounts: Iterable[Amounts]) -> Amounts:
    """GPUs, CPUs and bytes, each added up."""
    return tuple(sum(each) for each in zip((0, 0, 0), *amounts, strict=True))


def _asked(container: Json) -> Amounts:
    resources = container.get("resources") or {}
    asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return (
        quantity(asked.get(NVIDIA)) + quantity(asked.get(AMD)),
        quantity(asked.get("cpu")),
        quantity(asked.get("memory")),
    )


def _share(host: Host, gpus: int, options: Options) -> tuple[int, int]:
    cpus = options.cpus_per_gpu or SHARE * host.whole.cpus / host.whole.gpus
    memory_gib = options.memory_gib_per_gpu or SHARE * host.whole.memory_gib / host.whole.gpus
    return math.floor(cpus * gpus), math.floor(memory_gib * gpus)


def _fitting(free: Free, need: Free) -> int:
    fits = (free.gpus // need.gpus, free.cpus // need.cpus, free.memory_gib // need.memory_gib)
    return max(0, int(min(fits)))


def _sizes(most: int) -> list[int]:
    return sorted({2**power for power in range(most.bit_length())} | {most})


def _number(text: str | None) -> float:
    return float(text) if text and text.isdecimal() else 0.0
