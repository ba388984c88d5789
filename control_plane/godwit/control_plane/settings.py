"""Settings of a control plane: one frozen object, read once from the home's config.yaml and the environment."""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path
from typing import Any

from godwit.control_plane import agents_tls, caring, dialling, fleet, keeping, prometheus, scheduling
from godwit.control_plane.agents_tls import AgentsTls
from godwit.control_plane.dialling import Dialling
from godwit.control_plane.executors import brokers
from godwit.control_plane.executors.brokers import Broker
from godwit.control_plane.first_config import FIRST_CONFIG
from godwit.control_plane.keeping import Keeping
from godwit.control_plane.login import section as login
from godwit.control_plane.login.section import LoginSettings
from godwit.control_plane.notifying import targets
from godwit.control_plane.notifying.targets import Target
from godwit.control_plane.rates import Limits
from godwit.control_plane.rates import read as read_limits
from godwit.control_plane.version import AGENT_PACKAGE
from godwit.domain.errors import InvalidRequest, Problem
from godwit.domain.given import secret
from godwit.domain.wire import plain_yaml
from godwit.scheduler.snapshot import Policy

DEFAULT_PORT = 7461
MAX_PORT = 65_535
URL_CHARACTERS_MAX, PACKAGE_CHARACTERS_MAX = 200, 160
"""Both stand in every startup script, of which the tightest cloud takes 4,048 characters (Vast.ai, August 2026)."""

_KEYS = (
    "port",
    "listen",
    "url",
    "agent_package",
    "database",
    "checkpoints",
    "executors",
    "providers",
    "policy",
    "agents",
    "agents_tls",
    "fleet",
    "scheduling",
    "health",
    "keeping",
    "metrics",
    "limits",
    "login",
    "prometheus",
    "notifications",
)


@dataclass(frozen=True)
class Settings:
    """What one control plane needs to know. `port` 0 means the default one or any free one.

    `listen` is the address it listens on. `replica` tells control planes apart that share a home and a database.

    `url` is where nodes reach it, empty for its own loopback address. `agent_package` is what pip is told to install
    on a machine without the agent. `open_metrics`: /metrics wants no token.
    `targets` are told of what happens. `prometheus` are the addresses that services may be scaled by queries to.
    `broker` is how workers are told of intents; None: there are none.
    `peer_url` is where other control planes on its database reach it, empty for what it finds out itself.
    `login` is how people log in, None for tokens only. `agents_tls`: agents have a listener of their own. `keeping`:
    what lies on this disk, and for how long.
    """

    home: Path
    port: int = 0
    listen: str = "127.0.0.1"
    replica: str = ""
    url: str = ""
    agent_package: str = AGENT_PACKAGE
    database_url: str = ""
    store_url: str = ""
    providers: tuple[Mapping[str, Any], ...] = ()
    policy: Policy = field(default_factory=Policy)
    agents: Dialling = field(default_factory=Dialling)
    open_metrics: bool = False
    limits: Limits = field(default_factory=Limits)
    targets: tuple[Target, ...] = ()
    prometheus: tuple[str, ...] = ()
    broker: Broker | None = None
    peer_url: str = ""
    login: LoginSettings | None = None
    agents_tls: AgentsTls | None = None
    keeping: Keeping = field(default_factory=Keeping)

    @property
    def simulated(self) -> bool:
        """Whether any provider is a simulated cloud."""
        return any(entry.get("kind") == "simulated" for entry in self.providers)


