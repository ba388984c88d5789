"""Selectors and patches of the Kubernetes API, as far as the provider and its tests use them. Pure."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.emulators.kubernetes_pods import forms
from tests.emulators.kubernetes_pods.copying import copied
from tests.emulators.kubernetes_pods.failures import Failure

Json = dict[str, Any]
Test = Callable[[Mapping[str, Any]], bool]

FIELDS = {
    "pods": {
        "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork",
        "status.phase", "status.podIP", "status.nominatedNodeName",
    },
    "nodes": {"spec.unschedulable"},
    "namespaces": {"status.phase"},
}  # fmt: skip
"""What each resource can be selected by, besides name and namespace."""

FLAGS = ("spec.hostNetwork", "spec.unschedulable")

MERGED_BY = ("type", "name", "key")
"""Lists in these objects are merged by one of their items' keys: conditions by type, containers by name, and so on."""

_TOKEN = re.compile(r"\s*(\(|\)|,|!=|==|=|!|>|<|[^\s(),!=><]+)")
_WORD = re.compile(r"[^\s(),!=><]+")


@dataclass(frozen=True)
class Selection:
    """What a list or a watch is about."""

    tests: tuple[Test, ...]

    def __contains__(self, each: Mapping[str, Any]) -> bool:
        return all(test(each) for test in self.tests)

    @classmethod
    def of(cls, resource: str, query: Mapping[str, str]) -> "Selection":
        """From a request's query. Raises `Failure` 400 for what is no selector."""
        labels = _Labels(query.get("labelSelector", "")).tests()
        return cls((*labels, *_fields(resource, query.get("fieldSelector", ""))))


class _Labels:
    """A reader of label selectors: equality, inequality, sets, existence and order."""

    def __init__(self, text: str) -> None:
        self._left = [*_TOKEN.findall(text), ""]

    def tests(self) -> list[Test]:
        """Every requirement."""
        found: list[Test] = []
        while self._left[0]:
            found.append(self._requirement())
            if self._left[0] not in {",", ""}:
                raise _unread(self._left[0], "',' or 'end of string'")
            if self._left[0]:
                self._left.pop(0)
                if not self._left[0]:
                    raise _unread("", "identifier after ','")
        return found

    def _requirement(self) -> Test:
        absent = self._left[0] == "!"
        if absent:
            self._left.pop(0)
        key = self._left.pop(0)
        if _WORD.fullmatch(key) is None:
            raise _unread(key, "!, identifier, or 'end of string'")
        _formed("<nil>", key, forms.key_fault(key))
        if absent or self._left[0] in {"", ","}:
            return lambda each: (key in _labels(each)) != absent
        operator = self._left.pop(0)
        if operator in {"in", "notin"}:
            values = self._values()
            return lambda each: (_labels(each).get(key) in values) == (operator == "in")
        if operator not in {"=", "==", "!=", ">", "<"}:
            raise _unread(operator, "in, notin, =, ==, !=, gt, lt", "unable to parse requirement: ")
        value = self._left.pop(0) if _WORD.fullmatch(self._left[0]) else ""
        if operator in {">", "<"}:
            return _order(key, operator, value)
        _formed(f"values[0][{key}]", value, forms.value_fault(value))
        return lambda each: (_labels(each).get(key) == value) != (operator == "!=")

    def _values(self) -> set[str]:
        values, within = {""}, self._left.pop(0) == "("
        while within and self._left[0] != ")":
            word = self._left.pop(0)
            if not word:
                raise _unread(word, "',' or ')'", "unable to parse requirement: ")
            values.add(word)
        self._left.pop(0)
        return values - {",", ""} or {""}


def _order(key: str, operator: str, value: str) -> Test:
    if not value.isdecimal():
        why = "for 'Gt', 'Lt' operators, the value must be an integer"
        raise Failure(400, f'unable to parse requirement: values[0]: Invalid value: "{value}": {why}')
    bound = int(value)

    def holds(each: Mapping[str, Any]) -> bool:
        own = _labels(each).get(key, "")
        return own.isdecimal() and (int(own) > bound if operator == ">" else int(own) < bound)

    return holds


def _formed(what: str, text: str, fault: str | None) -> None:
    if fault is not None:
        raise Failure(400, f'unable to parse requirement: {what}: Invalid value: "{text}": {fault}')


def _unread(found: str, expected: str, begins: str = "") -> Failure:
    return Failure(400, f"{begins}found '{found}', expected: {expected}")


def _labels(each: Mapping[str, Any]) -> Mapping[str, str]:
    return each["metadata"].get("labels") or {}


def _fields(resource: str, selector: str) -> list[Test]:
    found: list[Test] = []
    for term in filter(None, selector.split(",")):
        parts = re.fullmatch(r"(.*?)(!=|==|=)(.*)", term)
        if parts is None:
            raise Failure(400, f"invalid selector: '{selector}'; can't understand '{term}'")
        path, operator, value = parts.groups()
        if path not in {"metadata.name", "metadata.namespace"} | FIELDS.get(resource, set()):
            raise Failure(400, f"field label not supported: {path}")
        found.append(_field(path, value, operator == "!="))
    return found


def _field(path: str, value: str, unequal: bool) -> Test:
    def holds(each: Mapping[str, Any]) -> bool:
        own: Any = each
        for part in path.split("."):
            own = own.get(part) or {}
        said = str(bool(own)).lower() if path in FLAGS else own or ""
        return (said == value) != unequal

    return holds


def patched(old: Any, change: Any, strategic: bool) -> Any:
    """`old` with a merge patch (RFC 7386) applied; a strategic one merges lists by their items' keys too."""
    if isinstance(change, dict) and isinstance(old, dict | None):
        new = copied(old or {})
        for key, value in change.items():
            if value is None:
                new.pop(key, None)
            else:
                new[key] = patched(new.get(key), value, strategic)
        return new
    if strategic and isinstance(change, list) and isinstance(old, list):
        return _merged(old, change)
    return copied(change)


def _merged(old: list[Any], change: list[Any]) -> list[Any]:
    """New items come first, which is why nobody may go by the order of conditions."""
    by = next((key for key in MERGED_BY if all(isinstance(i, dict) and key in i for i in [*old, *change])), None)
    if by is None:
        return copied(change)
    had = {item[by] for item in old}
    items = {item[by]: item for item in [*(i for i in change if i[by] not in had), *old]}
    for item in change:
        items[item[by]] = patched(items.get(item[by]), item, strategic=True)
    return list(items.values())
