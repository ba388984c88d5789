"""How pods end at an API server: held by our own small one, and on a real one alike."""

from typing import Any

import pytest

from tests.emulators.kubernetes_pods.cluster import TestCluster, refused


def _delete(cluster: TestCluster, name: str, **options: Any) -> Any:
    return cluster.core.delete_namespaced_pod(name, cluster.namespace, body=options)


def test_a_bound_pod_ends_in_two_steps_and_a_loose_one_at_once(cluster: TestCluster) -> None:
    for name in ("bound", "loose"):
        cluster.make(name)
    cluster.bind("bound", cluster.node())
    for name in ("bound", "loose"):
        cluster.core.delete_namespaced_pod(name, cluster.namespace, _preload_content=False)
    assert cluster.names() == {"bound"}
    assert cluster.core.read_namespaced_pod("bound", cluster.namespace).metadata.deletion_timestamp is not None
    cluster.gone("bound")
    assert cluster.names() == set()


def test_a_deadline_can_be_made_shorter_and_never_longer(cluster: TestCluster) -> None:
    cluster.bound("one")
    first = _delete(cluster, "one").metadata
    assert (first.deletion_grace_period_seconds, first.generation) == (30, 2)
    for options in ({}, {"gracePeriodSeconds": 100}):
        again = _delete(cluster, "one", **options).metadata
        assert (again.resource_version, again.deletion_timestamp) == (first.resource_version, first.deletion_timestamp)
    shorter = _delete(cluster, "one", gracePeriodSeconds=10).metadata
    assert (first.deletion_timestamp - shorter.deletion_timestamp).total_seconds() == 20
    assert (shorter.deletion_grace_period_seconds, shorter.generation) == (10, 2)
    _delete(cluster, "one", gracePeriodSeconds=0)
    assert cluster.names() == set()


def test_no_grace_is_less_than_a_second_unless_it_is_none(cluster: TestCluster) -> None:
    cluster.bound("one")
    assert _delete(cluster, "one", gracePeriodSeconds=-5).metadata.deletion_grace_period_seconds == 1
    assert cluster.names() == {"one"}


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_has_ended_goes_at_once_whatever_its_node(cluster: TestCluster, phase: str) -> None:
    cluster.bound("one")
    cluster.status("one", phase=phase)
    assert _delete(cluster, "one").metadata.deletion_grace_period_seconds == 0
    assert cluster.names() == set()


def test_a_pod_with_a_finalizer_stays_until_it_is_taken_off(cluster: TestCluster) -> None:
    cluster.make("one")
    cluster.core.patch_namespaced_pod("one", cluster.namespace, {"metadata": {"finalizers": ["example.com/hold"]}})
    _delete(cluster, "one")
    assert cluster.names() == {"one"}
    cluster.core.patch_namespaced_pod("one", cluster.namespace, {"metadata": {"finalizers": None}})
    assert cluster.names() == set()


def test_nobody_can_hold_a_pod_that_is_ending_already(cluster: TestCluster) -> None:
    cluster.bound("one")
    _delete(cluster, "one")
    hold = {"metadata": {"finalizers": ["example.com/hold"]}}
    status, body = refused(lambda: cluster.core.patch_namespaced_pod("one", cluster.namespace, hold))
    assert (status, body["details"]["causes"][0]["field"]) == (422, "metadata.finalizers")


def test_a_deadline_cannot_be_written_away(cluster: TestCluster) -> None:
    cluster.bound("one")
    _delete(cluster, "one")
    cluster.core.patch_namespaced_pod("one", cluster.namespace, {"metadata": {"deletionTimestamp": None}})
    assert cluster.core.read_namespaced_pod("one", cluster.namespace).metadata.deletion_timestamp is not None


def test_a_delete_of_another_pod_of_that_name_is_refused(cluster: TestCluster) -> None:
    cluster.make("one")
    status, body = refused(lambda: _delete(cluster, "one", preconditions={"uid": "another"}))
    assert (status, body["reason"]) == (409, "Conflict")
    assert "the UID in the precondition (another) does not match the UID in record" in body["message"]


def test_a_namespace_that_ends_takes_nothing_new(cluster: TestCluster) -> None:
    cluster.core.delete_namespace(cluster.namespace)
    status, body = refused(lambda: cluster.make("late"))
    assert (status, body["reason"]) == (403, "Forbidden")
    assert body["message"].endswith("because it is being terminated")
    assert body["details"]["causes"][0]["reason"] == "NamespaceTerminating"


def test_a_name_is_free_again_only_when_its_pod_is_gone(cluster: TestCluster) -> None:
    cluster.bound("one")
    _delete(cluster, "one")
    status, body = refused(lambda: cluster.make("one"))
    assert (status, body["reason"]) == (409, "AlreadyExists")
    assert body["message"] == 'object is being deleted: pods "one" already exists'
    cluster.gone("one")
    assert cluster.make("one").metadata.name == "one"
