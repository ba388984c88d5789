"""What is particular to Kubernetes, against an API server: see the emulator for the traps.

The tests play scheduler, kubelet and controllers, so they run on a real API server too.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from godwit.domain.errors import InvalidRequest, NoCapacity, QuotaExceeded, RequestRejected
from godwit.domain.offers import Instance, InstanceState
from godwit.providers.kubernetes_pods.cluster import Cluster
from godwit.providers.kubernetes_pods.provider import KubernetesProvider
from kubernetes.utils.quantity import parse_quantity

from tests.emulators.emulator import API_KEY
from tests.emulators.kubernetes_pods.cluster import SCRIPT, TestCluster

NAME = "gw-token-1"


@contextmanager
def _scheduler(cluster: TestCluster, decide: Any) -> Iterator[None]:
    """While a launch waits, another thread decides about its pod."""
    ends = threading.Event()

    def run() -> None:
        while not ends.wait(0.01):
            if any(pod.metadata.name == NAME for pod in cluster.core.list_namespaced_pod(cluster.namespace).items):
                decide()
                return

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ends.set()
        thread.join()


def _listed(provider: KubernetesProvider, name: str = NAME) -> Instance:
    return next(instance for instance in provider.instances() if instance.id == name)


def _quota(cluster: TestCluster, gpus: str) -> None:
    """A quota, and what the controller of quotas says of it."""
    spec = {"hard": {"requests.nvidia.com/gpu": gpus}}
    cluster.core.create_namespaced_resource_quota(cluster.namespace, {"metadata": {"name": "gpus"}, "spec": spec})
    status = {"status": {**spec, "used": {"requests.nvidia.com/gpu": "0"}}}
    cluster.core.patch_namespaced_resource_quota_status("gpus", cluster.namespace, status)


# Launching.


def test_a_pod_that_the_scheduler_refuses_is_taken_back_and_is_no_capacity_with_its_reasons(
    cluster: TestCluster,
) -> None:
    cluster.node()
    provider = cluster.build(verdict_s=5.0)
    request = cluster.request(provider)
    why = "0/3 nodes are available: 1 Insufficient nvidia.com/gpu, 2 node(s) had untolerated taint {team: b}."
    with (
        _scheduler(cluster, lambda: cluster.refuse(NAME, why)),
        pytest.raises(NoCapacity, match="2 node\\(s\\) had untolerated taint"),
    ):
        provider.launch(request)
    assert provider.instances() == []


def test_a_launch_does_not_wait_longer_once_the_pod_has_its_node(cluster: TestCluster) -> None:
    node = cluster.node()
    provider = cluster.build(verdict_s=30.0, timeout_s=5.0)
    request = cluster.request(provider)
    with _scheduler(cluster, lambda: cluster.bind(NAME, node)):
        instance = provider.launch(request)
    assert instance.state is InstanceState.PROVISIONING


def test_a_verdict_that_comes_late_is_told_by_the_listing(cluster: TestCluster) -> None:
    cluster.node()
    provider = cluster.build()
    assert cluster.launch(provider).state is InstanceState.PROVISIONING
    cluster.refuse(NAME, "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")
    listed = _listed(provider)
    assert listed.state is InstanceState.FAILED
    assert listed.detail.startswith("no capacity: Unschedulable: 0/1 nodes are available")


def test_where_nodes_are_added_on_demand_a_pod_may_wait_for_one(cluster: TestCluster) -> None:
    cluster.node()
    patient = cluster.build(wait_s=1e9)
    cluster.launch(patient)
    cluster.refuse(NAME, "0/1 nodes are available")
    assert _listed(patient).state is InstanceState.PROVISIONING
    assert "0/1 nodes are available" in _listed(patient).detail


def test_a_pod_for_which_others_must_go_first_is_not_refused(cluster: TestCluster) -> None:
    node = cluster.node()
    provider = cluster.build()
    cluster.launch(provider)
    cluster.status(NAME, nominatedNodeName=node)
    cluster.refuse(NAME, "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")
    assert _listed(provider).state is InstanceState.PROVISIONING


def test_a_name_used_before_for_the_same_launch_is_the_same_machine(cluster: TestCluster) -> None:
    cluster.node()
    provider = cluster.build()
    first, second = cluster.launch(provider), cluster.launch(provider)
    assert first.id == second.id == NAME
    assert len(provider.instances()) == 1


def test_a_name_used_before_for_another_launch_is_refused(cluster: TestCluster) -> None:
    cluster.node()
    provider = cluster.build()
    request = cluster.request(provider)
    provider.launch(request)
    for other in (replace(request, owner="somebody-else"), cluster.request(provider, gpus=4)):
        with pytest.raises(RequestRejected, match="made before"):
            provider.launch(other)


def test_a_quota_that_is_exhausted_is_told_apart_from_other_refusals(cluster: TestCluster) -> None:
    cluster.node()
    provider = cluster.build()
    _quota(cluster, "8")
    quota = provider.check().quotas[0]
    assert (quota.name, quota.limit, quota.left) == ("requests.nvidia.com/gpu", 8.0, 8.0)
    cluster.launch(provider)
    with pytest.raises(QuotaExceeded, match="exceeded quota: gpus"):
        cluster.launch(provider, "token-2", 4)


def test_a_launch_repeated_at_a_full_quota_is_the_machine_that_took_it_up(cluster: TestCluster) -> None:
    cluster.node()
    provider = cluster.build()
    _quota(cluster, "8")
    first, second = cluster.launch(provider), cluster.launch(provider)
    assert first.id == second.id == NAME
    assert len(provider.instances()) == 1


def test_a_namespace_that_is_not_there_is_a_request_that_nobody_should_repeat(cluster: TestCluster) -> None:
    cluster.node()
    with pytest.raises(RequestRejected, match="not found"):
        cluster.launch(cluster.build(namespace="no-such-namespace"))


def test_an_option_of_the_wrong_type_is_named_without_a_word_of_the_script(cluster: TestCluster) -> None:
    cluster.node()
    with pytest.raises(RequestRejected, match=r"spec\.tolerations.*key") as caught:
        cluster.launch(cluster.build(tolerations=[{"key": 5, "operator": "Exists"}]))
    assert "hostname" not in str(caught.value)
    with pytest.raises(RequestRejected, match='Unsupported value: "Some"'):
        cluster.launch(cluster.build(tolerations=[{"key": "team", "operator": "Some"}]))


def test_the_manifest_carries_what_the_configuration_asks_for(cluster: TestCluster) -> None:
    cluster.node(labels={"ib.coreweave.cloud/fabric": "fabric-1", "team": "research"})
    provider = cluster.build(
        coreweave=True, selectors={"H100-SXM": {"team": "research"}}, pull_secrets=["registry"], cache_claim="models",
        tolerations=[{"key": "team", "operator": "Exists"}], shared_memory_gib_per_gpu=16, grace_s=420,
    )  # fmt: skip
    cluster.launch(provider)
    pod = cluster.pod(NAME)
    container = pod["spec"]["containers"][0]
    limits = container["resources"]["limits"]
    assert (limits["nvidia.com/gpu"], limits["rdma/ib"]) == ("8", "1")
    assert container["resources"]["requests"]["cpu"] == "144"
    assert pod["spec"]["nodeSelector"] == {
        "team": "research", "ib.coreweave.cloud/fabric": "fabric-1", "topology.kubernetes.io/region": cluster.region,
    }  # fmt: skip
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert volumes["shm"]["emptyDir"]["medium"] == "Memory"
    assert parse_quantity(volumes["shm"]["emptyDir"]["sizeLimit"]) == 128 * 2**30
    assert volumes["cache"]["persistentVolumeClaim"]["claimName"] == "models"
    assert pod["spec"]["imagePullSecrets"] == [{"name": "registry"}]
    assert {"key": "team", "operator": "Exists"} in pod["spec"]["tolerations"]
    assert pod["spec"]["terminationGracePeriodSeconds"] == 420
    assert pod["spec"]["automountServiceAccountToken"] is False


def test_the_startup_script_is_in_no_argument_and_survives_the_reading_of_dollars(cluster: TestCluster) -> None:
    cluster.node()
    cluster.launch(cluster.build())
    container = cluster.pod(NAME)["spec"]["containers"][0]
    assert SCRIPT not in " ".join(container["command"])
    value = next(each["value"] for each in container["env"] if each["name"] == "GODWIT_STARTUP")
    # The kubelet reads two dollars as one, and $(NAME) as a variable's value (k8s.io/kubernetes, expansion).
    assert value.replace("$$", "$") == SCRIPT
    assert "$$$$ $$(hostname)" in value


# Offers.


def test_pods_of_others_take_up_room_and_ended_ones_do_not(cluster: TestCluster) -> None:
    node = cluster.node()
    provider = cluster.build()
    before = {offer.gpu_count: offer.capacity for offer in cluster.offers(provider)}
    assert before == {1: 8, 2: 4, 4: 2, 8: 1}
    limits = {"limits": {"nvidia.com/gpu": "3"}}
    spec = {"containers": [{"name": "c", "image": "i", "resources": limits}], "nodeName": node}
    for name in ("theirs", "ended"):
        cluster.core.create_namespaced_pod(cluster.namespace, {"metadata": {"name": name}, "spec": spec})
    cluster.status("ended", phase="Succeeded")
    after = {offer.gpu_count: offer.capacity for offer in cluster.offers(provider)}
    assert after == {1: 5, 2: 2, 4: 1, 8: 0}
    assert provider.instances() == [], "what is not ours is no machine"


def test_cordoned_silent_and_tainted_nodes_are_not_offered(cluster: TestCluster) -> None:
    cordoned, silent, tainted = cluster.node(), cluster.node(), cluster.node()
    taint = {"key": "team", "value": "b", "effect": "NoSchedule"}
    cluster.core.patch_node(cordoned, {"spec": {"unschedulable": True}})
    cluster.ready(silent, False)
    cluster.core.patch_node(tainted, {"spec": {"taints": [taint]}})
    assert cluster.offers(cluster.build()) == []
    tolerant = cluster.build(tolerations=[{"key": "team", "operator": "Equal", "value": "b"}])
    assert {offer.gpu_count: offer.capacity for offer in cluster.offers(tolerant)}[8] == 1


# Talking to it.


def test_a_listing_whose_continue_token_expires_is_begun_anew(
    cluster: TestCluster, forget: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.node()
    provider = cluster.build(verdict_s=0.01)
    for number in range(5):
        cluster.launch(provider, f"token-{number}", 1)
    ask, forgets = Cluster._ask, iter((True,))

    def forgetful(*args: Any, **kwargs: Any) -> Any:
        page = ask(*args, **kwargs)
        if next(forgets, False):
            cluster.make("newer")
            forget()
        return page

    monkeypatch.setattr(Cluster, "_ask", forgetful)
    monkeypatch.setattr("godwit.providers.kubernetes_pods.cluster.PAGE_LIMIT", 2)
    assert [instance.token for instance in provider.instances()] == [f"token-{number}" for number in range(5)]


def test_options_that_make_no_sense_are_named(cluster: TestCluster) -> None:
    for options, path in (
        ({"prices": {"H100-SXM": -1}}, ("prices", "H100-SXM")),
        ({"timeout_s": "soon"}, ("timeout_s",)),
        ({"image": ""}, ("image",)),
    ):
        with pytest.raises(InvalidRequest) as caught:
            cluster.build(**options)
        assert [problem.path for problem in caught.value.problems] == [path]
        assert API_KEY not in str(caught.value)
