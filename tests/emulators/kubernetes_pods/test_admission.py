"""What an API server does not take, and in which words: held by our own small one, and on a real one alike."""

import re
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubernetes import client
from kubernetes.utils.quantity import parse_quantity

from tests.emulators.kubernetes_pods import objects, validation
from tests.emulators.kubernetes_pods.cluster import Json, TestCluster, refused
from tests.emulators.kubernetes_pods.failures import Failure


def _container(**fields: Any) -> Json:
    return {"containers": [{"name": "c", "image": "i", **fields}]}


def _resources(limits: Json, requests: Json | None = None) -> Json:
    return _container(resources={"limits": limits, **({} if requests is None else {"requests": requests})})


GPUS = "nvidia.com/gpu"

WRONG = [
    ({"containers": []}, "spec.containers: Required value"),
    ({"containers": [{"name": "c"}]}, "spec.containers[0].image: Required value"),
    ({"containers": [{"name": "C_x", "image": "i"}]}, 'spec.containers[0].name: Invalid value: "C_x": a lowercase'),
    ({"restartPolicy": "Sometimes"}, 'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always"'),
    (_resources({GPUS: "1.5"}), f'[spec.containers[0].resources.limits[{GPUS}]: Invalid value: "1500m": must be an in'),
    (_resources({GPUS: "2"}, {GPUS: "1"}), f'Invalid value: "1": must be equal to {GPUS} limit of 2'),
    (_container(resources={"requests": {GPUS: "1"}}), "Limit must be set for non overcommitable resources"),
    (_resources({"memory": "1Gi"}, {"memory": "2048Mi"}), '"2Gi": must be less than or equal to memory limit of 1Gi'),
    (_container(volumeMounts=[{"name": "v", "mountPath": "/x"}]), 'volumeMounts[0].name: Not found: "v"'),
    (_container(env=[{"name": "A=B", "value": "1"}]), "a valid environment variable name must consist only of"),
    ({"nodeSelector": {"team": "x y"}}, 'spec.nodeSelector: Invalid value: "x y": a valid label must be an empty str'),
    ({"tolerations": [{"key": "k", "operator": "Some"}]}, 'Unsupported value: "Some": supported values: "Equal", "Ex'),
    (
        {"tolerations": [{"key": "k", "operator": "Exists", "value": "v"}]},
        "spec.tolerations[0].operator: Invalid value: \"v\": value must be empty when `operator` is 'Exists'",
    ),
]


@pytest.mark.parametrize(("spec", "told"), WRONG)
def test_a_pod_that_makes_no_sense_is_refused_field_by_field(cluster: TestCluster, spec: Json, told: str) -> None:
    status, body = refused(lambda: cluster.make("one", **spec))
    assert (status, body["reason"], body["details"]["kind"]) == (422, "Invalid", "Pod")
    assert body["message"].startswith('Pod "one" is invalid: ')
    assert told in body["message"]
    assert all(cause["field"].startswith("spec.") for cause in body["details"]["causes"])


@pytest.mark.parametrize(
    ("meta", "told"),
    [
        ({"name": "Bad_Name"}, 'metadata.name: Invalid value: "Bad_Name": a lowercase RFC 1123 subdomain'),
        ({"name": "x" * 254}, "must be no more than 253 characters"),
        ({}, "metadata.name: Required value: name or generateName is required"),
        ({"name": "a", "labels": {"bad key!": "x"}}, 'metadata.labels: Invalid value: "bad key!": name part must'),
        ({"name": "a", "labels": {"k": "x" * 64}}, "must be no more than 63 bytes"),
    ],
)
def test_names_and_labels_have_a_form(cluster: TestCluster, meta: Json, told: str) -> None:
    body = {"metadata": meta, "spec": {"automountServiceAccountToken": False, **_container()}}
    status, said = refused(partial(cluster.core.create_namespaced_pod, cluster.namespace, body))
    assert (status, said["reason"]) == (422, "Invalid")
    assert told in said["message"]


def test_what_cannot_even_be_read_is_a_bad_request(cluster: TestCluster) -> None:
    status, body = refused(lambda: cluster.make("one", **_resources({"memory": "lots"})))
    assert (status, body["reason"]) == (400, "BadRequest")
    assert body["message"].startswith('Pod in version "v1" cannot be handled as a Pod: quantities must match')


@pytest.mark.parametrize("body", ["text", {"spec": {"nodeName": 5}}, {"spec": _container(env=[{"name": 1}])}])
def test_our_own_server_reads_no_field_of_another_type(body: Any) -> None:
    """The client does not even send it, so that a real server has no part in this."""
    with pytest.raises(Failure) as caught:
        validation.understand("pods", body)
    assert (caught.value.code, caught.value.reason) == (400, "BadRequest")


def test_a_body_that_means_another_object_than_its_url_is_a_bad_request(cluster: TestCluster) -> None:
    made = client.ApiClient().sanitize_for_serialization(cluster.make("one"))
    replace = partial(cluster.core.replace_namespaced_pod, "one", cluster.namespace)
    create = partial(cluster.core.create_namespaced_pod, cluster.namespace)
    other = {"metadata": {"name": "two", "namespace": "elsewhere"}, "spec": _container()}
    for call, told in (
        (partial(replace, {**made, "metadata": {**made["metadata"], "name": "two"}}), "does not match the name on"),
        (partial(create, other), "the namespace of the provided object does not match"),
        (partial(create, {"kind": "Node", "metadata": {"name": "n"}}), "unknown conversion"),
    ):
        status, body = refused(call)
        assert (status, body["reason"]) == (400, "BadRequest")
        assert told in body["message"]


