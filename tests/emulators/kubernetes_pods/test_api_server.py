"""What the provider relies on in an API server: held by our own small one, and to be compared with a real one."""

from functools import partial

from kubernetes import client

from tests.emulators.kubernetes_pods.cluster import TestCluster, refused


def test_an_object_gets_its_identity_from_the_server(cluster: TestCluster) -> None:
    made = cluster.make("one")
    assert made.metadata.uid
    assert int(made.metadata.resource_version) > 0
    assert made.metadata.creation_timestamp.year >= 2020
    assert made.metadata.namespace == cluster.namespace
    assert made.status.phase == "Pending"


def test_a_name_is_taken_once_and_the_refusal_is_a_status(cluster: TestCluster) -> None:
    cluster.make("one")
    status, body = refused(lambda: cluster.make("one"))
    assert (status, body["kind"], body["status"], body["reason"]) == (409, "Status", "Failure", "AlreadyExists")
    assert (body["message"], body["details"]) == ('pods "one" already exists', {"name": "one", "kind": "pods"})


def test_generated_names_differ(cluster: TestCluster) -> None:
    names = {cluster.make().metadata.name for _ in range(5)}
    assert len(names) == 5
    assert all(name.startswith("some-") for name in names)


def test_what_is_not_there_is_not_found(cluster: TestCluster) -> None:
    for call in (cluster.core.read_namespaced_pod, cluster.core.delete_namespaced_pod):
        status, body = refused(partial(call, "nothing", cluster.namespace))
        assert (status, body["reason"]) == (404, "NotFound")
    pod = {"metadata": {"name": "x"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    status, body = refused(partial(cluster.core.create_namespaced_pod, "no-such-namespace", pod))
    assert (status, body["message"]) == (404, 'namespaces "no-such-namespace" not found')
    assert cluster.core.list_namespaced_pod("no-such-namespace").items == [], "lists know of no namespaces"


def test_a_write_that_means_an_older_version_is_refused(cluster: TestCluster) -> None:
    old = client.ApiClient().sanitize_for_serialization(cluster.make("one", {"colour": "red"}))
    fresh = cluster.core.patch_namespaced_pod("one", cluster.namespace, {"metadata": {"labels": {"colour": "blue"}}})
    assert int(fresh.metadata.resource_version) > int(old["metadata"]["resourceVersion"])
    status, body = refused(lambda: cluster.core.replace_namespaced_pod("one", cluster.namespace, old))
    assert (status, body["reason"]) == (409, "Conflict")
    assert body["message"].endswith("; please apply your changes to the latest version and try again")
    old["metadata"]["resourceVersion"] = fresh.metadata.resource_version
    assert cluster.core.replace_namespaced_pod("one", cluster.namespace, old).metadata.labels["colour"] == "red"


def test_a_delete_that_means_an_older_version_is_refused(cluster: TestCluster) -> None:
    made = cluster.make("one")
    cluster.core.patch_namespaced_pod("one", cluster.namespace, {"metadata": {"labels": {"colour": "blue"}}})
    meant = {"preconditions": {"uid": made.metadata.uid, "resourceVersion": made.metadata.resource_version}}
    status, body = refused(lambda: cluster.core.delete_namespaced_pod("one", cluster.namespace, body=meant))
    assert (status, body["reason"], body["details"]) == (409, "Conflict", {"name": "one", "kind": "Pod"})
    assert "does not match the ResourceVersion in record" in body["message"]
    assert cluster.names() == {"one"}


def test_the_status_is_written_apart_from_the_rest(cluster: TestCluster) -> None:
    cluster.make("one", {"colour": "red"})
    cluster.core.patch_namespaced_pod("one", cluster.namespace, {"status": {"phase": "Failed"}})
    assert cluster.core.read_namespaced_pod("one", cluster.namespace).status.phase == "Pending"
    cluster.core.patch_namespaced_pod_status("one", cluster.namespace, {"status": {"phase": "Running"}})
    seen = cluster.core.read_namespaced_pod("one", cluster.namespace)
    assert (seen.status.phase, seen.metadata.labels["colour"]) == ("Running", "red")


def test_conditions_are_merged_by_their_type(cluster: TestCluster) -> None:
    cluster.make("one")
    cluster.say("one", "PodScheduled", "False", "Unschedulable")
    cluster.say("one", "DisruptionTarget", "True", "PreemptionByScheduler")
    cluster.say("one", "PodScheduled", "True", "Placed")
    conditions = cluster.core.read_namespaced_pod("one", cluster.namespace).status.conditions
    assert {c.type: c.status for c in conditions} == {"PodScheduled": "True", "DisruptionTarget": "True"}


def test_what_writers_leave_out_is_filled_in(cluster: TestCluster) -> None:
    limits = {"cpu": "1000m", "memory": "2048Mi", "nvidia.com/gpu": "1"}
    container = {"name": "c", "image": "i:1", "resources": {"limits": limits, "requests": {"cpu": "0.5"}}}
    made = cluster.make("one", containers=[container])
    resources = made.spec.containers[0].resources
    assert resources.limits == {"cpu": "1", "memory": "2Gi", "nvidia.com/gpu": "1"}, "quantities are rewritten"
    assert resources.requests == {"cpu": "500m", "memory": "2Gi", "nvidia.com/gpu": "1"}, "limits are requests"
    assert (made.spec.restart_policy, made.spec.termination_grace_period_seconds) == ("Always", 30)
    assert {each.key for each in made.spec.tolerations} == {
        "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable",
    }  # fmt: skip
    assert (made.status.qos_class, made.metadata.generation) == ("Burstable", 1)


def test_what_only_the_server_says_is_not_taken_from_a_writer(cluster: TestCluster) -> None:
    body = {
        "metadata": {"name": "one", "uid": "mine", "generation": 7, "deletionTimestamp": "2020-01-01T00:00:00Z"},
        "spec": {"automountServiceAccountToken": False, "containers": [{"name": "c", "image": "i"}]},
        "status": {"phase": "Running"},
    }
    made = cluster.core.create_namespaced_pod(cluster.namespace, body)
    assert made.metadata.uid != "mine"
    assert (made.status.phase, made.metadata.generation, made.metadata.deletion_timestamp) == ("Pending", 1, None)


def test_a_status_may_bring_labels_and_annotations_but_no_spec(cluster: TestCluster) -> None:
    cluster.make("one", {"colour": "red"})
    change = {
        "metadata": {"labels": {"colour": "blue"}, "annotations": {"a": "b"}},
        "spec": {"nodeName": "somewhere"},
        "status": {"phase": "Running"},
    }
    cluster.core.patch_namespaced_pod_status("one", cluster.namespace, change)
    seen = cluster.core.read_namespaced_pod("one", cluster.namespace)
    assert (seen.metadata.labels, seen.metadata.annotations) == ({"colour": "blue"}, {"a": "b"})
    assert (seen.spec.node_name, seen.status.phase, seen.status.qos_class) == (None, "Running", "BestEffort")


def test_a_condition_without_a_time_has_none_and_new_ones_come_first(cluster: TestCluster) -> None:
    cluster.make("one")
    for kind in ("Ready", "DisruptionTarget"):
        change = {"status": {"conditions": [{"type": kind, "status": "True"}]}}
        cluster.core.patch_namespaced_pod_status("one", cluster.namespace, change)
    conditions = cluster.pod("one")["status"]["conditions"]
    assert [condition["type"] for condition in conditions] == ["DisruptionTarget", "Ready"]
    assert all(condition.get("lastTransitionTime") is None for condition in conditions)


def test_a_pod_is_bound_once_and_to_any_name(cluster: TestCluster) -> None:
    cluster.bound("one")
    seen = cluster.core.read_namespaced_pod("one", cluster.namespace)
    assert (seen.spec.node_name, [c.type for c in seen.status.conditions]) == ("some-node", ["PodScheduled"])
    status, body = refused(lambda: cluster.bind("one", "other-node"))
    assert (status, body["reason"]) == (409, "Conflict")
    assert body["message"].endswith('pod one is already assigned to node "some-node"')
    cluster.core.delete_namespaced_pod("one", cluster.namespace, _preload_content=False)
    status, body = refused(lambda: cluster.bind("one", "some-node"))
    assert (status, body["message"].split(": ")[-1]) == (409, "pod one is being deleted, cannot be assigned to a host")


def test_a_new_node_is_tainted_until_somebody_sees_that_it_is_ready(cluster: TestCluster) -> None:
    body = {"metadata": {"generateName": "node-"}, "status": {"capacity": {"cpu": "8000m"}}}
    node = cluster.core.create_node(body)
    cluster.nodes.append(node.metadata.name)
    assert [(t.key, t.effect) for t in node.spec.taints] == [("node.kubernetes.io/not-ready", "NoSchedule")]
    assert node.status.allocatable == {"cpu": "8"}, "until a kubelet says otherwise, all of it is for pods"


def test_a_pod_that_waits_for_others_to_go_is_promised_a_node_until_it_has_one(cluster: TestCluster) -> None:
    cluster.make("one")
    cluster.status("one", nominatedNodeName="some-node")
    cluster.say("one", "Ready", "False", "Waits")
    cluster.bind("one", "some-node")
    seen = cluster.core.read_namespaced_pod("one", cluster.namespace)
    assert seen.status.nominated_node_name is None
    assert [condition.type for condition in seen.status.conditions] == ["Ready", "PodScheduled"]
    status, body = refused(lambda: cluster.status("one", nominatedNodeName="other-node"))
    assert (status, body["details"]["causes"][0]["field"]) == (422, "status.nominatedNodeName")


def test_a_new_generation_is_a_new_spec_and_nothing_else(cluster: TestCluster) -> None:
    cluster.make("one", {"colour": "red"})
    cluster.status("one", phase="Running")
    patch = partial(cluster.core.patch_namespaced_pod, "one", cluster.namespace)
    bare = patch({"metadata": {"labels": {"colour": None}}}).metadata
    assert (bare.generation, bare.labels) == (1, None), "what is empty is left out"
    assert patch({"spec": {"containers": [{"name": "c", "image": "other"}]}}).metadata.generation == 2
