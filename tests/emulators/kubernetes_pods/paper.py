"""A cluster on paper: nodes from shapes, and behind each pod a machine of the simulated `Cloud`, which schedules it."""

from collections.abc import Sequence

from godwit.providers.simulated.catalogue import Shape
from godwit.providers.simulated.vendor import Refused

from tests.emulators.emulator import Emulator
from tests.emulators.kubernetes_pods import objects
from tests.emulators.kubernetes_pods.store import Json, Key, Store

_PHASES = {"provisioning": "Pending", "running": "Running", "failed": "Failed"}

RENTAL = "rental"
"""The annotation that says which machine of the cloud is behind a pod."""


class Paper:
    """Scheduler, kubelets and controllers of the emulated cluster. Without shapes they do nothing."""

    def __init__(self, emulator: Emulator, store: Store, shapes: Sequence[Shape]) -> None:
        self._emulator, self._store, self._shapes = emulator, store, tuple(shapes)
        for shape in shapes:
            for number in range(shape.capacity):
                store.create("nodes", "", _node(shape, number))

    def made(self, namespace: str, pod: Json) -> Json:
        """Keep a new pod. The answer is of before the scheduler saw it, though it has: watches tell."""
        if not self._shapes:
            return self._store.create("pods", namespace, pod)
        name = pod["metadata"]["name"]
        if any(each["metadata"]["name"] == name for each in self._store.all("pods", namespace)):
            return self._store.create("pods", namespace, pod)  # which says that it exists
        placed = self._scheduled(pod)
        self._emulator.clock.advance(1.0)  # creation timestamps are whole seconds, and tell which was first
        key = ("pods", namespace, name)
        if isinstance(placed, str):
            made = self._store.create("pods", namespace, pod)
            self._refuse(key, placed)
        else:
            notes = {**(pod["metadata"].get("annotations") or {}), RENTAL: placed["id"]}
            made = self._store.create("pods", namespace, {**pod, "metadata": {**pod["metadata"], "annotations": notes}})
            self.bind(key, self._free_node(placed["instance_type"].split(":")[0]))
        return made

    def bind(self, key: Key, node: str) -> None:
        """Give a pod its node."""
        pod = self._store.get(key)
        others = [each for each in pod["status"].get("conditions") or [] if each["type"] != "PodScheduled"]
        placed = {"type": "PodScheduled", "status": "True", "lastProbeTime": None}
        status = {**pod["status"], "conditions": [*others, {**placed, "lastTransitionTime": self._store.stamp()}]}
        status.pop("nominatedNodeName", None)
        self._store.put("MODIFIED", key, {**pod, "spec": {**pod["spec"], "nodeName": node}, "status": status})

    def ended(self, pod: Json) -> None:
        """Of a pod with a machine behind it, the machine's end begins too."""
        rental = (pod["metadata"].get("annotations") or {}).get(RENTAL)
        if rental:
            self._emulator.cloud.terminate(rental)

    def advance(self) -> set[str]:
        """Bring pods in line with the machines behind them, as kubelets do; also where the cloud's faults strike.

        Returns the names of those that are too new for a lagging list.
        """
        hidden: set[str] = set()
        rows = {row["id"]: row for row in self._emulator.rows()}
        live = set(self._emulator.cloud.live())
        for pod in self._store.all("pods"):
            rental = (pod["metadata"].get("annotations") or {}).get(RENTAL)
            key = ("pods", pod["metadata"]["namespace"], pod["metadata"]["name"])
            if rental is None:
                continue
            if rental not in rows and rental in live:
                hidden.add(pod["metadata"]["name"])
                continue
            state = rows[rental]["state"] if rental in rows else "terminated"
            if state == "terminated":
                self._store.put("DELETED", key, pod)
            elif state != "stopping":
                ready = {"type": "Ready", "status": "True" if state == "running" else "False"}
                phase = _PHASES.get(state, state)
                if not _says(pod, phase, ready):
                    status = {"phase": phase, "conditions": [ready]}
                    self._store.patch(key, {"status": status}, "status", strategic=True)
        return hidden

    def _free_node(self, product: str) -> str:
        taken = {pod["spec"].get("nodeName") for pod in self._store.all("pods")}
        return next(
            str(node["metadata"]["name"])
            for node in self._store.all("nodes")
            if node["metadata"]["name"] not in taken and node["metadata"]["labels"]["nvidia.com/gpu.product"] == product
        )

    def _scheduled(self, pod: Json) -> Json | str:
        """The machine that the cloud gives, or why there is none: what no node fits stays pending, as any pod does."""
        terms = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        demands = [demand for term in terms["nodeSelectorTerms"] for demand in term["matchExpressions"]]
        wanted = {demand["values"][0] for demand in demands if demand["operator"] == "In"}
        shape = next((s for s in self._shapes if s.instance_type.split(":")[0] in wanted), None)
        if shape is None:
            self._emulator.cloud.offers()
            return "0/5 nodes are available: 5 node(s) didn't match Pod's node affinity/selector."
        try:
            return self._emulator.launch(shape, pod["metadata"]["labels"])
        except Refused as refused:
            if refused.code != "no_capacity":
                raise
            return (
                "0/5 nodes are available: 5 Insufficient nvidia.com/gpu. preemption: 0/5 nodes are available:"
                " 5 No preemption victims found for incoming pod."
            )

    def _refuse(self, key: Key, why: str) -> None:
        told = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why}
        told["lastTransitionTime"] = self._store.stamp()
        self._store.patch(key, {"status": {"conditions": [told]}}, "status", strategic=True)


def _says(pod: Json, phase: str, condition: Json) -> bool:
    """Whether a pod's status has this phase and condition, so that a patch with them would change nothing."""
    said = pod["status"].get("conditions") or []
    return pod["status"].get("phase") == phase and any(each.items() >= condition.items() for each in said)


def _node(shape: Shape, number: int) -> Json:
    """A node that is ready, so that it has no taint."""
    product = shape.instance_type.split(":")[0]
    labels = {"topology.kubernetes.io/region": shape.region, "nvidia.com/gpu.product": product}
    labels["nvidia.com/gpu.memory"] = str(int(shape.gpu_memory_gib * 1024))
    capacity = {
        "cpu": str(shape.cpus), "memory": f"{int(shape.memory_gib)}Gi", "nvidia.com/gpu": str(shape.gpu_count),
    }  # fmt: skip
    status = {"capacity": capacity, "conditions": [{"type": "Ready", "status": "True"}]}
    node = objects.fresh(
        "nodes", {"metadata": {"name": f"{product.lower()}-{number}", "labels": labels}, "status": status}
    )
    return {**node, "spec": {}}
