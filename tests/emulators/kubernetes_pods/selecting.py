"""Selectors and patches of the Kubernetes API, as far as the provider and its tests use them. Pure."""

import copy
import re
from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]

MERGED_BY = ("type", "name", "key")
"""Lists in these objects are merged by one of their items' keys: conditions by type, containers by name, and so on."""


def matches(each: Mapping[str, Any], labels: str, fields: str) -> bool:
    """Whether an object is selected: equality, inequality, sets and existence of labels; equality of fields."""
    own = each["metadata"].get("labels") or {}
    return all(_label(own, term) for term in _terms(labels)) and all(_field(each, term) for term in _terms(fields))


def _terms(selector: str) -> list[str]:
    return [term.strip() for term in re.split(r",(?![^(]*\))", selector) if term.strip()]


def _label(own: Mapping[str, str], term: str) -> bool:
    among = re.fullmatch(r"(\S+)\s+(in|notin)\s+\((.*)\)", term)
    if among:
        values = {value.strip() for value in among[3].split(",")}
        return (own.get(among[1]) in values) == (among[2] == "in")
    if "!=" in term:
        label, value = term.split("!=", 1)
        return own.get(label) != value
    if "=" in term:
        label, value = re.split("==?", term, maxsplit=1)
        return own.get(label) == value
    return term[1:] not in own if term.startswith("!") else term in own


def _field(each: Mapping[str, Any], term: str) -> bool:
    path, unequal, value = term.partition("!=")
    if not unequal:
        path, _, value = term.replace("==", "=").partition("=")
    found: Any = each
    for part in path.split("."):
        found = found.get(part) or {}
    return ((found or "") == value) != bool(unequal)


def patched(old: Any, change: Any, strategic: bool) -> Any:
    """`old` with a merge patch (RFC 7386) applied; a strategic one merges lists by their items' keys too."""
    if isinstance(change, dict) and isinstance(old, dict | None):
        new = copy.deepcopy(old or {})
        for key, value in change.items():
            if value is None:
                new.pop(key, None)
            else:
                new[key] = patched(new.get(key), value, strategic)
        return new
    if strategic and isinstance(change, list) and isinstance(old, list):
        return _merged(old, change)
    return copy.deepcopy(change)


def _merged(old: list[Any], change: list[Any]) -> list[Any]:
    by = next((key for key in MERGED_BY if all(isinstance(i, dict) and key in i for i in [*old, *change])), None)
    if by is None:
        return copy.deepcopy(change)
    items = {item[by]: item for item in old}
    for item in change:
        items[item[by]] = patched(items.get(item[by]), item, strategic=True)
    return list(items.values())
