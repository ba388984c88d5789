"""What an API server makes of the objects that it is given: what it fills in, and how it writes quantities. Pure."""

import re
from decimal import Decimal
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from tests.emulators.kubernetes_pods.copying import copied
from tests.emulators.kubernetes_pods.failures import KINDS, Failure, not_understood

Json = dict[str, Any]

QUANTITIES = ("limits", "requests", "capacity", "allocatable", "hard", "used")
"""Fields whose values are quantities by name."""

SERVERS_OWN = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink")
"""Metadata that a caller cannot choose."""

NEW_NODE = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
"""The taint of every new node: a controller takes it away once the kubelet is ready."""

SPEC = {
    "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
    "serviceAccountName": "default", "securityContext": {}, "schedulerName": "default-scheduler",
    "enableServiceLinks": True, "priority": 0, "preemptionPolicy": "PreemptLowerPriority",
}  # fmt: skip

CONTAINER = {
    "resources": {}, "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
}  # fmt: skip

UNWELL = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
"""Taints that every pod tolerates for five minutes."""

_BINARY = ("Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_DECIMAL = ("n", "u", "m", "", "k", "M", "G", "T", "P", "E")
_GRAMMAR = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"


def fresh(resource: str, body: Json) -> Json:
    """A new object as the server begins it: nothing in it that only the server says."""
    made: Json = canonical(copied(body), KINDS[resource])
    meta = made.setdefault("metadata", {})
    if meta.get("resourceVersion"):
        raise Failure(500, "resourceVersion should not be set on objects to be created")
    for mark in SERVERS_OWN:
        meta.pop(mark, None)
    made.update(apiVersion="v1", kind=KINDS[resource])
    if resource == "pods":
        made["spec"] = defaulted(made.get("spec") or {})
        made["status"] = {"phase": "Pending", "qosClass": quality(made["spec"])}
        meta["generation"] = 1
    elif resource == "nodes":
        spec, status = made.setdefault("spec", {}), made.setdefault("status", {})
        spec["taints"] = [*(spec.get("taints") or []), NEW_NODE]
        status.setdefault("allocatable", status.get("capacity", {}))
    elif resource == "namespaces":
        made.update(spec={"finalizers": ["kubernetes"]}, status={"phase": "Active"})
    elif resource == "resourcequotas":
        made["status"] = {}
    return made


def defaulted(spec: Json) -> Json:
    """A pod's spec with what the server fills in; once more changes nothing."""
    full = {**copied(SPEC), **spec}
    full["containers"] = [_container(each) for each in spec.get("containers") or []]
    full["serviceAccount"] = full["serviceAccountName"]
    borne = {each.get("key") for each in spec.get("tolerations") or [] if each.get("effect") in {None, "NoExecute"}}
    added = [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
        for key in UNWELL
        if not borne & {key, None}
    ]
    return {**full, "tolerations": [*(spec.get("tolerations") or []), *added]}


def _container(given: Json) -> Json:
    latest = ":" not in str(given.get("image")) or str(given.get("image")).endswith(":latest")
    full = {**copied(CONTAINER), "imagePullPolicy": "Always" if latest else "IfNotPresent", **given}
    limits = full["resources"].get("limits")
    if limits:
        full["resources"]["requests"] = {**limits, **(full["resources"].get("requests") or {})}
    return full


def timed(resource: str, status: Json) -> Json:
    """A status whose conditions say, each, that they have no time where they have none."""
    heard = {"pods": "lastProbeTime", "nodes": "lastHeartbeatTime"}.get(resource)
    if heard is None or not status.get("conditions"):
        return status
    times = {heard: None, "lastTransitionTime": None}
    return {**status, "conditions": [{**times, **each} for each in status["conditions"]]}


def quality(spec: Json) -> str:
    """The quality of service that its requests and limits buy."""
    counted = ("cpu", "memory")
    asked = [each["resources"].get("requests") or {} for each in spec["containers"]]
    limits = [each["resources"].get("limits") or {} for each in spec["containers"]]
    if not any(each.get(name) for each in [*asked, *limits] for name in counted):
        return "BestEffort"
    pairs = list(zip(asked, limits, strict=True))
    exact = all(most.get(name) and most[name] == least.get(name) for least, most in pairs for name in counted)
    return "Guaranteed" if exact else "Burstable"


def canonical(value: Any, kind: str) -> Any:
    """The value with every quantity in it as the server writes it. Raises `Failure` 400 for what is no quantity."""
    if isinstance(value, list):
        return [canonical(each, kind) for each in value]
    if not isinstance(value, dict):
        return value
    new = {key: canonical(each, kind) for key, each in value.items()}
    for key in QUANTITIES:
        if isinstance(new.get(key), dict):
            new[key] = {name: quantity(text, kind) for name, text in new[key].items()}
    if new.get("sizeLimit") is not None:
        new["sizeLimit"] = quantity(new["sizeLimit"], kind)
    return new


def quantity(text: Any, kind: str) -> str:
    """The shortest whole number with the largest suffix, of the family in which it was written."""
    if re.fullmatch(r"[+-]?\d*\.?\d+([numkMGTPE]|[KMGTPE]i|[eE][+-]?\d+)?", str(text)) is None:
        raise not_understood(kind, _GRAMMAR)
    number = Decimal(parse_quantity(str(text)))
    if number and str(text).endswith("i"):
        for power in range(6, 0, -1):
            if number % 1024**power == 0:
                return f"{int(number // 1024**power)}{_BINARY[power - 1]}"
    for place in range(len(_DECIMAL) - 1, 0, -1):
        unit = Decimal(1000) ** (place - 3)
        if number and number % unit == 0:
            return f"{int(number // unit)}{_DECIMAL[place]}"
    return "0"
