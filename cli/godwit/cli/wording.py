"""Pydantic's errors in people's words: what is wrong, what is accepted, and the nearest match."""

import re
import types
import typing
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from godwit.domain import times
from godwit.domain.errors import Problem
from godwit.domain.wire.specs import INTERVALS, MAX_PRIORITY, PRIORITIES, JobSpecIn
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

Path = tuple[str | int, ...]

NAME_SHAPE = "a-z, 0-9 and hyphens between them, at most 63"
"""What `NAME_PATTERN` of `godwit.domain.wire.specs` says."""

SHAPES: dict[Path, tuple[str, ...]] = {
    ("name",): (NAME_SHAPE,),
    ("resources", "gpus"): ("H100:8", "[H100:8, H200:8]", "0"),
    ("resources", "nodes"): ("4", "2..8"),
    ("resources", "memory"): ("80GB+",),
    ("resources", "infra"): ("[sim-aurora, coreweave/us-east]",),
    ("checkpoint", "store"): ("file:///folder", "s3://bucket/prefix"),
    ("checkpoint", "interval"): INTERVALS,
    ("checkpoint", "keep"): ("3", "1 to 1000"),
    ("priority",): (*PRIORITIES, f"-{MAX_PRIORITY} to {MAX_PRIORITY}"),
    ("after",): ("prep", "{job: prep, when: ended}"),
    ("run_time",): times.DURATIONS,
    ("hang_after",): ("auto", "off", *times.DURATIONS),
    ("deadline",): times.INSTANTS,
}
"""What to write where the type alone does not say it; the grammar is that of `godwit.domain.wire.specs`."""

_WHOLE, _NUMBER = "must be a whole number, not {value}", "must be a number, not {value}"
_KEYS = "must hold keys of its own, not {kind}"
MESSAGES = {
    "string_type": "must be text, not {kind}",
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": _NUMBER,
    "list_type": "must be a list, not {kind}",
    "dict_type": _KEYS,
    "model_type": _KEYS,
    "model_attributes_type": _KEYS,
    "greater_than": "{value} is too small; more than {gt:g}",
    "greater_than_equal": "{value} is too small; at least {ge:g}",
    "less_than_equal": "{value} is too large; at most {le:g}",
    "string_too_long": "too long; at most {max_length} characters",
    "string_too_short": "must not be empty",
}
"""Pydantic's error types (https://docs.pydantic.dev/latest/errors/validation_errors/) and what we say instead."""

CLI_KEYS = ("workdir",)
"""Keys of the YAML that the command line takes out before the rest becomes a `JobSpecIn`."""

HIDDEN_KEYS = ("workdir_digest",)
"""Keys of `JobSpecIn` that nobody writes by hand."""


def problems_of(error: ValidationError, data: dict[str, Any]) -> list[Problem]:
    """One problem for each key that is wrong: a union's several complaints about one value become one."""
    by_path: dict[Path, list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        by_path.setdefault(_document_path(detail, data), []).append(detail)
    return [_problem(path, details, data) for path, details in by_path.items()]


def keys_at(path: Path) -> tuple[str, ...]:
    """The keys that a specification accepts below `path`."""
    model = _model_at(path)
    if model is None:
        return ()
    keys = [name for name in model.model_fields if name not in HIDDEN_KEYS]
    return (*keys, *CLI_KEYS) if not path else tuple(keys)


def _document_path(detail: ErrorDetails, data: dict[str, Any]) -> Path:
    # Pydantic adds the names of union members and of `[key]` to the path; the document knows what is really there.
    path: Path = ()
    here: Any = data
    for part in detail["loc"]:
        inside = (isinstance(here, dict) and part in here) or (
            isinstance(here, list) and isinstance(part, int) and part < len(here)
        )
        if inside:
            path, here = (*path, part), here[part]
        elif detail["type"] == "missing" and isinstance(here, dict):
            return (*path, part)
    return path


def _problem(path: Path, details: Sequence[ErrorDetails], data: dict[str, Any]) -> Problem:
    first, value = details[0], _value_at(path, data)
    kind, key = first["type"], str(path[-1]) if path else ""
    if kind == "extra_forbidden":
        accepted = keys_at(path[:-1])
        return Problem(path, "unknown key", accepted, _near(key, accepted))
    if kind == "missing":
        return Problem(path, "this key is missing", keys_at(path[:-1]))
    shape = SHAPES.get(tuple(part for part in path if isinstance(part, str)), ())
    if len(details) > 1 and shape:
        return Problem(path, f"cannot be {_shown(value)}", shape, _near(str(value), shape))
    if kind == "literal_error":
        accepted = tuple(re.findall(r"'([^']*)'", first.get("ctx", {}).get("expected", "")))
        return Problem(path, f"cannot be {_shown(value)}", accepted, _near(str(value), accepted))
    if kind == "string_pattern_mismatch":
        return Problem(path, f"cannot be {_shown(value)}", shape, near_name(value) if path == ("name",) else None)
    return Problem(path, _sentence(first, value), shape, _as_written(kind, value))


def _sentence(detail: ErrorDetails, value: Any) -> str:
    kind, bounds = detail["type"], detail.get("ctx", {})
    if kind == "value_error":
        return str(bounds["error"])
    if kind in MESSAGES:
        return MESSAGES[kind].format(value=_shown(value), kind=_kind(value), **bounds)
    return detail["msg"][0].lower() + detail["msg"][1:]


def _as_written(kind: str, value: Any) -> str | None:
    if kind == "string_type" and isinstance(value, int | float):
        return f'"{str(value).lower() if isinstance(value, bool) else value}"'
    if kind == "list_type" and isinstance(value, str):
        return f"[{value}]"
    return None


def _near(word: str, accepted: Sequence[str]) -> str | None:
    near = get_close_matches(word.lower(), accepted, n=1, cutoff=0.6)
    return near[0] if near else None


def near_name(value: Any) -> str | None:
    """The name that comes nearest to what a person wrote; None where nothing of that may be in one."""
    slug = re.sub(r"[^a-z0-9]+", "-", str(value).lower()).strip("-")[:63].strip("-")
    return slug or None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _kind(value: Any) -> str:
    words = {bool: f"the truth value {str(value).lower()}", str: f"the text {_shown(value)}", type(None): "nothing"}
    words |= {int: f"the number {value}", float: f"the number {value}", list: "a list", dict: "a mapping of keys"}
    return words.get(type(value), f"a {type(value).__name__}")


def _value_at(path: Path, data: Any) -> Any:
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _model_at(path: Path) -> type[BaseModel] | None:
    model: type[BaseModel] = JobSpecIn
    for part in path:
        field = model.model_fields.get(str(part))
        inner = next((kind for kind in _members(field.annotation) if _is_model(kind)), None) if field else None
        if inner is None:
            return None
        model = inner
    return model


def _members(annotation: Any) -> tuple[Any, ...]:
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return typing.get_args(annotation) if union else (annotation,)


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
