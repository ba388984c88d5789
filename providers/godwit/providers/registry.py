"""From configured entries to providers: the one place that knows every kind."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from godwit.domain.clock import Clock, SystemClock
from godwit.domain.errors import InvalidRequest, Problem, ProviderUnavailable
from godwit.domain.ids import ProviderName
from godwit.providers import (
    aws,
    crusoe,
    digitalocean,
    hyperstack,
    kubernetes_pods,
    lambdalabs,
    local,
    nebius,
    runpod,
    simulated,
    ssh_hosts,
    vastai,
)
from godwit.providers.kinds import Kind, Setup
from godwit.providers.layers import CallMetrics, Limited, Measured, Retrying
from godwit.providers.layers.limiting import Pacing, alone
from godwit.providers.local.provider import LocalProvider
from godwit.providers.protocol import Provider
from godwit.providers.simulated import daemon

KINDS: Mapping[str, Kind] = {
    "aws": aws.KIND,
    "coreweave": kubernetes_pods.COREWEAVE,
    "crusoe": crusoe.KIND,
    "digitalocean": digitalocean.KIND,
    "hyperstack": hyperstack.KIND,
    "kubernetes": kubernetes_pods.KUBERNETES,
    "lambda": lambdalabs.KIND,
    "local": local.KIND,
    "nebius": nebius.KIND,
    "runpod": runpod.KIND,
    "simulated": simulated.KIND,
    "ssh": ssh_hosts.KIND,
    "vastai": vastai.KIND,
}
"""Every kind of provider. To add one: its package beside these, one line here, and its rig in tests/emulators."""

NAME_CHARACTERS_MAX = 48
"""Names stand in events and settings behind a word or two, in columns of 64 characters."""

Where = tuple[str | int, ...]
Secrets = Callable[[str], Mapping[str, str]]
"""The secrets of the provider of that name."""


def build(
    config: Sequence[Mapping[str, Any]],
    home: Path,
    *,
    secrets: Secrets = lambda _name: {},
    metrics: CallMetrics | None = None,
    clock: Clock | None = None,
    pacing: Pacing = alone,
) -> dict[ProviderName, Provider]:
    """The configured providers by name, in the order of `config` (entries `{kind, name, ...options}`), in their layers.

    Raises `InvalidRequest` with the path of what is wrong, or `ProviderUnavailable` when the simulated clouds are
    wanted and do not run.
    """
    built: dict[ProviderName, Provider] = {}
    for index, entry in enumerate(config):
        path: Where = ("providers", index)
        kind, name = checked(entry, path)
        if kind.once and any(KINDS.get(str(earlier.get("kind"))) is kind for earlier in config[:index]):
            raise _wrong((*path, "kind"), f"{kind.title} can be configured only once", "", ())
        if name in built:
            raise _wrong((*path, "name"), f"two providers are called {name!r}", "", ())
        own = secrets(name) if kind.secrets else {}
        if set(kind.secrets) - set(own):
            what = f"{kind.title} needs credentials; `godwit providers add {entry['kind']}` asks for them"
            raise _wrong((*path, "kind"), what, "", ())
        setup = Setup(name, home, clock or SystemClock(), random.SystemRandom(), _options(entry), own)
        try:
            built[ProviderName(name)] = layered(kind, setup, metrics or CallMetrics(), pacing)
        except InvalidRequest as wrong:
            raise InvalidRequest(problems=[replace(p, path=(*path, *p.path)) for p in wrong.problems]) from wrong
    return built


def layered(kind: Kind, setup: Setup, metrics: CallMetrics, pacing: Pacing = alone) -> Provider:
    """One provider in its layers: each call to it measured, paced as its documentation allows, repeated where safe."""
    # Measured below the pace: our own waiting for a turn says nothing of how the provider does.
    paced = Limited(Measured(kind.build(setup), metrics), kind.rates, setup.clock, time.sleep, pacing)
    return Retrying(paced, time.sleep, setup.rng)


def checked(entry: Mapping[str, Any], path: Where) -> tuple[Kind, str]:
    """The kind and the name of a configured entry. Raises `InvalidRequest` with the path of what is wrong."""
    kind_name, name = str(entry.get("kind", "")), entry.get("name")
    if kind_name not in KINDS:
        raise _wrong((*path, "kind"), f"no provider kind is called {kind_name!r}", kind_name, tuple(KINDS))
    if not isinstance(name, str) or not 0 < len(name) <= NAME_CHARACTERS_MAX or "/" in name:
        what = f"a provider needs a name without slashes, of at most {NAME_CHARACTERS_MAX} characters"
        raise _wrong((*path, "name"), what, "", ())
    kind = KINDS[kind_name]
    accepted = ("kind", "name", *kind.options)
    for key in entry:
        if key not in accepted:
            raise _wrong((*path, key), f"no option is called {key!r} here", str(key), accepted)
    return kind, name


def _options(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key not in ("kind", "name")}


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


def _wrong(path: Where, message: str, given: str, accepted: tuple[str, ...]) -> InvalidRequest:
    near = get_close_matches(given, accepted, n=1)
    return InvalidRequest(problems=[Problem(path, message, accepted, near[0] if near else None)])