def read(home: Path) -> Settings:
    """Read `home`/config.yaml, written with its defaults at the first call. Raises `InvalidRequest`."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = home / "config.yaml"
    if not path.exists():
        path.write_text(FIRST_CONFIG)
    try:
        config = plain_yaml.load(path.read_bytes())
    except plain_yaml.NotPlain as exc:
        raise InvalidRequest(f"{path} is not valid YAML: {exc}") from exc
    config = {} if config is None else config
    if not isinstance(config, dict):
        raise InvalidRequest(f"{path} must hold keys and values")
    _refuse_unknown(config, _KEYS, path)
    providers = [] if config.get("providers") is None else config["providers"]
    if not isinstance(providers, list) or not all(isinstance(entry, dict) for entry in providers):
        raise InvalidRequest(f"{path}: providers must be a list of {{kind: ..., name: ...}}")
    times = {} if config.get("policy") is None else config["policy"]
    agents = dialling.read(config.get("agents"), path)
    policy = dialling.timed(_policy(times, path), agents, times, path)
    policy = fleet.bounded(policy, config.get("fleet"), path, is_idle_given="idle_after_s" in times)
    policy = scheduling.ordered(policy, config.get("scheduling"), path)
    policy = caring.cared_for(policy, config.get("health"), path)
    listen = _listen(os.environ.get("GODWIT_LISTEN") or config.get("listen"), path)
    agents_port = _whole(os.environ.get("GODWIT_AGENTS_PORT") or None)
    return Settings(
        home=home,
        listen=listen,
        agents_tls=agents_tls.read(config.get("agents_tls"), agents_port, listen, path),
        replica=_replica(os.environ.get("GODWIT_REPLICA", "")),
        port=_port(_whole(os.environ.get("GODWIT_PORT")) or config.get("port") or 0, path),
        url=_url(config.get("url"), path),
        agent_package=_agent_package(config.get("agent_package"), path),
        database_url=secret(os.environ, "GODWIT_DATABASE_URL", lambda file: Path(file).read_text())
        or str(config.get("database") or f"sqlite:///{home.absolute()}/godwit.db"),
        store_url=str(config.get("checkpoints") or f"file://{home.absolute()}/checkpoints"),
        providers=tuple(providers),
        policy=policy,
        agents=agents,
        open_metrics=_open_metrics(config.get("metrics"), path),
        limits=read_limits(config.get("limits"), path),
        keeping=keeping.read(config.get("keeping"), path),
        login=login.read(config.get("login"), os.environ, path),
        prometheus=prometheus.allowed(config.get("prometheus"), path),
        targets=targets.read(config.get("notifications"), os.environ, path),
        peer_url=_url(os.environ.get("GODWIT_PEER_URL") or None, path),
        broker=brokers.read(config.get("executors"), os.environ, path),
    )


def _open_metrics(section: object, path: Path) -> bool:
    values = {} if section is None else section
    if not isinstance(values, Mapping) or not isinstance(values.get("open", False), bool):
        raise InvalidRequest(f"{path}: metrics must be {{open: true}} or {{open: false}}, not {section!r}")
    _refuse_unknown(values, ("open",), path)
    return bool(values.get("open", False))


def _listen(value: object, path: Path) -> str:
    if value is None:
        return "127.0.0.1"
    try:
        return str(IPv4Address(str(value)))
    except AddressValueError as exc:
        raise InvalidRequest(f"{path}: listen must be an IPv4 address such as 0.0.0.0, not {value!r}") from exc


def _replica(name: str) -> str:
    if name and not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", name):
        raise InvalidRequest(f"GODWIT_REPLICA is {name!r}; it takes up to 63 small letters, digits and hyphens")
    return name


def _whole(text: str | None) -> object:
    return int(text) if text and text.isdecimal() else text


def _url(value: object, path: Path) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or not re.match(r"^https?://[^\s/]+$", value):
        raise InvalidRequest(f"{path}: url must be http(s)://host[:port], not {value!r}")
    if len(value) > URL_CHARACTERS_MAX:
        raise InvalidRequest(f"{path}: url must have {URL_CHARACTERS_MAX} characters at most, not {len(value)}")
    return value


def _agent_package(value: object, path: Path) -> str:
    if value is None:
        return AGENT_PACKAGE
    if not isinstance(value, str) or not re.fullmatch(r"[!-,.-~][ -~]*", value):
        raise InvalidRequest(f"{path}: agent_package must be one line that `pip install` takes, not {value!r}")
    if len(value) > PACKAGE_CHARACTERS_MAX:
        what = f"agent_package must have {PACKAGE_CHARACTERS_MAX} characters at most, not {len(value)}"
        raise InvalidRequest(f"{path}: {what}")
    if re.search(r"://[^/]*@", value):
        what = "agent_package must hold no credentials: clouds keep and show the startup scripts that it stands in"
        raise InvalidRequest(f"{path}: {what}; set up pip in your image instead")
    return value


def _policy(values: object, path: Path) -> Policy:
    names = tuple(f.name for f in fields(Policy) if f.type is float)
    if not isinstance(values, Mapping):
        raise InvalidRequest(f"{path}: policy must hold keys and seconds, such as {{idle_after_s: 300}}")
    _refuse_unknown(values, names, path)
    return Policy(**{key: _number(value, path, f"policy.{key}", float) for key, value in values.items()})


def _number(value: object, path: Path, key: str, kind: type[Any]) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise InvalidRequest(f"{path}: {key} must be a number that is not negative, not {value!r}")
    return kind(value)


def _port(value: object, path: Path) -> int:
    port: int = _number(value, path, "port", int)
    if port != value or port > MAX_PORT:
        raise InvalidRequest(f"{path}: port must be a whole number from 0 to {MAX_PORT}, not {value!r}")
    return port


def _refuse_unknown(values: Mapping[str, Any], accepted: tuple[str, ...], path: Path) -> None:
    for key in values:
        if key not in accepted:
            near = get_close_matches(str(key), accepted, n=1)
            message = f"{path}: unknown key {key!r}" + (f"; did you mean {near[0]}?" if near else "")
            raise InvalidRequest(message, [Problem((str(key),), message, accepted, near[0] if near else None)])
