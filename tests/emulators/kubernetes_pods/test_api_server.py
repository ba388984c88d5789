"""What the provider relies on in an API server: held by our own small one, and to be compared with a real one."""

import json
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from kubernetes import client, watch

from tests.emulators.kubernetes_pods.cluster import Json, TestCluster
from tests.emulators.kubernetes_pods.emulator import KubernetesEmulator

CONTAINERS = {"containers": [{"name": "c", "image": "i"}]}


def _make(cluster: TestCluster, name: str = "", **labels: str) -> Any:
    named = {"name": name} if name else {"generateName": "some-"}
    body = {"metadata": {**named, "labels": labels}, "spec": {"automountServiceAccountToken": False, **CONTAINERS}}
    return cluster.core.create_namespaced_pod(cluster.namespace, body)


def _refused(call: Callable[[], Any]) -> tuple[int, Json]:
    with pytest.raises(client.ApiException) as caught:
        call()
    return caught.value.status, json.loads(caught.value.body or "{}")


def _names(cluster: TestCluster, **query: Any) -> set[str]:
    return {pod.metadata.name for pod in cluster.core.list_namespaced_pod(cluster.namespace, **query).items}


def test_an_object_gets_its_identity_from_the_server(cluster: TestCluster) -> None:
    made = _make(cluster, "one")
    assert made.metadata.uid
    assert int(made.metadata.resource_version) > 0
    assert made.metadata.creation_timestamp.year >= 2020
    assert made.metadata.namespace == cluster.namespace
    assert made.status.phase == "Pending"


def test_a_name_is_taken_once_and_the_refusal_is_a_status(cluster: TestCluster) -> None:
    _make(cluster, "one")
    status, body = _refused(lambda: _make(cluster, "one"))
    assert (status, body["kind"], body["status"], body["reason"]) == (409, "Status", "Failure", "AlreadyExists")
    assert "one" in body["message"]


def test_generated_names_differ(cluster: TestCluster) -> None:
    names = {_make(cluster).metadata.name for _ in range(5)}
    assert len(names) == 5
    assert all(name.startswith("some-") for name in names)


def test_what_is_not_there_is_not_found(cluster: TestCluster) -> None:
    for call in (cluster.core.read_namespaced_pod, cluster.core.delete_namespaced_pod):
        status, body = _refused(partial(call, "nothing", cluster.namespace))
        assert (status, body["reason"]) == (404, "NotFound")
    pod = {"metadata": {"name": "x"}, "spec": CONTAINERS}
    status, body = _refused(partial(cluster.core.create_namespaced_pod, "no-such-namespace", pod))
    assert (status, body["reason"]) == (404, "NotFound")


def test_a_write_that_means_an_older_version_is_refused(cluster: TestCluster) -> None:
    old = client.ApiClient().sanitize_for_serialization(_make(cluster, "one", colour="red"))
    fresh = cluster.core.patch_namespaced_pod("one", cluster.namespace, {"metadata": {"labels": {"colour": "blue"}}})
    assert int(fresh.metadata.resource_version) > int(old["metadata"]["resourceVersion"])
    status, body = _refused(lambda: cluster.core.replace_namespaced_pod("one", cluster.namespace, old))
    assert (status, body["reason"]) == (409, "Conflict")
    old["metadata"]["resourceVersion"] = fresh.metadata.resource_version
    assert cluster.core.replace_namespaced_pod("one", cluster.namespace, old).metadata.labels["colour"] == "red"


def test_a_delete_that_means_an_older_version_is_refused(cluster: TestCluster) -> None:
    made = _make(cluster, "one")
    cluster.core.patch_namespaced_pod("one", cluster.namespace, {"metadata": {"labels": {"colour": "blue"}}})
    meant = {"preconditions": {"uid": made.metadata.uid, "resourceVersion": made.metadata.resource_version}}
    status, body = _refused(lambda: cluster.core.delete_namespaced_pod("one", cluster.namespace, body=meant))
    assert (status, body["reason"]) == (409, "Conflict")
    assert _names(cluster) == {"one"}


def test_selectors_select_by_label_and_field(cluster: TestCluster) -> None:
    for name, colour in (("a", "red"), ("b", "blue"), ("c", "red")):
        _make(cluster, name, colour=colour)
    _make(cluster, "d")
    assert _names(cluster, label_selector="colour") == {"a", "b", "c"}
    assert _names(cluster, label_selector="colour=red") == {"a", "c"}
    assert _names(cluster, label_selector="colour!=red") == {"b", "d"}
    assert _names(cluster, label_selector="!colour") == {"d"}
    assert _names(cluster, label_selector="colour in (blue, green)") == {"b"}
    assert _names(cluster, field_selector="metadata.name=b") == {"b"}
    assert _names(cluster, field_selector="status.phase!=Pending") == set()


