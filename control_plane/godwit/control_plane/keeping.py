"""The `keeping:` section of config.yaml: for how long this disk keeps what no job needs any more."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path

from godwit.domain.errors import InvalidRequest, Problem

DAY_S = 86_400.0
DAYS_MAX = 36_500
"""A century: more is a slip of the finger, such as seconds."""


@dataclass(frozen=True)
class Keeping:
    """Days since its last use; 0 is for ever.

    Output is read for weeks after a job, and copied by whoever needs it for longer. A workdir is on its submitter's
    disk, and is sent again with the next job that wants it.
    """

    logs_days: float = 90.0
    archives_days: float = 30.0


def read(section: object, path: Path) -> Keeping:
    """The section's settings; None says nothing. Raises `InvalidRequest` with every problem."""
    if section is None:
        return Keeping()
    if not isinstance(section, Mapping):
        raise InvalidRequest(f"{path}: keeping must hold keys and days, such as {{logs_days: 90}}, not {section!r}")
    problems = [problem for key, value in section.items() if (problem := _problem(str(key), value)) is not None]
    if problems:
        raise InvalidRequest(f"{path}: " + "; ".join(problem.message for problem in problems), problems)
    return Keeping(**{str(key): float(value) for key, value in section.items()})


def _problem(key: str, value: object) -> Problem | None:
    known = [field.name for field in fields(Keeping)]
    if key not in known:
        near = next(iter(get_close_matches(key, known, n=1)), None)
        what = f"no key is called {key!r} in keeping" + (f"; did you mean {near}?" if near else "")
        return Problem(("keeping", key), what, tuple(known), near)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= DAYS_MAX:
        return Problem(("keeping", key), f"keeping.{key} must be days from 0 to {DAYS_MAX}, not {value!r}")
    return None
