"""A cluster for tests, all through the official client: they play scheduler, kubelets and controllers themselves.

So the same tests run on the small API server here and on a real one that stands alone (etcd and kube-apiserver, as
envtest starts them, without the ServiceAccount admission's wish for tokens). A cluster whose own controllers work
would play against them.
"""

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from godwit.domain.offers import Instance, Offer
from godwit.providers.kubernetes_pods.provider import KubernetesProvider
from godwit.providers.protocol import LaunchRequest
from kubernetes import client

Json = dict[str, Any]

SCRIPT = "#!/bin/sh\necho $$ $(hostname)\n"


@dataclass
class TestCluster:
    """One namespace of its own in a cluster, and a region of its own for its nodes.

    `build` makes providers of that namespace; its keywords are options. `core` is the client's `CoreV1Api`: in its
    types every field may be None, and bodies are models only.
    """

    __test__ = False  # for pytest: a fixture, no test

    core: Any
    namespace: str
    build: Any
    region: str = field(default_factory=lambda: f"region-{uuid.uuid4().hex[:8]}")
    nodes: list[str] = field(default_factory=list)

    def make(self, name: str = "", labels: dict[str, str] | None = None, **spec: Any) -> Any:
        """A pod that runs nothing; its name is generated when none is given."""
        named = {"name": name} if name else {"generateName": "some-"}
        plain = {"automountServiceAccountToken": False, "containers": [{"name": "c", "image": "i"}]}
        body = {"metadata": {**named, "labels": labels or {}}, "spec": {**plain, **spec}}
        return self.core.create_namespaced_pod(self.namespace, body)

    def bound(self, name: str, **spec: Any) -> None:
        """A pod with a node, which need not be there."""
        self.make(name, **spec)
        self.bind(name, "some-node")

    def names(self, **query: Any) -> set[str]:
        """Of the pods that a list selects."""
        return {pod.metadata.name for pod in self.core.list_namespaced_pod(self.namespace, **query).items}

    def version(self) -> str:
        """The version of the whole."""
        return str(self.core.list_namespaced_pod(self.namespace).metadata.resource_version)

    def node(self, product: str = "NVIDIA-H100-80GB-HBM3", gpus: int = 8, labels: dict[str, str] | None = None) -> str:
        """A node that is ready; its name."""
        own = {"topology.kubernetes.io/region": self.region, "nvidia.com/gpu.product": product}
        body = {"metadata": {"generateName": "node-", "labels": {**own, **(labels or {})}}}
        name = str(self.core.create_node(body).metadata.name)
        self.nodes.append(name)
        capacity = {"cpu": "160", "memory": "1600Gi", "nvidia.com/gpu": str(gpus), "pods": "110", "rdma/ib": "8"}
        self.core.patch_node_status(name, {"status": {"capacity": capacity, "allocatable": capacity}})
        self.ready(name, True)
        # A real API server taints new nodes until a controller sees that they are ready.
        self.core.patch_node(name, {"spec": {"taints": None}})
        return name

    def ready(self, node: str, yes: bool) -> None:
        """What its kubelet, or the control plane in its absence, says."""
        told = {"type": "Ready", "status": "True" if yes else "Unknown", "reason": "Told", "message": "by the test"}
        self.core.patch_node_status(node, {"status": {"conditions": [told]}})

    def bind(self, name: str, node: str) -> None:
        """What a scheduler does."""
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        body = {"metadata": {"name": name}, "target": target}
        self.core.create_namespaced_pod_binding(name, self.namespace, body, _preload_content=False)

    def refuse(self, name: str, why: str) -> None:
        """What a scheduler does when no node fits."""
        self.say(name, "PodScheduled", "False", "Unschedulable", why)

    def say(self, name: str, kind: str, status: str, reason: str, message: str = "") -> None:
        """A condition of the pod."""
        told = {"type": kind, "status": status, "reason": reason, "message": message}
        self.status(name, conditions=[{**told, "lastTransitionTime": "2026-01-01T00:00:00Z"}])

    def status(self, name: str, **fields: Any) -> None:
        """What a kubelet writes."""
        self.core.patch_namespaced_pod_status(name, self.namespace, {"status": fields})

    def waiting(self, name: str, reason: str, message: str) -> None:
        """Its container waits for something."""
        state = {"waiting": {"reason": reason, "message": message}}
        self.status(name, phase="Pending", containerStatuses=[_container(state)])

    def gone(self, name: str) -> None:
        """What a kubelet says at the end, and what the control plane does for one that is silent for good."""
        self.core.delete_namespaced_pod(name, self.namespace, body={"gracePeriodSeconds": 0}, _preload_content=False)

    def offers(self, provider: KubernetesProvider) -> list[Offer]:
        """Those of this test's own nodes."""
        return [offer for offer in provider.offers() if offer.region == self.region]

    def launch(self, provider: KubernetesProvider, token: str = "token-1", gpus: int = 8) -> Instance:
        """Launch a machine with that many GPUs."""
        return provider.launch(self.request(provider, token, gpus))

    def request(self, provider: KubernetesProvider, token: str = "token-1", gpus: int = 8) -> LaunchRequest:
        """A launch of what the region offers."""
        offer = next(o for o in self.offers(provider) if o.gpu_count == gpus)
        return LaunchRequest(offer, token, "control-plane-1", SCRIPT)

    def pod(self, name: str) -> Json:
        """The pod as JSON."""
        read = self.core.read_namespaced_pod(name, self.namespace)
        return dict(client.ApiClient().sanitize_for_serialization(read))

    def end(self) -> None:
        """Leave nothing behind."""
        for pod in self.core.list_namespaced_pod(self.namespace).items:
            self.core.patch_namespaced_pod(pod.metadata.name, self.namespace, {"metadata": {"finalizers": None}})
            self.gone(pod.metadata.name)
        for node in self.nodes:
            self.core.delete_node(node, _preload_content=False)


def refused(call: Callable[[], Any]) -> tuple[int, Json]:
    """The HTTP status and the `Status` with which the server refuses."""
    with pytest.raises(client.ApiException) as caught:
        call()
    return caught.value.status, json.loads(caught.value.body or "{}")


def ended(code: int, reason: str) -> list[Json]:
    """A container that has ended."""
    return [_container({"terminated": {"exitCode": code, "reason": reason}})]


def _container(state: Json) -> Json:
    return {"name": "agent", "image": "godwit:1", "imageID": "", "ready": False, "restartCount": 0, "state": state}