def test_the_status_is_written_apart_from_the_rest(cluster: TestCluster) -> None:
    _make(cluster, "one", colour="red")
    cluster.core.patch_namespaced_pod("one", cluster.namespace, {"status": {"phase": "Failed"}})
    assert cluster.core.read_namespaced_pod("one", cluster.namespace).status.phase == "Pending"
    cluster.core.patch_namespaced_pod_status("one", cluster.namespace, {"status": {"phase": "Running"}})
    seen = cluster.core.read_namespaced_pod("one", cluster.namespace)
    assert (seen.status.phase, seen.metadata.labels["colour"]) == ("Running", "red")


def test_conditions_are_merged_by_their_type(cluster: TestCluster) -> None:
    _make(cluster, "one")
    cluster.say("one", "PodScheduled", "False", "Unschedulable")
    cluster.say("one", "DisruptionTarget", "True", "PreemptionByScheduler")
    cluster.say("one", "PodScheduled", "True", "Placed")
    conditions = cluster.core.read_namespaced_pod("one", cluster.namespace).status.conditions
    assert {c.type: c.status for c in conditions} == {"PodScheduled": "True", "DisruptionTarget": "True"}


def test_a_list_goes_on_where_the_page_ended_and_stays_one_snapshot(cluster: TestCluster) -> None:
    for number in range(5):
        _make(cluster, f"pod-{number}")
    page = cluster.core.list_namespaced_pod(cluster.namespace, limit=2)
    seen = [pod.metadata.name for pod in page.items]
    assert len(seen) == 2
    _make(cluster, "pod-9")
    while page.metadata._continue:
        page = cluster.core.list_namespaced_pod(cluster.namespace, limit=2, _continue=page.metadata._continue)
        seen += [pod.metadata.name for pod in page.items]
    assert seen == [f"pod-{number}" for number in range(5)]


def test_a_bound_pod_ends_in_two_steps_and_a_loose_one_at_once(cluster: TestCluster) -> None:
    for name in ("bound", "loose"):
        _make(cluster, name)
    cluster.bind("bound", cluster.node())
    for name in ("bound", "loose"):
        cluster.core.delete_namespaced_pod(name, cluster.namespace, _preload_content=False)
    assert _names(cluster) == {"bound"}
    assert cluster.core.read_namespaced_pod("bound", cluster.namespace).metadata.deletion_timestamp is not None
    cluster.gone("bound")
    assert _names(cluster) == set()


def test_a_watch_tells_what_happens_in_order(cluster: TestCluster) -> None:
    begun = cluster.core.list_namespaced_pod(cluster.namespace).metadata.resource_version
    _make(cluster, "one")
    cluster.refuse("one", "no room")
    cluster.gone("one")
    stream = watch.Watch().stream(
        cluster.core.list_namespaced_pod, cluster.namespace, resource_version=begun, timeout_seconds=1
    )
    events = [event["type"] for event in stream]
    assert (events[0], events[-1], set(events[1:-1])) == ("ADDED", "DELETED", {"MODIFIED"})


def test_a_watch_that_is_open_hears_of_what_happens_later(cluster: TestCluster) -> None:
    begun = cluster.core.list_namespaced_pod(cluster.namespace).metadata.resource_version
    later = threading.Timer(0.2, lambda: _make(cluster, "late"))
    later.start()
    watching = watch.Watch()
    stream = watching.stream(
        cluster.core.list_namespaced_pod, cluster.namespace, resource_version=begun, timeout_seconds=10
    )
    began = time.monotonic()
    assert next(event["object"].metadata.name for event in stream) == "late"
    assert time.monotonic() - began < 5.0
    watching.stop()
    later.join()


def test_a_quiet_watch_is_told_how_far_it_has_come(cluster: TestCluster, server: KubernetesEmulator | None) -> None:
    if server is None:
        pytest.skip("a real API server sends bookmarks about once a minute, and promises none")
    begun = cluster.core.list_namespaced_pod(cluster.namespace).metadata.resource_version
    cluster.node()
    watching = watch.Watch()
    stream = watching.stream(
        cluster.core.list_namespaced_pod, cluster.namespace, resource_version=begun, timeout_seconds=2,
        allow_watch_bookmarks=True,
    )  # fmt: skip
    told = next(event for event in stream if event["type"] == "BOOKMARK")
    assert int(told["raw_object"]["metadata"]["resourceVersion"]) > int(begun)
    watching.stop()


def test_a_version_that_is_forgotten_is_gone(cluster: TestCluster, server: KubernetesEmulator | None) -> None:
    if server is None:
        pytest.skip("a real API server forgets after minutes")
    begun = cluster.core.list_namespaced_pod(cluster.namespace).metadata.resource_version
    for number in range(3):
        _make(cluster, f"pod-{number}")
    token = cluster.core.list_namespaced_pod(cluster.namespace, limit=2).metadata._continue
    server.store.compact()
    with pytest.raises(client.ApiException) as caught:
        list(
            watch.Watch().stream(
                cluster.core.list_namespaced_pod, cluster.namespace, resource_version=begun, timeout_seconds=1
            )
        )
    assert caught.value.status == 410
    status, body = _refused(lambda: cluster.core.list_namespaced_pod(cluster.namespace, limit=2, _continue=token))
    assert (status, body["reason"]) == (410, "Expired")
