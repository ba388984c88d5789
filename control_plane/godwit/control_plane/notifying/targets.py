"""The `notifications:` section of config.yaml: who is told of what."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from godwit.domain.errors import InvalidRequest, Problem

TARGETS_MAX, PROJECTS_MAX, URL_CHARACTERS_MAX, SECRET_CHARACTERS_MIN = 16, 100, 2_048, 16
"""Few enough that each is a label of a metric and a row per event; a shorter secret can be tried out."""

_KEYS = ("name", "kind", "url", "url_env", "secret", "secret_env", "topics", "projects", "allow_private")
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?")


class Topic(StrEnum):
    """What one can be told of."""

    INCIDENTS = "incidents"
    BUDGETS = "budgets"
    JOB_ENDS = "job-ends"


class Kind(StrEnum):
    """How the message is written: our own JSON, or what Slack and its likes take."""

    WEBHOOK = "webhook"
    SLACK = "slack"


@dataclass(frozen=True)
class Target:
    """A receiver. `projects` bounds job ends and budgets to these, empty: all. Its URL may be a secret in itself.

    `allow_private`: it may lie in a private network or on this machine, and speak plain HTTP.
    """

    name: str
    kind: Kind
    url: str = field(repr=False)
    secret: str = field(default="", repr=False)
    topics: frozenset[Topic] = frozenset(Topic)
    projects: tuple[str, ...] = ()
    allow_private: bool = False

    @property
    def host(self) -> str:
        """What of the URL may be shown."""
        return urlsplit(self.url).hostname or ""


def read(section: object, env: Mapping[str, str], path: Path) -> tuple[Target, ...]:
    """The targets that `section` names; None names none. Raises `InvalidRequest` with every problem, and no secret."""
    if section is None:
        return ()
    if not isinstance(section, Sequence) or isinstance(section, str) or len(section) > TARGETS_MAX:
        what = f"must be a list of at most {TARGETS_MAX} entries such as {{name: ops, kind: slack, url_env: OPS_URL}}"
        raise _wrong(path, [Problem(("notifications",), what)])
    problems = [problem for index, entry in enumerate(section) for problem in _problems(index, entry, env)]
    names = [str(entry.get("name")) for entry in section if isinstance(entry, Mapping)]
    problems += [
        Problem(("notifications", i, "name"), f"{name!r} is there twice")
        for i, name in enumerate(names)
        if name in names[:i]
    ]
    if problems:
        raise _wrong(path, problems)
    return tuple(_target(entry, env) for entry in section)


def _target(entry: Mapping[str, Any], env: Mapping[str, str]) -> Target:
    topics = entry.get("topics")
    return Target(
        name=str(entry["name"]),
        kind=Kind(entry.get("kind", Kind.WEBHOOK)),
        url=_said(entry, "url", env) or "",
        secret=_said(entry, "secret", env) or "",
        topics=frozenset(Topic) if topics is None else frozenset(map(Topic, topics)),
        projects=tuple(entry.get("projects") or ()),
        allow_private=bool(entry.get("allow_private", False)),
    )


def _said(entry: Mapping[str, Any], key: str, env: Mapping[str, str]) -> str | None:
    """A value that stands there, or in the environment variable that is named there."""
    named = entry.get(f"{key}_env")
    value = env.get(str(named)) if named is not None else entry.get(key)
    return None if value is None else str(value)


def _problems(index: int, entry: object, env: Mapping[str, str]) -> Iterator[Problem]:
    at = ("notifications", index)
    if not isinstance(entry, Mapping):
        yield Problem(at, "must hold keys and values, such as {name: ops, kind: slack, url_env: OPS_URL}")
        return
    for key in entry:
        if key not in _KEYS:
            near = next(iter(get_close_matches(str(key), _KEYS, n=1)), None)
            what = "is not known" + (f"; did you mean {near}?" if near else f"; known are {', '.join(_KEYS)}")
            yield Problem((*at, str(key)), what, _KEYS, near)
    if not isinstance(entry.get("name"), str) or not _NAME.fullmatch(entry["name"]):
        yield Problem((*at, "name"), "must be lower-case letters, digits and dashes, 64 at most")
    if entry.get("kind", Kind.WEBHOOK) not in tuple(Kind):
        yield Problem((*at, "kind"), f"must be {' or '.join(Kind)}, not {entry['kind']!r}", tuple(Kind))
    yield from _wrong_lists(at, entry)
    if not isinstance(entry.get("allow_private", False), bool):
        yield Problem((*at, "allow_private"), "must be true or false")
    yield from _wrong_url(at, entry, env)
    yield from _wrong_secret(at, entry, env)


def _wrong_lists(at: tuple[str | int, ...], entry: Mapping[str, Any]) -> Iterator[Problem]:
    topics, projects = entry.get("topics"), entry.get("projects")
    if topics is not None and (not isinstance(topics, list) or not topics or not set(map(str, topics)) <= set(Topic)):
        yield Problem((*at, "topics"), f"must be a list of {', '.join(Topic)}", tuple(Topic))
    if projects is not None and (not isinstance(projects, list) or len(projects) > PROJECTS_MAX):
        yield Problem((*at, "projects"), f"must be a list of at most {PROJECTS_MAX} projects")


def _wrong_url(at: tuple[str | int, ...], entry: Mapping[str, Any], env: Mapping[str, str]) -> Iterator[Problem]:
    named, url = entry.get("url_env"), _said(entry, "url", env)
    if not url:
        missing = f"names the environment variable {named}, which is not set" if named else "is missing"
        yield Problem((*at, "url_env" if named else "url"), missing)
        return
    schemes = ("https", "http") if entry.get("allow_private") is True else ("https",)
    # What is wrong with it is told without it: it may be a secret.
    try:
        parts = urlsplit(url)
        is_fine = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_fine = False
    if not is_fine or len(url) > URL_CHARACTERS_MAX or not url.isascii() or re.search(r"\s", url):
        extra = "" if len(schemes) == 2 else " (http:// only with allow_private: true)"
        yield Problem((*at, "url"), f"must be an {schemes[0]}:// address{extra}")
    elif parts.username or parts.password:
        yield Problem((*at, "url"), "must hold no user and no password; sign with a secret instead")


def _wrong_secret(at: tuple[str | int, ...], entry: Mapping[str, Any], env: Mapping[str, str]) -> Iterator[Problem]:
    secret, named = _said(entry, "secret", env), entry.get("secret_env")
    if named is not None and not secret:
        yield Problem((*at, "secret_env"), f"names the environment variable {named}, which is not set")
    elif secret is not None and len(secret) < SECRET_CHARACTERS_MIN:
        yield Problem((*at, "secret"), f"must have {SECRET_CHARACTERS_MIN} characters at least")


def _wrong(path: Path, problems: list[Problem]) -> InvalidRequest:
    told = "; ".join(f"{'.'.join(map(str, problem.path))} {problem.message}" for problem in problems)
    return InvalidRequest(f"{path}: {told}", problems)
