"""The `executors:` section of config.yaml: over which broker workers are told of intents. Without it there are none."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from godwit.domain.errors import GodwitError, InvalidRequest, Problem
from godwit.domain.given import secret
from godwit.domain.ids import IntentId

SCHEMES = ("redis", "rediss", "amqp", "amqps")
URL_CHARACTERS_MAX = 2_048

_KEYS = ("broker", "broker_env")
_EXAMPLE = "{broker: redis://127.0.0.1:6379/0} or {broker_env: BROKER_URL}"


@dataclass(frozen=True)
class Broker:
    """A Redis or a RabbitMQ. Its URL may hold a password, and is shown nowhere."""

    url: str = field(repr=False)

    @property
    def shown(self) -> str:
        """What of the URL may be shown."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")


class BrokerAway(GodwitError):
    """The broker does not answer; what is owed stays owed, and is sent once it does."""


class Courier(Protocol):
    """Carries messages to workers. Raises `BrokerAway`, within seconds."""

    @property
    def where(self) -> str:
        """The broker, as it may be shown."""
        ...

    def waiting(self) -> int:
        """How many messages no worker has taken yet."""
        ...

    def send(self, intent_id: IntentId) -> None:
        """Tell some worker that this intent is due."""
        ...


def read(section: object, env: Mapping[str, str], path: Path) -> Broker | None:
    """The broker that `section` names, or GODWIT_BROKER_URL (or _FILE); None: executors run in the control plane.

    Raises `InvalidRequest` with what is wrong, and never with the URL.
    """
    given = secret(env, "GODWIT_BROKER_URL", lambda file: Path(file).read_text())
    if given:
        return _broker(given, ("GODWIT_BROKER_URL",), path)
    if section is None:
        return None
    if not isinstance(section, Mapping):
        raise _wrong(path, (), f"must be {_EXAMPLE}")
    for key in section:
        if key not in _KEYS:
            raise _wrong(path, (str(key),), f"is not known; known are {', '.join(_KEYS)}", _KEYS)
    named, url = section.get("broker_env"), section.get("broker")
    if (named is None) == (url is None):
        raise _wrong(path, (), f"must be {_EXAMPLE}")
    if named is not None and not env.get(str(named)):
        raise _wrong(path, ("broker_env",), f"names the environment variable {named}, which is not set")
    where = "broker" if named is None else "broker_env"
    return _broker(url if named is None else env[str(named)], (where,), path)


def _broker(url: object, where: tuple[str, ...], path: Path) -> Broker:
    # What is wrong with it is told without it: it may hold a password.
    try:
        parts = urlsplit(str(url))
        is_fine = parts.scheme in SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_fine = False
    if not isinstance(url, str) or not is_fine or len(url) > URL_CHARACTERS_MAX or re.search(r"[^!-~]", url):
        raise _wrong(path, where, f"must be an address that begins with {', '.join(f'{s}://' for s in SCHEMES)}")
    return Broker(url)


def _wrong(path: Path, where: tuple[str, ...], what: str, accepted: tuple[str, ...] = ()) -> InvalidRequest:
    problem = Problem(("executors", *where), what, accepted)
    return InvalidRequest(f"{path}: {'.'.join(problem.path)} {what}", [problem])  # type: ignore[arg-type]
