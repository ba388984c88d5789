"""A node as a pod: the manifest that a launch becomes, and what a pod's status says of the instance. Pure."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from godwit.domain.errors import RequestRejected
from godwit.domain.ids import InstanceId, ProviderName
from godwit.domain.offers import Instance, InstanceState
from godwit.providers import tags
from godwit.providers.kubernetes_pods import room
from godwit.providers.kubernetes_pods.options import Options
from godwit.providers.protocol import LaunchRequest
from godwit.providers.rest import instant_of

Json = Mapping[str, Any]

NODE_DIR = "/gw"
"""The agent's private folder: short, since sockets lie below it."""

NOTICE = f"{NODE_DIR}/notice"
"""Where the agent looks for how many seconds are left."""

SHAPE = "godwit-shape"
"""The annotation that says what was bought: a name used again for something else is told by it."""

PRICE = "godwit-usd-per-hour"

START = '(umask 077; printf %s "$GODWIT_STARTUP" > /gw/startup); unset GODWIT_STARTUP; exec /bin/sh /gw/startup'
"""The command: the script passes through the environment, since arguments can be read by every process of the host.
The tight umask is not for the jobs that run later, hence the parentheses."""

NEVER_STARTS = frozenset(
    {
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
"""Reasons for which a container waits and will go on waiting. ErrImagePull is a first try and may pass."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?")
_LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


def name_of(token: str) -> str:
    """The pod's name, which is the idempotency key: the token where it can be a name, else its hash."""
    fits = _NAME.fullmatch(token) is not None
    return "gw-" + (token if fits else hashlib.sha256(token.encode()).hexdigest()[:40])


def manifest(request: LaunchRequest, options: Options) -> dict[str, Any]:
    """The pod that a launch asks for. Raises `RequestRejected` for what no pod of this cluster can be."""
    for mark in (request.token, request.owner):
        if _LABEL.fullmatch(mark) is None:
            raise RequestRejected(f"{mark!r} cannot be the value of a label, so a pod cannot be found by it")
    offer = request.offer
    labels = {**options.labels, tags.TOKEN: request.token, tags.OWNER: request.owner}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name_of(request.token),
            "labels": labels,
            "annotations": {SHAPE: shape_of(request), PRICE: repr(offer.price_usd_per_hour)},
        },
        "spec": {
            "restartPolicy": "Never",  # a pod is one machine: another one is another launch
            "automountServiceAccountToken": False,  # jobs have no business with the cluster
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": options.grace_s,
            "containers": [_container(request, options)],
            "volumes": _volumes(offer.gpu_count, options),
            "tolerations": room.tolerations(options),
            **_where(request, options),
            **({"priorityClassName": options.priority_class} if options.priority_class else {}),
            **({"imagePullSecrets": [{"name": name} for name in options.pull_secrets]} if options.pull_secrets else {}),
        },
    }


def shape_of(request: LaunchRequest) -> str:
    """Place, type and market of what is bought."""
    offer = request.offer
    return "/".join((offer.region, offer.zone or "-", offer.instance_type, "spot" if offer.spot else "on-demand"))


