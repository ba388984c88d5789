"""From config.yaml's `providers` to providers: the one place that knows every kind."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from godwit.domain.clock import SystemClock
from godwit.domain.errors import InvalidRequest, Problem, ProviderUnavailable
from godwit.domain.ids import ProviderName
from godwit.providers.local.provider import LocalProvider
from godwit.providers.protocol import Provider
from godwit.providers.simulated import catalogue, daemon
from godwit.providers.simulated.client import SimulatedProvider
from godwit.providers.simulated.host import api_key

MAX_TIMEOUT_S = 600.0

Where = tuple[str | int, ...]
Factory = Callable[[Mapping[str, Any], Path, Where], Provider]


def _local(entry: Mapping[str, Any], home: Path, path: Where) -> Provider:
    _refuse_unknown(entry, (), path)
    return LocalProvider(str(entry["name"]), home / "local", SystemClock(), random.SystemRandom())


def _simulated(entry: Mapping[str, Any], home: Path, path: Where) -> Provider:
    """A built-in simulated cloud; `timeout_s` (default 10) bounds each call."""
    _refuse_unknown(entry, ("timeout_s",), path)
    name = str(entry["name"])
    if name not in catalogue.BUILT_IN:
        raise _wrong((*path, "name"), f"no simulated cloud is called {name!r}", name, tuple(catalogue.BUILT_IN))
    url = daemon.url_of(home)
    if url is None:
        raise ProviderUnavailable(f"{name}: the simulated clouds do not run; start them with registry.start_simulated")
    key = api_key(daemon.state_dir_of(home))
    return SimulatedProvider(name, f"{url}/clouds/{name}", key, _seconds(entry, "timeout_s", 10.0, path))


KINDS: Mapping[str, Factory] = {"local": _local, "simulated": _simulated}
"""Every kind of provider. To add one: its package beside these, one line here, and its fixture in tests/contract."""


def build(config: Sequence[Mapping[str, Any]], home: Path) -> dict[ProviderName, Provider]:
    """The configured providers by name, in the order of `config` (entries `{kind, name, ...options}`).

    Raises `InvalidRequest` with the path of what is wrong, or `ProviderUnavailable` when the simulated clouds are
    wanted and do not run.
    """
    built: dict[ProviderName, Provider] = {}
    for index, entry in enumerate(config):
        path: Where = ("providers", index)
        kind, name = str(entry.get("kind", "")), entry.get("name")
        if kind not in KINDS:
            raise _wrong((*path, "kind"), f"no provider kind is called {kind!r}", kind, tuple(KINDS))
        if not isinstance(name, str) or not name or "/" in name:
            raise _wrong((*path, "name"), "a provider needs a name without slashes", "", ())
        if kind == "local" and any(earlier.get("kind") == kind for earlier in config[:index]):
            raise _wrong((*path, "kind"), "this machine can be configured only once", "", ())
        if name in built:
            raise _wrong((*path, "name"), f"two providers are called {name!r}", "", ())
        built[ProviderName(name)] = KINDS[kind](entry, home, path)
    return built


def start_simulated(home: Path) -> str:
    """Start the process of the simulated clouds, detached, unless it runs; returns its address once it answers.

    Blocks up to 30 s. Raises `ProviderUnavailable` with its last words when it does not come up.
    """
    return daemon.start(home)


def stop_simulated(home: Path) -> None:
    """End every simulated machine of this home and the process that hosts them; no process and no folder is left.

    Blocks until done (seconds). Idempotent, also after the process was killed. Raises `ProviderUnavailable`.
    """
    daemon.stop(home)


def stop_local(home: Path, timeout_s: float = 20.0) -> None:
    """End the node on this machine, whether or not a control plane runs. Idempotent; raises `ProviderUnavailable`."""
    state_dir = home / "local"
    if not state_dir.exists():
        return
    provider = LocalProvider("local", state_dir, SystemClock(), random.SystemRandom())
    provider.end_all()
    deadline = time.monotonic() + timeout_s
    while provider.busy():
        if time.monotonic() > deadline:
            raise ProviderUnavailable(f"the node on this machine did not end within {timeout_s:g} s; see {state_dir}")
        time.sleep(0.05)
    provider.instances()  # writes down how they ended


def _refuse_unknown(entry: Mapping[str, Any], options: tuple[str, ...], path: Where) -> None:
    accepted = ("kind", "name", *options)
    for key in entry:
        if key not in accepted:
            raise _wrong((*path, key), f"no option is called {key!r} here", key, accepted)


def _seconds(entry: Mapping[str, Any], key: str, default: float, path: Where) -> float:
    value = entry.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_TIMEOUT_S:
        raise _wrong((*path, key), f"{key} is {value!r}, not a number of seconds", "", (f"0.1 to {MAX_TIMEOUT_S:g}",))
    return float(value)


def _wrong(path: Where, message: str, given: str, accepted: tuple[str, ...]) -> InvalidRequest:
    near = get_close_matches(given, accepted, n=1)
    return InvalidRequest(problems=[Problem(path, message, accepted, near[0] if near else None)])
