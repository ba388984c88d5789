"""A job specification as people give it: a YAML file or a command, checked before anything leaves this machine."""

import re
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from godwit.cli import wording, yaml_source
from godwit.cli.exits import ExitCode, Failure
from godwit.domain.errors import InvalidRequest, Problem
from godwit.domain.wire.pages import FieldProblem
from godwit.domain.wire.specs import JobSpecIn
from pydantic import ValidationError

ACCEPTED_SHOWN_MAX = 12
"""So many accepted values fit in a message; the GPU models are more."""

PROBLEMS_SHOWN_MAX = 5

Options = Mapping[tuple[str, ...], tuple[str, Any]]
"""What was given on the command line: path of keys -> (option, value)."""


@dataclass(frozen=True)
class Given:
    """A specification with its origin, so that each complaint can name the line or the option it comes from."""

    spec: JobSpecIn
    workdir: Path | None
    source: yaml_source.Source | None
    options: Options

    def failure(self, problems: Sequence[Problem | FieldProblem], otherwise: str) -> Failure:
        """One message for all `problems` of this specification; `otherwise` when there are none to name."""
        return _failure(self.source, self.options, problems, otherwise)


def from_file(path: Path, options: Options) -> Given:
    """Read and check `path`, overridden by `options`; raises `Failure` (usage) with lines and near matches."""
    source = yaml_source.read(path, str(path))
    return _given(source, _overridden(source.data, options), options, path.parent)


def from_command(command: Sequence[str], options: Options) -> Given:
    """A specification around a command line; a single word with spaces is taken as a line of shell."""
    run = command[0] if len(command) == 1 else shlex.join(command)
    data = {"name": name_for(command), "run": run}
    return _given(None, _overridden(data, options), options, Path.cwd())


def from_data(data: Mapping[str, Any], options: Options) -> Given:
    """A specification that a command puts together, overridden by `options`; raises `Failure` (usage)."""
    return _given(None, _overridden(dict(data), options), options, Path.cwd())


def name_for(command: Sequence[str]) -> str:
    """A name for a job that was given none: its program without interpreter and suffix, also in a line of shell."""
    words = [word for part in command for word in part.split()]
    interpreters = ("python", "python3", "sh", "bash", "env", "exec")
    chosen = next((word for word in words if not word.startswith("-") and Path(word).name not in interpreters), "job")
    slug = re.sub(r"[^a-z0-9]+", "-", Path(chosen).stem.lower()).strip("-")[:40].strip("-")
    return slug or "job"


def _given(source: yaml_source.Source | None, data: dict[str, Any], options: Options, base: Path) -> Given:
    workdir = data.pop("workdir", None)
    for key in ("hang_after", "idle_after"):
        if data.get(key) is False:
            data[key] = "off"  # YAML 1.1 reads a bare `off` as false
    if workdir is not None and not isinstance(workdir, str):
        problem = Problem(("workdir",), f"must be a folder, not {workdir!r}", (".", "../project"))
        raise _failure(source, options, [problem], "")
    try:
        if "workdir_digest" in data:
            message = "is set by godwit itself; name the folder with workdir"
            raise InvalidRequest(problems=[Problem(("workdir_digest",), message, did_you_mean="workdir")])
        spec = JobSpecIn.model_validate(data)
        spec.to_domain(time.time())
    except ValidationError as exc:
        raise _failure(source, options, wording.problems_of(exc, data), "") from exc
    except InvalidRequest as exc:
        raise _failure(source, options, exc.problems, exc.message) from exc
    base = Path.cwd() if ("workdir",) in options else base
    try:
        folder = None if workdir is None else base / Path(workdir).expanduser()
    except RuntimeError as exc:  # ~somebody, who is not there
        problem = Problem(("workdir",), f"nobody's home is {workdir!r} on this machine; write the path out")
        raise _failure(source, options, [problem], "") from exc
    return Given(spec, folder, source, options)


def _overridden(data: dict[str, Any], options: Options) -> dict[str, Any]:
    merged = dict(data)
    for path, (_option, value) in options.items():
        inner = merged
        for key in path[:-1]:
            below = inner.get(key)
            inner[key] = dict(below) if isinstance(below, dict) else {}
            inner = inner[key]
        inner[path[-1]] = value
    return merged


def _failure(
    source: yaml_source.Source | None, options: Options, problems: Sequence[Problem | FieldProblem], otherwise: str
) -> Failure:
    if not problems:
        label = f"{source.label}: " if source else ""
        return Failure(f"{label}{otherwise}", ExitCode.USAGE)
    if source is not None:
        problems = sorted(problems, key=lambda problem: source.line_of(tuple(problem.path)) or 0)
    blocks = [_block(source, options, problem) for problem in problems[:PROBLEMS_SHOWN_MAX]]
    if len(problems) > PROBLEMS_SHOWN_MAX:
        blocks.append(f"... and {len(problems) - PROBLEMS_SHOWN_MAX} more")
    return Failure("\n".join(blocks), ExitCode.USAGE)


def _block(source: yaml_source.Source | None, options: Options, problem: Problem | FieldProblem) -> str:
    path = tuple(part for part in problem.path if part != "body")
    dotted = ".".join(str(part) for part in path)
    option = next((name for at, (name, _value) in options.items() if path[: len(at)] == at), None)
    line = source.line_of(path) if source and option is None else None
    if option is not None:
        where = option
    elif source is not None:
        where = f"{source.label}:{line or 1}" + (f": {dotted}" if dotted else "")
    else:
        where = dotted or "the job"
    meant = f"; did you mean {problem.did_you_mean}?" if problem.did_you_mean else ""
    excerpt = f"\n{source.excerpt(line)}" if source and line else ""
    return f"{where}: {problem.message}{meant}{_accepted(problem.accepted)}{excerpt}"


def _accepted(values: Sequence[str]) -> str:
    if not values:
        return ""
    shown = ", ".join(values[:ACCEPTED_SHOWN_MAX])
    more = f", and {len(values) - ACCEPTED_SHOWN_MAX} more" if len(values) > ACCEPTED_SHOWN_MAX else ""
    return f" (accepted: {shown}{more})"
