"""The `agents_tls:` section of config.yaml: a listener for agents only, with TLS of the control plane's own making."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path
from urllib.parse import urlsplit

from godwit.domain.errors import InvalidRequest, Problem

DEFAULT_PORT, PORT_MAX = 7465, 65_535
NAMES_MAX, NAME_CHARACTERS_MAX, URL_CHARACTERS_MAX = 16, 253, 200

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
_EXAMPLE = "{url: 'https://godwit.example.com:7465'}"


@dataclass(frozen=True)
class AgentsTls:
    """`url` is where agents reach the listener, empty for its own loopback address; `port` 0 is the default or any.

    `names` stand in the server's certificate beside the host of `url`. `required`: agents come no other way.
    """

    url: str = ""
    listen: str = "127.0.0.1"
    port: int = 0
    names: tuple[str, ...] = ()
    required: bool = True

    def hosts(self) -> list[str]:
        """What the server's certificate is for."""
        return list(dict.fromkeys([urlsplit(self.url).hostname or "127.0.0.1", *self.names]))


def read(section: object, port: object, listen: str, path: Path) -> AgentsTls | None:
    """The section's settings, None for none; `port` wins if it is given. Raises `InvalidRequest`."""
    if section is None:
        return None
    if not isinstance(section, Mapping):
        raise InvalidRequest(f"{path}: agents_tls must hold keys and values, such as {_EXAMPLE}, not {section!r}")
    given = {"listen": listen, **section} | ({} if port is None else {"port": port})
    problems = [problem for key, value in given.items() if (problem := _problem(str(key), value)) is not None]
    if problems:
        raise InvalidRequest(f"{path}: " + "; ".join(p.message for p in problems), problems)
    return AgentsTls(
        url=str(given.get("url", "")).rstrip("/"), listen=str(given["listen"]), port=int(given.get("port", 0)),
        names=tuple(given.get("names", ())), required=bool(given.get("required", True)),
    )  # fmt: skip


def _problem(key: str, value: object) -> Problem | None:
    if key not in _RULES:
        near = get_close_matches(key, _RULES, n=1)
        what = f"no key is called {key!r} in agents_tls" + (f"; did you mean {near[0]}?" if near else "")
        return Problem(("agents_tls", key), what, tuple(_RULES), near[0] if near else None)
    is_right, what = _RULES[key]
    return None if is_right(value) else Problem(("agents_tls", key), f"agents_tls.{key} must be {what}, not {value!r}")


def _is_url(value: object) -> bool:
    if not isinstance(value, str) or not re.fullmatch(r"https://[^\s/@]+/?", value) or len(value) > URL_CHARACTERS_MAX:
        return False
    try:
        parts = urlsplit(value)
        return parts.port is not None and _is_name(parts.hostname)
    except ValueError:
        return False


def _is_name(value: object) -> bool:
    return isinstance(value, str) and len(value) <= NAME_CHARACTERS_MAX and _NAME.fullmatch(value) is not None


def _are_names(value: object) -> bool:
    return isinstance(value, list) and len(value) <= NAMES_MAX and all(map(_is_name, value))


def _is_address(value: object) -> bool:
    try:
        return bool(IPv4Address(str(value)))
    except AddressValueError:
        return False


def _is_port(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= PORT_MAX


_RULES = {
    "url": (_is_url, f"https://HOST:PORT of at most {URL_CHARACTERS_MAX} characters"),
    "listen": (_is_address, "an IPv4 address such as 0.0.0.0"),
    "port": (_is_port, f"a whole number from 0 to {PORT_MAX}"),
    "names": (_are_names, f"a list of at most {NAMES_MAX} names or addresses"),
    "required": (lambda value: isinstance(value, bool), "true or false"),
}
