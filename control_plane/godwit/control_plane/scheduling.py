"""The `scheduling:` section of config.yaml: who gives way to whom, how long what was held counts, and who is moved."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from godwit.domain.errors import InvalidRequest, Problem
from godwit.scheduler.averages import Forgetting
from godwit.scheduler.giving_way import GivesWay, Preemption
from godwit.scheduler.idle_jobs import IdleJobs
from godwit.scheduler.snapshot import Policy

_KEYS = ("preemption", "min_run_s", "time_sharing", "half_life_s", "migration", "idle_job_after_s", "reclaim_idle_jobs")

IDLE_JOB_S_RANGE = (300.0, 86_400.0)
"""Minutes are told: fewer than five say little, and they are kept for two days."""

MIN_RUN_S_MAX = 30 * 86_400.0
"""The longest guard: a month, so that a slip of the finger (milliseconds) is noticed."""

HALF_LIFE_S_RANGE = (60.0, 366 * 86_400.0)
"""Half-lives from a minute, which hardly remembers anything, to a year, which hardly forgets."""


def ordered(policy: Policy, section: object, path: Path) -> Policy:
    """The policy with what `section` says; None says nothing. Raises `InvalidRequest` with every problem."""
    if section is None:
        return policy
    if not isinstance(section, Mapping):
        what = f"must hold keys and values, such as {{preemption: off}}, not {section!r}"
        raise _wrong(path, [Problem(("scheduling",), what)])
    problems = [_unknown(str(key)) for key in section if key not in _KEYS]
    problems += [*_wrong_words(section), *_wrong_idle(section)]
    by = section.get("preemption")
    was, named = policy.preemption, policy.preemption.by if by is None else _by(by)
    if not problems and named is GivesWay.OFF and section.get("time_sharing"):
        what = "stops jobs, and preemption is off; let preemption be quota or priority"
        problems.append(Problem(("scheduling", "time_sharing"), what, (GivesWay.QUOTA, GivesWay.PRIORITY)))
    if problems:
        raise _wrong(path, problems)
    guard_s, is_shared = section.get("min_run_s"), section.get("time_sharing")
    half_life_s, moves = section.get("half_life_s"), section.get("migration")
    idle_s, reclaims = section.get("idle_job_after_s"), section.get("reclaim_idle_jobs")
    return replace(
        policy,
        idle_jobs=IdleJobs(
            policy.idle_jobs.after_s if idle_s is None else float(idle_s),
            policy.idle_jobs.reclaims if reclaims is None else reclaims,
        ),
        migration=policy.migration if moves is None else replace(policy.migration, acts=moves),
        preemption=Preemption(
            named or GivesWay.OFF,
            was.min_run_s if guard_s is None else float(guard_s),
            time_sharing=was.time_sharing if is_shared is None else is_shared,
        ),
        forgetting=policy.forgetting if half_life_s is None else Forgetting(float(half_life_s)),
    )


def _wrong_words(section: Mapping[str, object]) -> Iterator[Problem]:
    by, guard_s = section.get("preemption"), section.get("min_run_s")
    is_shared, half_life_s = section.get("time_sharing"), section.get("half_life_s")
    if by is not None and _by(by) is None:
        words = tuple(GivesWay)
        yield Problem(("scheduling", "preemption"), f"must be {', '.join(words)}, not {by!r}", words)
    if guard_s is not None and not _is_seconds(guard_s, 0, MIN_RUN_S_MAX):
        yield Problem(("scheduling", "min_run_s"), f"must be seconds from 0 to {MIN_RUN_S_MAX:.0f}, not {guard_s!r}")
    if is_shared is not None and not isinstance(is_shared, bool):
        yield Problem(("scheduling", "time_sharing"), f"must be true or false, not {is_shared!r}", ("true", "false"))
    least, most = HALF_LIFE_S_RANGE
    moves = section.get("migration")
    if moves is not None and not isinstance(moves, bool):
        what = f"must be true or false (whether the planner moves jobs by itself), not {moves!r}"
        yield Problem(("scheduling", "migration"), what, ("true", "false"))
    if half_life_s is not None and not _is_seconds(half_life_s, least, most):
        what = f"must be seconds from {least:.0f} to {most:.0f}, not {half_life_s!r}"
        yield Problem(("scheduling", "half_life_s"), what)


def _wrong_idle(section: Mapping[str, object]) -> Iterator[Problem]:
    after_s, reclaims = section.get("idle_job_after_s"), section.get("reclaim_idle_jobs")
    least, most = IDLE_JOB_S_RANGE
    if after_s is not None and not _is_seconds(after_s, 0, 0) and not _is_seconds(after_s, least, most):
        what = f"must be 0 (never) or seconds from {least:.0f} to {most:.0f}, not {after_s!r}"
        yield Problem(("scheduling", "idle_job_after_s"), what)
    if reclaims is not None and not isinstance(reclaims, bool):
        what = f"must be true or false, not {reclaims!r}"
        yield Problem(("scheduling", "reclaim_idle_jobs"), what, ("true", "false"))


def _by(value: object) -> GivesWay | None:
    if value is False:
        return GivesWay.OFF  # YAML reads a bare `off` so
    return next((one for one in GivesWay if one.value == value), None)


def _is_seconds(value: object, least: float, most: float) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and least <= value <= most


def _unknown(key: str) -> Problem:
    near = next(iter(get_close_matches(key, _KEYS, n=1)), None)
    what = "is not known" + (f"; did you mean {near}?" if near else f"; known are {', '.join(_KEYS)}")
    return Problem(("scheduling", key), what, _KEYS, near)


def _wrong(path: Path, problems: list[Problem]) -> InvalidRequest:
    told = "; ".join(f"{'.'.join(map(str, problem.path))} {problem.message}" for problem in problems)
    return InvalidRequest(f"{path}: {told}", problems)
