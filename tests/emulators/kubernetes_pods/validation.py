"""Which objects an API server finds wrong, as far as the provider's own could be. Pure."""

import re
from collections.abc import Iterator
from typing import Any

from kubernetes import client
from kubernetes.utils.quantity import parse_quantity

from tests.emulators.kubernetes_pods import forms
from tests.emulators.kubernetes_pods.failures import (
    KINDS,
    Cause,
    Failure,
    invalid,
    missing,
    not_understood,
    unsupported,
    wrong,
)
from tests.emulators.kubernetes_pods.objects import defaulted

Json = dict[str, Any]

ENV_TOLD = "a valid environment variable name must consist only of printable ASCII characters other than '='"
FIXED = (
    "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing"
    " tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def understand(resource: str, body: Any) -> None:
    """Raise `Failure` 400 for what is no object of that kind. The client's own models say whether it is a pod."""
    kind = KINDS[resource]
    if not isinstance(body, dict):
        raise Failure(400, f"the object provided is unrecognized (must be of type {kind})")
    if body.get("kind") not in {None, kind}:
        said, why = body["kind"], "unknown conversion"
        told = f'{said} in version "v1" cannot be handled as a {kind}: converting (v1.{said}) to (core.{kind}): {why}'
        raise Failure(400, told)
    if resource == "pods" and hasattr(client.V1Pod, "from_dict"):
        spec = body.get("spec") or {}
        try:
            client.V1Pod.from_dict({**body, "spec": {**spec, "containers": spec.get("containers") or []}})
        except ValueError as exc:
            raise not_understood(kind, f"json: {exc}") from exc


def addressed(namespace: str, name: str, meta: Json) -> None:
    """Raise `Failure` 400 when an object says that it is another one than its URL."""
    if meta.get("namespace") not in {None, "", namespace}:
        told = "the namespace of the provided object does not match the namespace sent on the request"
        raise Failure(400, told)
    if name and meta.get("name") not in {None, "", name}:
        told = f"the name of the object ({meta['name']}) does not match the name on the URL ({name})"
        raise Failure(400, told)


def check(resource: str, made: Json) -> None:
    """Raise `Failure` 422 with every cause when the object is wrong."""
    causes = [*_meta(resource, made["metadata"]), *(_pod(made["spec"]) if resource == "pods" else ())]
    if causes:
        raise invalid(KINDS[resource], made["metadata"].get("name", ""), causes)


def check_change(resource: str, old: Json, new: Json) -> None:
    """Raise `Failure` 422 for what may not become of the object."""
    check(resource, new)
    added = set(new["metadata"].get("finalizers") or []) - set(old["metadata"].get("finalizers") or [])
    if added and old["metadata"].get("deletionTimestamp"):
        told = "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers"
        raise invalid(
            KINDS[resource], old["metadata"]["name"], [Cause("FieldValueForbidden", "metadata.finalizers", told)]
        )
    if resource == "pods" and _fixed(old["spec"]) != _fixed(new["spec"]):
        raise invalid("Pod", old["metadata"]["name"], [Cause("FieldValueForbidden", "spec", FIXED)])


def check_status(old: Json, status: Json) -> None:
    """Raise `Failure` 422 for a status that a pod cannot come to."""
    nominated = status.get("nominatedNodeName")
    if nominated and nominated != old["status"].get("nominatedNodeName") and old["spec"].get("nodeName"):
        told = "Forbidden: may not be set on pods that are already bound to a node"
        cause = Cause("FieldValueForbidden", "status.nominatedNodeName", told)
        raise invalid("Pod", old["metadata"]["name"], [cause])


def _fixed(spec: Json) -> Json:
    """Of a pod's spec, what stays as it was made."""
    full = defaulted(spec)
    containers = [{key: value for key, value in each.items() if key != "image"} for each in full["containers"]]
    return {**full, "containers": containers, "activeDeadlineSeconds": None, "tolerations": None}


def _meta(resource: str, meta: Json) -> Iterator[Cause]:
    name, pattern, told = meta.get("name", ""), forms.SUBDOMAIN, forms.SUBDOMAIN_TOLD
    if resource == "namespaces":
        pattern, told = forms.LABEL, forms.LABEL_TOLD
    if not name:
        yield missing("metadata.name", "name or generateName is required")
    elif re.fullmatch(pattern, name) is None:
        yield wrong("metadata.name", name, told)
    elif len(name) > 253:
        yield wrong("metadata.name", name, "must be no more than 253 characters")
    for key, value in (meta.get("labels") or {}).items():
        yield from _label("metadata.labels", key, value)


def _label(field: str, key: str, value: str) -> Iterator[Cause]:
    for text, why in ((key, forms.key_fault(key)), (value, forms.value_fault(value))):
        if why is not None:
            yield wrong(field, text, why)


def _pod(spec: Json) -> Iterator[Cause]:
    if not spec["containers"]:
        yield missing("spec.containers")
    volumes = {volume["name"] for volume in spec.get("volumes") or []}
    for place, container in enumerate(spec["containers"]):
        yield from _container(f"spec.containers[{place}]", container, volumes)
    if spec["restartPolicy"] not in {"Always", "OnFailure", "Never"}:
        yield unsupported("spec.restartPolicy", spec["restartPolicy"], ("Always", "OnFailure", "Never"))
    for key, value in (spec.get("nodeSelector") or {}).items():
        yield from _label("spec.nodeSelector", key, value)
    for place, each in enumerate(spec.get("tolerations") or []):
        yield from _toleration(f"spec.tolerations[{place}].operator", each)


def _container(field: str, given: Json, volumes: set[str]) -> Iterator[Cause]:
    if re.fullmatch(forms.LABEL, given["name"]) is None:
        yield wrong(f"{field}.name", given["name"], forms.LABEL_TOLD)
    if not given.get("image"):
        yield missing(f"{field}.image")
    for place, each in enumerate(given.get("env") or []):
        if re.fullmatch(r"[ -<>-~]+", each["name"]) is None:
            yield wrong(f"{field}.env[{place}].name", each["name"], ENV_TOLD)
    for place, each in enumerate(given.get("volumeMounts") or []):
        if each["name"] not in volumes:
            told = f'Not found: "{each["name"]}"'
            yield Cause("FieldValueNotFound", f"{field}.volumeMounts[{place}].name", told)
    yield from _resources(f"{field}.resources", given["resources"])


def _resources(field: str, given: Json) -> Iterator[Cause]:
    limits, requests = given.get("limits") or {}, given.get("requests") or {}
    for part, asked in (("limits", limits), ("requests", requests)):
        for name, text in asked.items():
            if "/" in name and parse_quantity(text) % 1:
                yield wrong(f"{field}.{part}[{name}]", text, "must be an integer")
    for name, text in requests.items():
        limit = limits.get(name)
        if "/" in name and limit is None:
            yield missing(f"{field}.limits", "Limit must be set for non overcommitable resources")
        elif "/" in name and limit != text:
            yield wrong(f"{field}.requests", text, f"must be equal to {name} limit of {limit}")
        elif limit is not None and parse_quantity(text) > parse_quantity(limit):
            yield wrong(f"{field}.requests", text, f"must be less than or equal to {name} limit of {limit}")


def _toleration(field: str, given: Json) -> Iterator[Cause]:
    operator = given.get("operator") or "Equal"
    if operator not in {"Equal", "Exists"}:
        yield unsupported(field, operator, ("Equal", "Exists"))
    elif operator == "Exists" and given.get("value"):
        yield wrong(field, given["value"], "value must be empty when `operator` is 'Exists'")
