"""What the machine tells its agent, read once from the environment."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from godwit.agents.confinement.keeper import Mode
from godwit.agents.notices.sigterm import WINDOW_S
from godwit.domain.errors import InvalidRequest

LOOPBACK, PORT_MAX = "127.0.0.1", 65_535


@dataclass(frozen=True)
class Settings:
    """The agent's settings.

    `node_dir` is a private folder of this node, short because sockets lie below it. `address` is the one that other
    nodes of a gang reach. `fake_gpus` is a JSON list of `{"index", "uuid", "model", "memory_gib"}`, or None: ask the
    driver. `join_token` may be empty once the node has joined. `poll_s` is how often health is looked at; None: as
    usual. `shared`: the node is a process on somebody's own machine, whose troubles are not the node's. `spot`: the
    provider may take the machine back; SIGTERM then means that it does, in `notice_s`. `warm_ray`: a Ray stands by
    while the node is idle; unless told, on real machines that are nobody's own. `metrics`: where Prometheus may read
    this agent's metrics, None: nowhere. `confine`: whether programs run as users of their own (`confinement.keeper`).
    `tls`: the control plane at `url` says where its own listener for agents is; the node joins there or not at all.
    """

    url: str
    join_token: str
    node_dir: Path
    address: str
    python: str
    fake_gpus: str | None
    poll_s: float | None = None
    shared: bool = False
    spot: bool = False
    notice_s: float = WINDOW_S
    warm_ray: bool = False
    metrics: tuple[str, int] | None = None
    tls: bool = False
    confine: Mode = "auto"

    @property
    def simulated(self) -> bool:
        """Whether this node shares its machine with others, and so must be modest."""
        return self.fake_gpus is not None


def from_env(env: Mapping[str, str]) -> Settings:
    """Read the settings; raises `InvalidRequest` naming each variable that is missing."""
    missing = [name for name in ("GODWIT_URL", "GODWIT_NODE_DIR", "GODWIT_NODE_ADDRESS") if not env.get(name)]
    if missing:
        raise InvalidRequest(f"set {', '.join(missing)}: the node's startup script and its image are to provide them")
    own = bool(env.get("GODWIT_INSTANCE_MARK")) or "GODWIT_FAKE_GPUS" in env
    return Settings(
        url=env["GODWIT_URL"].rstrip("/"),
        join_token=env.get("GODWIT_JOIN_TOKEN", ""),
        node_dir=Path(env["GODWIT_NODE_DIR"]).absolute(),
        address=env["GODWIT_NODE_ADDRESS"],
        python=env.get("GODWIT_PYTHON") or sys.executable,
        fake_gpus=env.get("GODWIT_FAKE_GPUS"),
        poll_s=_seconds(env, "GODWIT_HEALTH_POLL_S"),
        shared=bool(env.get("GODWIT_INSTANCE_MARK")) and "GODWIT_FAKE_GPUS" not in env,
        spot=env.get("GODWIT_SPOT") == "1",
        notice_s=_seconds(env, "GODWIT_NOTICE_S") or WINDOW_S,
        warm_ray=_switch(env, "GODWIT_WARM_RAY", unset=not own),
        metrics=_address(env, "GODWIT_METRICS"),
        tls=env.get("GODWIT_TLS") == "1",
        confine=_mode(env.get("GODWIT_CONFINE") or "auto"),
    )


def _mode(text: str) -> Mode:
    for mode in get_args(Mode):
        if mode == text:
            return mode  # type: ignore[no-any-return] # get_args says nothing of kinds
    raise InvalidRequest(f"GODWIT_CONFINE is {text!r}; it takes auto, require or off")


def _switch(env: Mapping[str, str], name: str, *, unset: bool) -> bool:
    text = env.get(name)
    if not text:
        return unset
    if text not in ("true", "false"):
        raise InvalidRequest(f"{name} is {text!r}; it takes true or false")
    return text == "true"


def _address(env: Mapping[str, str], name: str) -> tuple[str, int] | None:
    """`9400` is that port of loopback, `10.0.0.7:9400` another address; 0 is any free port."""
    text = env.get(name)
    if not text:
        return None
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > PORT_MAX:
        raise InvalidRequest(f"{name} is {text!r}; it takes a port of this machine, or HOST:PORT")
    return host.strip("[]") or LOOPBACK, int(port)


def _seconds(env: Mapping[str, str], name: str) -> float | None:
    text = env.get(name)
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 3_600:
        raise InvalidRequest(f"{name} is {text!r}; it takes seconds from 0.1 to 3600")
    return seconds
