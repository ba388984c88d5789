"""The `login:` section of config.yaml: which identity provider vouches for people, and what its groups allow here."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from godwit.domain.access import Role
from godwit.domain.errors import InvalidRequest, Problem
from godwit.domain.wire.specs import NAME_PATTERN

MAP_MAX, DOMAINS_MAX, SCOPES_MAX, CHARACTERS_MAX = 500, 100, 20, 512

SESSION_MAX_H = 24.0
"""A session ends within a day, so that what the provider says of somebody is asked for once a day at least."""

LEEWAY_S = 60.0
"""By how much the provider's clock may be off: OpenID Connect Core 1.0, section 3.1.3.7, asks for a small one."""

_KEYS = (
    "name", "issuer", "client_id", "client_secret_env", "client_secret_file", "scopes", "person", "groups", "map",
    "default_role", "domains", "trust_email", "session_h",
)  # fmt: skip
_LINE_KEYS = ("group", "role", "project")
_DOMAIN = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")
_LOOPBACK = ("127.0.0.1", "localhost")


@dataclass(frozen=True)
class Line:
    """A line of the map: who is in `group` has this role, bound to `project` if it names one."""

    group: str
    role: Role
    project: str | None = None


@dataclass(frozen=True)
class LoginSettings:
    """How people log in. `name` stands on the button. `person` and `groups` name claims of the provider.

    Of `map` the first line that fits counts; who fits none has `default_role`, and is refused where that is None. With
    `domains`, the address must be of one and verified; `trust_email` believes a provider that does not say whether.
    """

    name: str
    issuer: str
    client_id: str
    client_secret: str = field(default="", repr=False)
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    person: str = "email"
    groups: str = "groups"
    map: tuple[Line, ...] = ()
    default_role: Role | None = None
    domains: tuple[str, ...] = ()
    trust_email: bool = False
    session_s: float = 12 * 3600.0
    leeway_s: float = LEEWAY_S


def read(section: object, env: Mapping[str, str], path: Path) -> LoginSettings | None:
    """The settings; None without the section. Raises `InvalidRequest` with every problem, and no secret."""
    if section is None:
        return None
    if not isinstance(section, Mapping):
        raise InvalidRequest(
            f"{path}: login must hold keys and values, such as {{issuer: https://..., client_id: ...}}"
        )
    problems = [*_unknown(("login",), section, _KEYS), *_wrong_texts(section), *_wrong_rest(section)]
    problems += [problem for index, line in enumerate(_lines(section)) for problem in _wrong_line(index, line)]
    secret = ""
    try:
        secret = _secret(section, env)
    except ValueError as exc:
        problems.append(Problem(("login", "client_secret"), str(exc)))
    if problems:
        told = "; ".join(f"{'.'.join(map(str, problem.path))} {problem.message}" for problem in problems)
        raise InvalidRequest(f"{path}: {told}", problems)
    return _settings(section, secret)


def _settings(section: Mapping[str, Any], secret: str) -> LoginSettings:
    least = section.get("default_role")
    scopes = tuple(section.get("scopes") or LoginSettings.scopes)
    return LoginSettings(
        name=section.get("name") or urlsplit(section["issuer"]).hostname or "the provider",
        issuer=section["issuer"],
        client_id=section["client_id"],
        client_secret=secret,
        scopes=scopes if "openid" in scopes else ("openid", *scopes),
        person=section.get("person", LoginSettings.person),
        groups=section.get("groups", LoginSettings.groups),
        map=tuple(Line(one["group"], Role(one["role"]), one.get("project")) for one in _lines(section)),
        default_role=None if least in (None, "none") else Role(least),
        domains=tuple(one.lower() for one in section.get("domains") or ()),
        trust_email=bool(section.get("trust_email", False)),
        session_s=float(section.get("session_h", 12.0)) * 3600.0,
    )


def _lines(section: Mapping[str, Any]) -> list[Any]:
    lines = section.get("map") or []
    return lines if isinstance(lines, list) else []


def _secret(section: Mapping[str, Any], env: Mapping[str, str]) -> str:
    """The client's secret, from the environment or a file; empty for a client without one. Raises `ValueError`."""
    named, file = section.get("client_secret_env"), section.get("client_secret_file")
    if named is not None and file is not None:
        raise ValueError("is named twice: leave client_secret_env or client_secret_file out")
    if named is not None:
        text = env.get(str(named), "")
        where = f"the environment variable {named}"
    elif file is not None:
        where = f"the file {file}"
        try:
            text = Path(str(file)).read_text().strip()
        except (OSError, UnicodeDecodeError) as exc:
            raise ValueError(f"is said to lie in {where}, which cannot be read: {type(exc).__name__}") from exc
    else:
        return ""
    if not re.fullmatch(r"[!-~]{1,512}", text):
        raise ValueError(f"is said to lie in {where}, which is not set, or holds blanks or more than one line")
    return text


