"""What a watch tells: held by our own small API server, and on a real one alike."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kubernetes import client, watch

from tests.emulators.kubernetes_pods.cluster import TestCluster
from tests.emulators.kubernetes_pods.emulator import KubernetesEmulator


def _events(cluster: TestCluster, **query: Any) -> Iterator[Any]:
    query = {"timeout_seconds": 1, **query}
    yield from watch.Watch().stream(cluster.core.list_namespaced_pod, cluster.namespace, **query)


def _told(cluster: TestCluster, **query: Any) -> list[tuple[str, str]]:
    return [(event["type"], event["object"].metadata.name) for event in _events(cluster, **query)]


def _paint(cluster: TestCluster, name: str, colour: str) -> None:
    cluster.core.patch_namespaced_pod(name, cluster.namespace, {"metadata": {"labels": {"colour": colour}}})


def test_a_watch_tells_what_happens_in_order(cluster: TestCluster) -> None:
    begun = cluster.core.list_namespaced_pod(cluster.namespace).metadata.resource_version
    cluster.make("one")
    cluster.refuse("one", "no room")
    cluster.gone("one")
    stream = watch.Watch().stream(
        cluster.core.list_namespaced_pod, cluster.namespace, resource_version=begun, timeout_seconds=1
    )
    events = [event["type"] for event in stream]
    assert (events[0], events[-1], set(events[1:-1])) == ("ADDED", "DELETED", {"MODIFIED"})


def test_a_watch_that_is_open_hears_of_what_happens_later(cluster: TestCluster) -> None:
    begun = cluster.core.list_namespaced_pod(cluster.namespace).metadata.resource_version
    later = threading.Timer(0.2, lambda: cluster.make("late"))
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


@pytest.mark.parametrize("version", [None, "0"])
def test_a_watch_from_no_version_begins_with_what_there_is(cluster: TestCluster, version: str | None) -> None:
    cluster.make("one")
    _paint(cluster, "one", "red")
    query = {} if version is None else {"resource_version": version}
    assert _told(cluster, **query) == [("ADDED", "one")]


def test_what_enters_a_selection_is_added_and_what_leaves_it_is_deleted(cluster: TestCluster) -> None:
    cluster.make("one", {"colour": "red"})
    cluster.make("two", {"colour": "blue"})
    begun = cluster.version()
    _paint(cluster, "two", "red")
    _paint(cluster, "one", "blue")
    _paint(cluster, "one", "green")
    events = list(_events(cluster, resource_version=begun, label_selector="colour=red"))
    assert [(event["type"], event["object"].metadata.name) for event in events] == [
        ("ADDED", "two"),
        ("DELETED", "one"),
    ]
    left = events[1]["object"].metadata
    assert left.labels == {"colour": "red"}, "it is shown as it was when it was selected"
    assert int(left.resource_version) > int(begun), "under the version that took it away"


def test_a_pod_that_goes_at_once_is_told_of_twice(cluster: TestCluster) -> None:
    cluster.make("one")
    begun = cluster.version()
    cluster.gone("one")
    events = list(_events(cluster, resource_version=begun))
    assert [event["type"] for event in events] == ["MODIFIED", "DELETED"]
    assert events[0]["object"].metadata.deletion_grace_period_seconds == 0


def test_fields_select_in_watches_too(cluster: TestCluster) -> None:
    cluster.make("one")
    begun = cluster.version()
    cluster.status("one", phase="Running")
    assert _told(cluster, resource_version=begun, field_selector="status.phase=Pending") == [("DELETED", "one")]


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


def test_a_watch_that_asks_for_nonsense_is_refused_before_it_begins(cluster: TestCluster) -> None:
    for query, code in (({"field_selector": "spec.containers=x"}, 400), ({"resource_version": "latest"}, 500)):
        with pytest.raises(client.ApiException) as caught:
            list(_events(cluster, **query))
        assert caught.value.status == code


def test_a_watch_from_a_version_that_is_forgotten_ends_with_gone(
    cluster: TestCluster, forget: Callable[[], None]
) -> None:
    begun = cluster.version()
    for number in range(3):
        cluster.make(f"pod-{number}")
    forget()
    with pytest.raises(client.ApiException) as caught:
        list(_events(cluster, resource_version=begun))
    assert caught.value.status == 410
    assert "too old" in caught.value.reason