def _container(request: LaunchRequest, options: Options) -> dict[str, Any]:
    offer = request.offer
    limits = {room.resource_of(offer.gpu_model or ""): str(offer.gpu_count), "memory": f"{int(offer.memory_gib)}Gi"}
    if options.rdma and offer.fabric_domain is not None:
        limits[options.rdma] = "1"
    mounts = [{"name": "node", "mountPath": NODE_DIR}, {"name": "shm", "mountPath": "/dev/shm"}]  # noqa: S108
    if options.cache_claim:
        mounts.append({"name": "cache", "mountPath": "/cache"})
    return {
        "name": "agent",
        "image": options.image,
        "command": ["/bin/sh", "-c", START],
        "env": [
            {"name": "GODWIT_STARTUP", "value": escaped(request.startup_script)},
            {"name": "GODWIT_NODE_DIR", "value": NODE_DIR},
            {"name": "GODWIT_NODE_ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        ],
        # No limit on CPUs: it would throttle a node that nobody else uses.
        "resources": {"limits": limits, "requests": {**limits, "cpu": str(offer.cpus)}},
        "volumeMounts": mounts,
        # The container's first process is a shell, which hears no signal: this is how the agent learns of the end.
        "lifecycle": {"preStop": {"exec": {"command": ["/bin/sh", "-c", f"echo {options.grace_s} > {NOTICE}"]}}},
    }


def escaped(script: str) -> str:
    """A value that Kubernetes turns back into the script: it reads $(NAME) and $$ in environment variables."""
    return script.replace("$", "$$")


def _volumes(gpus: int, options: Options) -> list[dict[str, Any]]:
    shm = f"{int(options.shared_memory_gib_per_gpu * gpus * 1024)}Mi"
    volumes: list[dict[str, Any]] = [
        {"name": "node", "emptyDir": {}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": shm}},
    ]
    if options.cache_claim:
        volumes.append({"name": "cache", "persistentVolumeClaim": {"claimName": options.cache_claim}})
    return volumes


def _where(request: LaunchRequest, options: Options) -> dict[str, Any]:
    """The nodes that are this offer's: any label may name the model, and any may say spot."""
    offer = request.offer
    try:
        product, gpus, fabric = room.parse_type(offer.instance_type)
    except ValueError as exc:
        raise RequestRejected(str(exc)) from exc
    if gpus != offer.gpu_count or not offer.gpu_model or _LABEL.fullmatch(product) is None:
        raise RequestRejected(f"{offer.instance_type} is not a type of this cluster")
    exact = dict(options.selectors.get(offer.gpu_model, {}))
    if offer.region != room.NOWHERE:
        exact[room.REGION] = offer.region
    if offer.zone is not None:
        exact[room.ZONE] = offer.zone
    if fabric is not None and options.fabric_label:
        exact[options.fabric_label] = fabric
    terms = [
        {"matchExpressions": [{"key": label, "operator": "In", "values": [product]}, *market]}
        for label in options.model_labels()
        for market in _markets(offer.spot, options)
    ]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    return {"affinity": {"nodeAffinity": required}, **({"nodeSelector": exact} if exact else {})}


def _markets(spot: bool, options: Options) -> list[list[dict[str, Any]]]:
    """Alternatives of what must hold all together."""
    marks = [(label, value) for label, value in options.spot_labels.items()]
    if spot:
        return [[{"key": label, "operator": "In", "values": [value]}] for label, value in marks]
    return [[{"key": label, "operator": "NotIn", "values": [value]} for label, value in marks]]


def instance_of(
    provider: ProviderName, pod: Json, nodes: Mapping[str, Json] | None, now: float, wait_s: float
) -> Instance:
    """A pod as an instance. `nodes` by name, where they were asked for: a running pod on a silent one is in doubt."""
    meta = pod["metadata"]
    labels, notes = meta.get("labels") or {}, meta.get("annotations") or {}
    region, zone, instance_type, market = _shape(notes.get(SHAPE, ""))
    state, detail = state_of(pod, nodes, now, wait_s)
    return Instance(
        InstanceId(meta["name"]), provider, state, region, zone, instance_type, labels.get(tags.TOKEN),
        labels.get(tags.OWNER), market == "spot", _price(notes.get(PRICE, "")), instant_of(meta["creationTimestamp"]),
        detail,
    )  # fmt: skip


def state_of(pod: Json, nodes: Mapping[str, Json] | None, now: float, wait_s: float) -> tuple[InstanceState, str]:
    """The state and the cluster's own words for it. A phase never seen before is `UNKNOWN`."""
    status = pod.get("status") or {}
    phase = str(status.get("phase") or "")
    disruption = _condition(status, "DisruptionTarget", "True")
    if pod["metadata"].get("deletionTimestamp"):
        return InstanceState.STOPPING, disruption or "Terminating"
    if phase == "Succeeded":
        return InstanceState.TERMINATED, phase
    if phase == "Failed":
        return InstanceState.FAILED, _failure(status) or disruption or phase
    if phase == "Pending":
        return _pending(status, now, wait_s)
    if phase == "Running":
        silent = _silence(pod, nodes)
        return (InstanceState.UNKNOWN, silent) if silent else (InstanceState.RUNNING, disruption or phase)
    return InstanceState.UNKNOWN, phase or "no phase"


def unschedulable(pod: Json) -> str | None:
    """Why the scheduler finds no node for it; None when it does not say so."""
    return _refused(pod.get("status") or {}) or None


def scheduled(pod: Json) -> bool:
    """Whether it has its node."""
    return bool(pod["spec"].get("nodeName"))


def in_doubt(pod: Json) -> bool:
    """Whether it runs as far as the cluster knows, but is not ready: the control plane marks so the pods of nodes that
    went silent."""
    status = pod.get("status") or {}
    return status.get("phase") == "Running" and bool(_condition(status, "Ready", "False"))


def _pending(status: Json, now: float, wait_s: float) -> tuple[InstanceState, str]:
    refused = _refused(status)
    if refused:
        since = next(c for c in status["conditions"] if c["type"] == "PodScheduled").get("lastTransitionTime")
        late = now - (instant_of(since) if since else now) >= wait_s
        return (InstanceState.FAILED if late else InstanceState.PROVISIONING), f"no capacity: {refused}"
    for container in status.get("containerStatuses") or []:
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason = waiting.get("reason", "")
        if reason in NEVER_STARTS:
            return InstanceState.FAILED, _words(reason, waiting.get("message"))
        if reason:
            return InstanceState.PROVISIONING, _words(reason, waiting.get("message"))
    return InstanceState.PROVISIONING, "Pending"


def _refused(status: Json) -> str:
    if status.get("nominatedNodeName"):
        return ""  # it waits for pods of lower priority to end there
    return _condition(status, "PodScheduled", "False", "Unschedulable")


def _silence(pod: Json, nodes: Mapping[str, Json] | None) -> str:
    """Why nobody knows whether it still runs: it may, so it is neither running nor failed."""
    if nodes is None or not in_doubt(pod):
        return ""
    name = pod["spec"].get("nodeName", "")
    node = nodes.get(name)
    if node is None:
        return f"NodeGone: its node {name} is not in the cluster any more"
    return "" if room.ready(node) else f"NodeNotReady: its node {name} does not report"


def _failure(status: Json) -> str:
    if status.get("reason"):
        return _words(status["reason"], status.get("message"))
    for container in status.get("containerStatuses") or []:
        ended = (container.get("state") or {}).get("terminated")
        if ended:
            return _words(ended.get("reason") or "Error", f"exit code {ended.get('exitCode')}")
    return ""


def _condition(status: Json, kind: str, value: str, reason: str | None = None) -> str:
    """Reason and message of a condition that holds; empty when it does not."""
    conditions: Sequence[Json] = status.get("conditions") or []
    for each in conditions:
        if (each["type"], each["status"]) == (kind, value) and reason in {None, each.get("reason")}:
            return _words(each.get("reason") or kind, each.get("message"))
    return ""


def _words(reason: str, message: str | None) -> str:
    return " ".join(f"{reason}: {message}".split())[:300] if message else reason


def _shape(note: str) -> tuple[str, str | None, str, str]:
    parts = note.split("/")
    if len(parts) != 4:
        return room.NOWHERE, None, "unknown", "on-demand"
    region, zone, instance_type, market = parts
    return region, None if zone == "-" else zone, instance_type, market


def _price(note: str) -> float:
    try:
        return float(note)
    except ValueError:
        return 0.0