def test_a_new_object_has_no_version(cluster: TestCluster) -> None:
    body = {"metadata": {"name": "one", "resourceVersion": "5"}, "spec": _container()}
    status, said = refused(partial(cluster.core.create_namespaced_pod, cluster.namespace, body))
    assert (status, said["message"]) == (500, "resourceVersion should not be set on objects to be created")
    assert "reason" not in said, "a server that fails says no reason"


@pytest.mark.parametrize("change", [{"nodeName": "somewhere"}, {"terminationGracePeriodSeconds": 5}])
def test_the_spec_of_a_pod_stays_as_it_was_made(cluster: TestCluster, change: Json) -> None:
    cluster.make("one")
    patch = partial(cluster.core.patch_namespaced_pod, "one", cluster.namespace)
    status, body = refused(partial(patch, {"spec": change}))
    assert (status, body["reason"], body["details"]["causes"][0]["field"]) == (422, "Invalid", "spec")
    assert "spec: Forbidden: pod updates may not change fields other than" in body["message"]
    changed = patch({"spec": {"containers": [{"name": "c", "image": "other"}]}})
    assert changed.spec.containers[0].image == "other"


def test_what_names_an_object_stays_as_it_is(cluster: TestCluster) -> None:
    cluster.make("one")
    patch = partial(cluster.core.patch_namespaced_pod, "one", cluster.namespace)
    assert refused(partial(patch, {"metadata": {"name": "two"}}))[0] == 400
    assert refused(partial(patch, {"metadata": {"namespace": "elsewhere"}}))[0] == 400
    status, body = refused(partial(patch, {"metadata": {"uid": "another"}}))
    assert (status, body["details"]["causes"][0]["message"]) == (422, 'Invalid value: "another": field is immutable')


def test_a_pod_needs_its_account_and_its_priority_class(cluster: TestCluster) -> None:
    status, body = refused(lambda: cluster.make("one", priorityClassName="gpus"))
    assert (status, body["message"]) == (
        403, 'pods "one" is forbidden: no PriorityClass with name gpus was found',
    )  # fmt: skip
    cluster.core.delete_namespaced_service_account("default", cluster.namespace)
    status, body = refused(lambda: cluster.make("one"))
    account = f'error looking up service account {cluster.namespace}/default: serviceaccount "default" not found'
    assert (status, body["message"]) == (403, f'pods "one" is forbidden: {account}')


def _quota(cluster: TestCluster, hard: dict[str, str], counted: bool = True) -> None:
    """A quota; `counted` is what the controller of quotas does."""
    body = {"metadata": {"name": "q"}, "spec": {"hard": hard}, "status": {"hard": {"pods": "0"}}}
    made = cluster.core.create_namespaced_resource_quota(cluster.namespace, body)
    assert made.status.hard is None, "a writer cannot say it"
    status = {"status": {"hard": hard, "used": dict.fromkeys(hard, "0")}}
    if counted:
        cluster.core.patch_namespaced_resource_quota_status("q", cluster.namespace, status)


def _used(cluster: TestCluster) -> dict[str, str]:
    return dict(cluster.core.read_namespaced_resource_quota("q", cluster.namespace).status.used)


def test_a_quota_counts_what_is_let_in_and_waits_for_a_controller_to_count_what_is_gone(cluster: TestCluster) -> None:
    _quota(cluster, {f"requests.{GPUS}": "8", "pods": "10"})
    cluster.make("one", **_resources({GPUS: "4"}))
    assert _used(cluster) == {f"requests.{GPUS}": "4", "pods": "1"}
    status, body = refused(lambda: cluster.make("two", **_resources({GPUS: "8"})))
    counted = f"requested: requests.{GPUS}=8, used: requests.{GPUS}=4, limited: requests.{GPUS}=8"
    assert (status, body["message"]) == (403, f'pods "two" is forbidden: exceeded quota: q, {counted}')
    cluster.gone("one")
    assert _used(cluster) == {f"requests.{GPUS}": "4", "pods": "1"}


def test_a_quota_is_counted_before_names_are_compared(cluster: TestCluster) -> None:
    _quota(cluster, {f"requests.{GPUS}": "8"})
    cluster.make("one", **_resources({GPUS: "4"}))
    assert refused(lambda: cluster.make("one", **_resources({GPUS: "4"})))[1]["reason"] == "AlreadyExists"
    assert _used(cluster) == {f"requests.{GPUS}": "8"}, "what was refused is counted, until a controller counts anew"
    status, body = refused(lambda: cluster.make("one", **_resources({GPUS: "4"})))
    assert (status, body["reason"], "exceeded quota" in body["message"]) == (403, "Forbidden", True)


def test_a_quota_of_cpus_wants_them_said(cluster: TestCluster) -> None:
    _quota(cluster, {"limits.cpu": "8"})
    status, body = refused(lambda: cluster.make("one"))
    assert (status, body["message"]) == (
        403, 'pods "one" is forbidden: failed quota: q: must specify limits.cpu for: c',
    )  # fmt: skip


def test_a_quota_that_nobody_has_counted_yet_holds_nothing_back(cluster: TestCluster) -> None:
    _quota(cluster, {"pods": "0"}, counted=False)
    cluster.make("one")
    assert cluster.names() == {"one"}


WHOLE = st.builds(
    lambda number, suffix: f"{number}{suffix}",
    st.integers(0, 10**6),
    st.sampled_from(["", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti"]),
)


@given(written=WHOLE)
def test_a_quantity_is_rewritten_to_the_same_amount_and_then_stays(written: str) -> None:
    rewritten = objects.quantity(written, "Pod")
    assert parse_quantity(rewritten) == parse_quantity(written)
    assert objects.quantity(rewritten, "Pod") == rewritten
    assert not re.search("0{3}$", rewritten), "a larger suffix says it shorter"
