"""What lists show and in which pieces: held by our own small API server, and on a real one alike."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.emulators.kubernetes_pods import forms
from tests.emulators.kubernetes_pods.cluster import Json, TestCluster, refused


def _page(cluster: TestCluster, token: str | None = None, **query: Any) -> Any:
    more = {} if token is None else {"_continue": token}
    return cluster.core.list_namespaced_pod(cluster.namespace, limit=2, **query, **more)


def _refused(cluster: TestCluster, **query: Any) -> tuple[int, str]:
    status, body = refused(lambda: cluster.core.list_namespaced_pod(cluster.namespace, **query))
    return status, body["message"]


def test_selectors_select_by_label_and_field(cluster: TestCluster) -> None:
    for name, colour in (("a", "red"), ("b", "blue"), ("c", "red")):
        cluster.make(name, {"colour": colour})
    cluster.make("d")
    assert cluster.names(label_selector="colour") == {"a", "b", "c"}
    assert cluster.names(label_selector="colour=red") == {"a", "c"}
    assert cluster.names(label_selector="colour!=red") == {"b", "d"}
    assert cluster.names(label_selector="!colour") == {"d"}
    assert cluster.names(label_selector="colour in (blue, green)") == {"b"}
    assert cluster.names(field_selector="metadata.name=b") == {"b"}
    assert cluster.names(field_selector="status.phase!=Pending") == set()


def test_a_list_goes_on_where_the_page_ended_and_stays_one_snapshot(cluster: TestCluster) -> None:
    for number in range(5):
        cluster.make(f"pod-{number}")
    page = cluster.core.list_namespaced_pod(cluster.namespace, limit=2)
    seen = [pod.metadata.name for pod in page.items]
    assert len(seen) == 2
    cluster.make("pod-9")
    while page.metadata._continue:
        page = cluster.core.list_namespaced_pod(cluster.namespace, limit=2, _continue=page.metadata._continue)
        seen += [pod.metadata.name for pod in page.items]
    assert seen == [f"pod-{number}" for number in range(5)]


def test_a_list_says_how_many_are_left_unless_it_selects(cluster: TestCluster) -> None:
    for number in range(3):
        cluster.make(f"pod-{number}", {"colour": "red"})
    assert _page(cluster).metadata.remaining_item_count == 1
    assert _page(cluster, label_selector="colour=red").metadata.remaining_item_count is None


def test_after_a_full_page_of_a_selection_the_next_may_be_empty(cluster: TestCluster) -> None:
    for number, colour in enumerate(("red", "red", "blue")):
        cluster.make(f"pod-{number}", {"colour": colour})
    first = _page(cluster, label_selector="colour=red")
    assert len(first.items) == 2
    last = _page(cluster, first.metadata._continue, label_selector="colour=red")
    assert (last.items, last.metadata._continue) == ([], None)


def test_the_list_names_its_kind_once_and_not_in_each_item(cluster: TestCluster) -> None:
    cluster.make("one")
    listed = cluster.core.list_namespaced_pod(cluster.namespace)
    assert (listed.kind, listed.items[0].kind, listed.items[0].api_version) == ("PodList", None, None)


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("colour=", {"e"}),
        ("colour in(red)", {"a"}),
        ("colour notin (red, blue)", {"d", "e"}),
        ("colour in ()", {"e"}),
        (" colour = red ", {"a"}),
        ("colour,colour!=red", {"b", "e"}),
        ("size>1", {"d"}),
        ("size<3", {"d"}),
    ],
)
def test_selectors_of_labels_are_read_as_they_are_meant(cluster: TestCluster, selector: str, names: set[str]) -> None:
    labels = {"a": {"colour": "red"}, "b": {"colour": "blue"}, "d": {"size": "2"}, "e": {"colour": ""}}
    for name, own in labels.items():
        cluster.make(name, own)
    assert cluster.names(label_selector=selector) == names


@pytest.mark.parametrize(
    ("selector", "told"),
    [
        ("=x", "found '=', expected: !, identifier, or 'end of string'"),
        ("colour=x y", "found 'y', expected: ',' or 'end of string'"),
        ("colour,", "found '', expected: identifier after ','"),
        ("-colour", f'unable to parse requirement: <nil>: Invalid value: "-colour": {forms.KEY_TOLD}'),
        ("colour=a/b", f'unable to parse requirement: values[0][colour]: Invalid value: "a/b": {forms.VALUE_TOLD}'),
        ("a=b=c", "found '=', expected: ',' or 'end of string'"),
        ("colour in (red", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("size gt 1", "unable to parse requirement: found 'gt', expected: in, notin, =, ==, !=, gt, lt"),
        ("size>big", "unable to parse requirement: values[0]: Invalid value: \"big\": for 'Gt', 'Lt' operators, the"
                     " value must be an integer"),
    ],
)  # fmt: skip
def test_a_selector_of_labels_that_cannot_be_read_is_refused(cluster: TestCluster, selector: str, told: str) -> None:
    assert _refused(cluster, label_selector=selector) == (400, told)


@pytest.mark.parametrize(
    ("selector", "told"),
    [
        ("metadata.labels.colour=red", "field label not supported: metadata.labels.colour"),
        ("metadata.uid=5", "field label not supported: metadata.uid"),
        (" metadata.name=a", "field label not supported:  metadata.name"),
        ("metadata.name", "invalid selector: 'metadata.name'; can't understand 'metadata.name'"),
    ],
)
def test_few_fields_can_be_selected_by(cluster: TestCluster, selector: str, told: str) -> None:
    assert _refused(cluster, field_selector=selector) == (400, told)


def test_fields_that_the_server_filled_in_can_be_selected_by(cluster: TestCluster) -> None:
    cluster.make("one")
    for selector in (
        "spec.restartPolicy=Always", "spec.nodeName=", "spec.hostNetwork=false", "spec.serviceAccountName=default",
        "metadata.name=one,status.phase!=Failed",
    ):  # fmt: skip
        assert cluster.names(field_selector=selector) == {"one"}


def test_a_page_is_asked_for_by_its_own_token_alone(cluster: TestCluster) -> None:
    for number in range(3):
        cluster.make(f"pod-{number}")
    token = _page(cluster).metadata._continue
    status, told = _refused(cluster, limit=2, _continue="rubbish")
    assert (status, told.split(":")[0]) == (400, "invalid continue token")
    both = "specifying resource version is not allowed when using continue"
    assert _refused(cluster, limit=2, _continue=token, resource_version=cluster.version()) == (400, both)


def test_a_list_of_a_version_that_is_still_to_come_is_refused_for_now(cluster: TestCluster) -> None:
    status, body = refused(lambda: cluster.core.list_namespaced_pod(cluster.namespace, resource_version="999999999"))
    assert (status, body["reason"]) == (504, "Timeout")
    assert body["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
    assert _refused(cluster, resource_version="latest")[0] == 400


def test_a_continue_token_that_is_forgotten_is_gone_and_names_one_that_goes_on_in_the_present(
    cluster: TestCluster, forget: Callable[[], None]
) -> None:
    for number in range(4):
        cluster.make(f"pod-{number}")
    token = _page(cluster).metadata._continue
    cluster.gone("pod-2")
    cluster.make("pod-9")
    forget()
    status, body = refused(lambda: _page(cluster, token))
    assert (status, body["reason"]) == (410, "Expired")
    rest: Json = body["metadata"]
    assert {pod.metadata.name for pod in _page(cluster, rest["continue"]).items} == {"pod-3", "pod-9"}
