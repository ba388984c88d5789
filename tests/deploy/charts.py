"""Renders the chart's templates, and holds what comes out against the types of Kubernetes' own client.

Helm itself is in no package that is installed here, so that templates keep to what stands below: values, the release,
and `quote`. Whatever else stands between braces is refused.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client

_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}")


def render(chart: Path, values: Mapping[str, Any], release: str) -> list[dict[str, Any]]:
    """Every object of a chart, as `helm template` would write it."""
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    known = {"Values": values, "Release": {"Name": release}, "Chart": {"AppVersion": about["appVersion"]}}
    found: list[dict[str, Any]] = []
    for path in sorted((chart / "templates").glob("*.yaml")):
        text = _ACTION.sub(lambda action: _value(action[1], known), path.read_text())
        found += [one for one in yaml.safe_load_all(text) if one]
    return found


def _value(action: str, known: Mapping[str, Any]) -> str:
    path, *filters = (part.strip() for part in action.split("|"))
    assert re.fullmatch(r"(\.\w+)+", path), f"the tests render no {action!r}"
    found: Any = known
    for name in path.removeprefix(".").split("."):
        found = found[name]
    assert filters in ([], ["quote"]), f"the tests render no {action!r}"
    return json.dumps(str(found)) if filters else str(found)


def faults(of: Mapping[str, Any]) -> list[str]:
    """What Kubernetes would refuse in an object: unknown fields, and values of another type."""
    return list(_faults(of, _model(of["apiVersion"], of["kind"]), of["kind"]))


def _model(version: str, kind: str) -> str:
    return f"{version.rpartition('/')[2].capitalize()}{kind}"


def _faults(value: Any, of: str, where: str) -> Iterator[str]:
    if value is None:  # as good as left out
        return
    listed, mapped = re.fullmatch(r"[lL]ist\[(.*)\]", of), re.fullmatch(r"[dD]ict[(\[]str, (.*)[)\]]", of)
    if listed or mapped:
        if not isinstance(value, list if listed else dict):
            yield f"{where} is no {of}"
            return
        inner = (listed or mapped)[1]  # type: ignore[index]
        items = enumerate(value) if isinstance(value, list) else value.items()
        for key, one in items:
            yield from _faults(one, inner, f"{where}[{key}]")
    elif hasattr(client, of):
        model = getattr(client, of)
        if not isinstance(value, dict):
            yield f"{where} is no {of}"
            return
        names = {written: name for name, written in model.attribute_map.items()}
        for key, one in value.items():
            if key not in names:
                yield f"{where}.{key} is not known"
            else:
                yield from _faults(one, model.openapi_types[names[key]], f"{where}.{key}")
    else:
        wanted: dict[str, tuple[type, ...]] = {
            "str": (str,),
            "int": (int,),
            "bool": (bool,),
            "object": (str, int, dict),
        }
        if not isinstance(value, wanted[of]) or (of == "int" and isinstance(value, bool)):
            yield f"{where} is {value!r}, no {of}"
