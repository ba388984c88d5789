"""What stands between a request and the store: which pods a namespace takes, before their names are compared."""

from collections.abc import Iterator
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from tests.emulators.kubernetes_pods import validation
from tests.emulators.kubernetes_pods.failures import Failure, forbidden
from tests.emulators.kubernetes_pods.objects import quantity
from tests.emulators.kubernetes_pods.store import Store

Json = dict[str, Any]

BUILT_IN = ("system-cluster-critical", "system-node-critical")
"""The priority classes of every cluster."""


def admit(store: Store, resource: str, namespace: str, made: Json) -> None:
    """Let an object in, or raise the `Failure` of what does not like it: in the order of kube-apiserver.

    Quotas come last and count at once: a pod that fails afterwards, since its name is taken, has used them up until a
    controller counts anew.
    """
    name = made["metadata"].get("name", "")
    if namespace:
        _open(store, resource, namespace, name)
    if resource == "pods":
        _account(store, namespace, name, made["spec"]["serviceAccountName"])
        priority = made["spec"].get("priorityClassName")
        if priority and priority not in BUILT_IN:
            raise forbidden("pods", name, f"no PriorityClass with name {priority} was found")
    validation.check(resource, made)
    if resource == "pods":
        _count(store, namespace, made)


def _open(store: Store, resource: str, namespace: str, name: str) -> None:
    if store.get(("namespaces", "", namespace))["status"]["phase"] == "Terminating":
        why = f"unable to create new content in namespace {namespace} because it is being terminated"
        ending = f"namespace {namespace} is being terminated"
        cause = {"reason": "NamespaceTerminating", "message": ending, "field": "metadata.namespace"}
        raise forbidden(resource, name, why, [cause])


def _account(store: Store, namespace: str, name: str, account: str) -> None:
    try:
        store.get(("serviceaccounts", namespace, account))
    except Failure as failure:
        why = f'error looking up service account {namespace}/{account}: serviceaccount "{account}" not found'
        raise forbidden("pods", name, why) from failure


def _count(store: Store, namespace: str, pod: Json) -> None:
    """Every quota that has a status: a controller writes it, and until then the quota counts nothing."""
    for quota in store.all("resourcequotas", namespace):
        hard = (quota.get("status") or {}).get("hard") or {}
        if hard:
            used = _used(quota, hard, pod)
            key = ("resourcequotas", namespace, quota["metadata"]["name"])
            store.put("MODIFIED", key, {**quota, "status": {**quota["status"], "used": used}})


def _used(quota: Json, hard: Json, pod: Json) -> Json:
    name, own = pod["metadata"]["name"], quota["metadata"]["name"]
    unsaid = {each["name"]: list(_unsaid(each, hard)) for each in pod["spec"]["containers"]}
    lacking = [f"{what} for: {container}" for container, whats in unsaid.items() for what in whats]
    if lacking:
        raise forbidden("pods", name, f"failed quota: {own}: must specify {'; '.join(lacking)}")
    used = {**dict.fromkeys(hard, "0"), **(quota["status"].get("used") or {})}
    asked = {what: _asked(pod, what) for what in hard if _asked(pod, what)}
    over = [what for what in sorted(asked) if parse_quantity(used[what]) + asked[what] > parse_quantity(hard[what])]
    if over:
        words = (("requested", {what: _written(asked[what]) for what in over}), ("used", used), ("limited", hard))
        told = ", ".join(f"{word}: {','.join(f'{what}={of[what]}' for what in over)}" for word, of in words)
        raise forbidden("pods", name, f"exceeded quota: {own}, {told}")
    return {**used, **{what: _written(parse_quantity(used[what]) + more) for what, more in asked.items()}}


def _unsaid(container: Json, hard: Json) -> Iterator[str]:
    """What a quota counts of CPUs and memory must be said by each container."""
    for what in hard:
        part, _, resource = what.rpartition(".")
        if resource in {"cpu", "memory"} and resource not in (container["resources"].get(part or "requests") or {}):
            yield what


def _asked(pod: Json, what: str) -> Any:
    if what in {"pods", "count/pods"}:
        return 1
    part, _, resource = what.partition(".")
    if part not in {"requests", "limits"}:
        part, resource = "requests", what
    asked = [(each["resources"].get(part) or {}).get(resource, 0) for each in pod["spec"]["containers"]]
    return sum(parse_quantity(each) for each in asked)


def _written(number: Any) -> str:
    return quantity(format(number, "f") if number % 1 else str(int(number)), "Pod")
