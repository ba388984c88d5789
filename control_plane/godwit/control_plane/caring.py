"""The `health:` section of config.yaml: what the health policy may do, and when."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from godwit.domain.errors import InvalidRequest, Problem
from godwit.scheduler.health.policy import HealthPolicy
from godwit.scheduler.snapshot import Policy

_TYPES: Mapping[str, Any] = {field.name: field.type for field in fields(HealthPolicy)}

SECONDS_MAX = 366 * 86_400.0
"""The longest time: a year, so that a slip of the finger (milliseconds) is noticed."""

SHARES = ("breaker_share", "breaker_most", "spare_coverage")
COUNT_MAX = 1_000
AUTO = "auto"


def cared_for(policy: Policy, section: object, path: Path) -> Policy:
    """The policy with what `section` says; None says nothing. Raises `InvalidRequest` with every problem."""
    if section is None:
        return policy
    if not isinstance(section, Mapping):
        raise _wrong(
            path, [Problem(("health",), f"must hold keys and values, such as {{acts: false}}, not {section!r}")]
        )
    problems = [problem for key, value in section.items() if (problem := _problem(str(key), value)) is not None]
    problems += _at_odds(section, policy.health) if not problems else []
    if problems:
        raise _wrong(path, problems)
    values = {
        str(key): _value(str(key), value) for key, value in section.items() if value is not None or key == "spares"
    }
    return replace(policy, health=replace(policy.health, **values))


def _value(key: str, value: Any) -> Any:
    if key == "spares":
        return None if value == AUTO else 0 if value is None else value
    if key == "sweep_every_s":
        return None if value is False else float(value)
    return float(value) if _TYPES[key] is float else value


def _problem(key: str, value: object) -> Problem | None:
    if key not in _TYPES:
        near = next(iter(get_close_matches(key, _TYPES, n=1)), None)
        what = "is not known" + (f"; did you mean {near}?" if near else f"; known are {', '.join(_TYPES)}")
        return Problem(("health", key), what, tuple(_TYPES), near)
    if value is None:
        return None
    wanted = _wanted(key, value)
    return None if wanted is None else Problem(("health", key), f"must be {wanted}, not {value!r}")


def _wanted(key: str, value: object) -> str | None:
    """Say what a key takes when that is not `value`."""
    if _TYPES[key] is bool:
        return None if isinstance(value, bool) else "true or false"
    if key == "spares":
        return None if value == AUTO or _is_number(value, 0, COUNT_MAX, whole=True) else f"auto, or 0 to {COUNT_MAX}"
    if key in SHARES:
        return None if _is_number(value, 0, 1) else "a share from 0 to 1"
    if _TYPES[key] is int:
        return None if _is_number(value, 1, COUNT_MAX, whole=True) else f"a whole number from 1 to {COUNT_MAX}"
    if key == "sweep_every_s" and value is False:
        return None  # YAML reads a bare `off` so
    return None if _is_number(value, 0, SECONDS_MAX) else f"seconds from 0 to {SECONDS_MAX:.0f}"


def _is_number(value: object, low: float, high: float, *, whole: bool = False) -> bool:
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        return False
    return math.isfinite(value) and low <= value <= high


def _at_odds(section: Mapping[Any, Any], policy: HealthPolicy) -> Iterator[Problem]:
    share = _or(section.get("breaker_share"), policy.breaker_share)
    most = _or(section.get("breaker_most"), policy.breaker_most)
    if share > most:
        yield Problem(
            ("health", "breaker_share"), f"must not be above breaker_most, which is {most:g}, but is {share:g}"
        )


def _or(value: Any, default: float) -> float:
    return default if value is None else float(value)


def _wrong(path: Path, problems: list[Problem]) -> InvalidRequest:
    told = "; ".join(f"{'.'.join(map(str, problem.path))} {problem.message}" for problem in problems)
    return InvalidRequest(f"{path}: {told}", problems)
