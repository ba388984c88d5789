"""The `scheduling:` section of config.yaml: who gives way to whom."""

import math
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from godwit.domain.errors import InvalidRequest, Problem
from godwit.scheduler.giving_way import GivesWay, Preemption
from godwit.scheduler.snapshot import Policy

_KEYS = ("preemption", "min_run_s")

MIN_RUN_S_MAX = 30 * 86_400.0
"""The longest guard: a month, so that a slip of the finger (milliseconds) is noticed."""


def ordered(policy: Policy, section: object, path: Path) -> Policy:
    """The policy with what `section` says; None says nothing. Raises `InvalidRequest` with every problem."""
    if section is None:
        return policy
    if not isinstance(section, Mapping):
        what = f"must hold keys and values, such as {{preemption: off}}, not {section!r}"
        raise _wrong(path, [Problem(("scheduling",), what)])
    problems = [_unknown(str(key)) for key in section if key not in _KEYS]
    by, min_run_s = section.get("preemption"), section.get("min_run_s")
    named = policy.preemption.by if by is None else _by(by)
    if named is None:
        words = tuple(GivesWay)
        problems.append(Problem(("scheduling", "preemption"), f"must be {', '.join(words)}, not {by!r}", words))
    if min_run_s is not None and not _is_seconds(min_run_s):
        what = f"must be seconds from 0 to {MIN_RUN_S_MAX:.0f}, not {min_run_s!r}"
        problems.append(Problem(("scheduling", "min_run_s"), what))
    if problems:
        raise _wrong(path, problems)
    guard_s = policy.preemption.min_run_s if min_run_s is None else float(min_run_s)
    return replace(policy, preemption=Preemption(named or GivesWay.OFF, guard_s))


def _by(value: object) -> GivesWay | None:
    if value is False:
        return GivesWay.OFF  # YAML reads a bare `off` so
    return next((one for one in GivesWay if one.value == value), None)


def _is_seconds(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and 0 <= value <= MIN_RUN_S_MAX


def _unknown(key: str) -> Problem:
    near = next(iter(get_close_matches(key, _KEYS, n=1)), None)
    what = "is not known" + (f"; did you mean {near}?" if near else f"; known are {', '.join(_KEYS)}")
    return Problem(("scheduling", key), what, _KEYS, near)


def _wrong(path: Path, problems: list[Problem]) -> InvalidRequest:
    told = "; ".join(f"{'.'.join(map(str, problem.path))} {problem.message}" for problem in problems)
    return InvalidRequest(f"{path}: {told}", problems)