def _unknown(at: tuple[str | int, ...], given: Mapping[str, Any], known: tuple[str, ...]) -> Iterator[Problem]:
    for key in given:
        if key not in known:
            near = next(iter(get_close_matches(str(key), known, n=1)), None)
            what = "is not known" + (f"; did you mean {near}?" if near else f"; known are {', '.join(known)}")
            if key == "client_secret":
                what = "does not stand here: name where it lies with client_secret_env or client_secret_file"
            yield Problem((*at, str(key)), what, known, near)


def _wrong_texts(section: Mapping[str, Any]) -> Iterator[Problem]:
    for key in ("issuer", "client_id"):
        if not section.get(key):
            yield Problem(("login", key), "is missing")
    for key in ("name", "issuer", "client_id", "person", "groups"):
        value = section.get(key, "x")
        if not isinstance(value, str) or not value.strip() or len(value) > CHARACTERS_MAX or not value.isprintable():
            yield Problem(("login", key), f"must be a text of at most {CHARACTERS_MAX} characters")
    issuer = section.get("issuer")
    if isinstance(issuer, str) and issuer and not is_address(issuer):
        what = "must be https://host[/path] as the provider itself writes it; http:// only on this machine"
        yield Problem(("login", "issuer"), what)


def is_address(text: str) -> bool:
    """Whether a URL may be asked: HTTPS, or plain HTTP to this machine; without user, query and fragment."""
    try:
        parts = urlsplit(text)
        is_fine = bool(parts.hostname) and parts.port != 0 and not re.search(r"[\s\\]", text)
    except ValueError:
        return False
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    return is_fine and is_safe and not (parts.username or parts.password or parts.query or parts.fragment)


def _wrong_rest(section: Mapping[str, Any]) -> Iterator[Problem]:
    scopes, domains, hours = section.get("scopes"), section.get("domains"), section.get("session_h", 12.0)
    if scopes is not None and not _is_list(scopes, SCOPES_MAX, re.compile(r"[!#-\[\]-~]{1,128}")):
        yield Problem(("login", "scopes"), "must be a list such as [openid, profile, email, groups]")
    if domains is not None and not _is_list(domains, DOMAINS_MAX, _DOMAIN):
        yield Problem(("login", "domains"), "must be a list of domains such as [example.com]")
    if not isinstance(section.get("map") or [], list) or len(_lines(section)) > MAP_MAX:
        what = f"must be a list of at most {MAP_MAX} lines such as {{group: ml-team, role: member, project: vision}}"
        yield Problem(("login", "map"), what)
    if section.get("default_role", "none") not in ("none", *Role):
        yield Problem(("login", "default_role"), f"must be none, {', '.join(Role)}", ("none", *Role))
    if not isinstance(section.get("trust_email", False), bool):
        yield Problem(("login", "trust_email"), "must be true or false")
    if isinstance(hours, bool) or not isinstance(hours, int | float) or not 0 < hours <= SESSION_MAX_H:
        yield Problem(("login", "session_h"), f"must be a number of hours, more than 0 and at most {SESSION_MAX_H:g}")
    if not _lines(section) and section.get("default_role", "none") == "none":
        what = "is empty, and so is default_role: nobody could log in. Name a group, or a default_role"
        yield Problem(("login", "map"), what)


def _is_list(value: object, most: int, pattern: re.Pattern[str]) -> bool:
    if not isinstance(value, list) or not 0 < len(value) <= most:
        return False
    return all(isinstance(one, str) and pattern.fullmatch(one) for one in value)


def _wrong_line(index: int, line: object) -> Iterator[Problem]:
    at = ("login", "map", index)
    if not isinstance(line, Mapping):
        yield Problem(at, "must hold keys and values, such as {group: ml-team, role: member}")
        return
    yield from _unknown(at, line, _LINE_KEYS)
    group, project = line.get("group"), line.get("project")
    if not isinstance(group, str) or not group or len(group) > CHARACTERS_MAX:
        yield Problem((*at, "group"), "must be the name of a group, as the provider writes it")
    if line.get("role") not in tuple(Role):
        yield Problem((*at, "role"), f"must be {', '.join(Role)}", tuple(Role))
    if project is not None and (not isinstance(project, str) or not re.match(NAME_PATTERN, project)):
        yield Problem((*at, "project"), "must be the name of a project")
