"""What becomes of a machine in a cluster, and in which of the common states each end is told.

The tests play scheduler, kubelet and controllers, so they run on a real API server too.
"""

import pytest
from godwit.domain.offers import Instance, InstanceState
from godwit.providers.kubernetes_pods.provider import KubernetesProvider

from tests.emulators.kubernetes_pods.cluster import TestCluster, ended

NAME = "gw-token-1"


def _listed(provider: KubernetesProvider, name: str = NAME) -> Instance:
    return next(instance for instance in provider.instances() if instance.id == name)


def _running(cluster: TestCluster, provider: KubernetesProvider) -> str:
    """A machine that runs; its node."""
    node = cluster.node()
    cluster.launch(provider)
    cluster.bind(NAME, node)
    cluster.status(NAME, phase="Running")
    cluster.say(NAME, "Ready", "True", "Started")
    assert _listed(provider).state is InstanceState.RUNNING
    return node


@pytest.mark.parametrize(
    ("reason", "state"),
    [
        ("ErrImagePull", InstanceState.PROVISIONING),
        ("ContainerCreating", InstanceState.PROVISIONING),
        ("ImagePullBackOff", InstanceState.FAILED),
        ("InvalidImageName", InstanceState.FAILED),
        ("CreateContainerConfigError", InstanceState.FAILED),
    ],
)
def test_an_image_that_cannot_be_pulled_fails_the_machine_once_the_kubelet_gives_up(
    cluster: TestCluster, reason: str, state: InstanceState
) -> None:
    node = cluster.node()
    provider = cluster.build()
    cluster.launch(provider)
    cluster.bind(NAME, node)
    cluster.waiting(NAME, reason, 'pull of "godwit:1" failed')
    listed = _listed(provider)
    assert (listed.state, listed.detail) == (state, f'{reason}: pull of "godwit:1" failed')


def test_an_evicted_pod_has_failed_with_the_kubelets_reason(cluster: TestCluster) -> None:
    provider = cluster.build()
    _running(cluster, provider)
    cluster.status(NAME, phase="Failed", reason="Evicted", message="The node was low on resource: memory.")
    listed = _listed(provider)
    assert listed.state is InstanceState.FAILED
    assert listed.detail == "Evicted: The node was low on resource: memory."


def test_a_preempted_pod_is_stopping_with_the_schedulers_reason_and_then_gone(cluster: TestCluster) -> None:
    provider = cluster.build()
    _running(cluster, provider)
    cluster.say(NAME, "DisruptionTarget", "True", "PreemptionByScheduler", "a pod of higher priority needs the room")
    assert _listed(provider).state is InstanceState.RUNNING
    assert _listed(provider).detail.startswith("PreemptionByScheduler")
    provider.terminate(_listed(provider).id)
    listed = _listed(provider)
    assert listed.state is InstanceState.STOPPING
    assert listed.detail == "PreemptionByScheduler: a pod of higher priority needs the room"
    cluster.gone(NAME)
    assert provider.instances() == []


def test_a_machine_on_a_node_that_went_silent_is_in_doubt_and_not_failed(cluster: TestCluster) -> None:
    provider = cluster.build()
    node = _running(cluster, provider)
    cluster.ready(node, False)
    cluster.say(NAME, "Ready", "False", "NodeNotReady")
    listed = _listed(provider)
    assert listed.state is InstanceState.UNKNOWN
    assert listed.detail == f"NodeNotReady: its node {node} does not report"
    cluster.ready(node, True)
    assert _listed(provider).state is InstanceState.RUNNING


def test_a_machine_whose_node_was_removed_is_in_doubt_until_the_cluster_drops_it(cluster: TestCluster) -> None:
    provider = cluster.build()
    node = _running(cluster, provider)
    cluster.say(NAME, "Ready", "False", "NodeNotReady")
    cluster.core.delete_node(cluster.nodes.pop(), _preload_content=False)
    listed = _listed(provider)
    assert listed.state is InstanceState.UNKNOWN
    assert listed.detail == f"NodeGone: its node {node} is not in the cluster any more"
    cluster.status(NAME, phase="Failed")
    cluster.say(NAME, "DisruptionTarget", "True", "DeletionByPodGC", "node no longer exists")
    assert _listed(provider).state is InstanceState.FAILED
    assert _listed(provider).detail == "DeletionByPodGC: node no longer exists"


@pytest.mark.parametrize(
    ("phase", "code", "reason", "state", "detail"),
    [
        ("Succeeded", 0, "Completed", InstanceState.TERMINATED, "Succeeded"),
        ("Failed", 1, "Error", InstanceState.FAILED, "Error: exit code 1"),
        ("Failed", 137, "OOMKilled", InstanceState.FAILED, "OOMKilled: exit code 137"),
        ("Hibernating", 0, "Completed", InstanceState.UNKNOWN, "Hibernating"),
    ],
)
def test_an_agent_that_ended_says_how(
    cluster: TestCluster, phase: str, code: int, reason: str, state: InstanceState, detail: str
) -> None:
    provider = cluster.build()
    _running(cluster, provider)
    cluster.status(NAME, phase=phase, containerStatuses=ended(code, reason))
    listed = _listed(provider)
    assert (listed.state, listed.detail) == (state, detail)


def test_terminating_is_asked_once_and_believed_when_the_kubelet_says_so(cluster: TestCluster) -> None:
    provider = cluster.build()
    _running(cluster, provider)
    for _ in range(2):
        provider.terminate(_listed(provider).id)
        assert _listed(provider).state is InstanceState.STOPPING
    cluster.gone(NAME)
    assert provider.instances() == []
    provider.terminate(cluster.launch(provider, "token-2").id)
    assert provider.instances() == [], "a pod without a node ends at once"
