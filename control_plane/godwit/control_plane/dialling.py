"""The `agents:` section of config.yaml: how agents talk to the control plane."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from godwit.control_plane.credentials import LIFE_S
from godwit.domain.errors import InvalidRequest, Problem
from godwit.scheduler.snapshot import Policy

HEARTBEAT_MIN_S, HEARTBEAT_MAX_S = 0.2, 60.0
MISSED_HEARTBEATS, LEASED_HEARTBEATS = 4, 6
"""A node is lost after so many heartbeats that did not come, and its lease lasts as many, where `policy:` says nothing:
for heartbeats of 1 s the first is what `Policy` says."""

CREDENTIAL_MIN_S, CREDENTIAL_MAX_S = 300.0, 90 * 86_400.0

_EXAMPLE = "{heartbeat_s: 5}"


@dataclass(frozen=True)
class Dialling:
    """`heartbeat_s` is how often an agent reports; `credential_s` is how long its credential lives, renewed at half."""

    heartbeat_s: float = 1.0
    credential_s: float = LIFE_S


_BOUNDS = {
    "heartbeat_s": (HEARTBEAT_MIN_S, HEARTBEAT_MAX_S),
    "credential_s": (CREDENTIAL_MIN_S, CREDENTIAL_MAX_S),
}


def read(section: object, path: Path) -> Dialling:
    """The section's settings; None stands for none. Raises `InvalidRequest` with one problem for each wrong key."""
    if section is None:
        return Dialling()
    if not isinstance(section, Mapping):
        raise InvalidRequest(f"{path}: agents must hold keys and values, such as {_EXAMPLE}, not {section!r}")
    problems = [problem for key, value in section.items() if (problem := _problem(str(key), value)) is not None]
    if problems:
        raise InvalidRequest(f"{path}: " + "; ".join(p.message for p in problems), problems)
    return Dialling(**{str(key): float(value) for key, value in section.items()})


def timed(policy: Policy, dialling: Dialling, given: object, path: Path) -> Policy:
    """The policy with times that fit the heartbeats; what `policy:` gives (`given`) stands, if it makes sense.

    Raises `InvalidRequest` for times in which a single lost heartbeat loses a node.
    """
    said, every_s = given if isinstance(given, Mapping) else {}, dialling.heartbeat_s
    if every_s > 1.0 and "missed_after_s" not in said:
        policy = replace(policy, missed_after_s=MISSED_HEARTBEATS * every_s)
    if every_s > 1.0 and "lease_s" not in said:
        policy = replace(policy, lease_s=max(policy.lease_s, LEASED_HEARTBEATS * every_s))
    short = [name for name in ("missed_after_s", "lease_s") if getattr(policy, name) < 2 * every_s]
    if short and every_s != Dialling().heartbeat_s:
        what = f"policy.{short[0]} must be at least two heartbeats, {2 * every_s:g} s: one that gets lost is common"
        raise InvalidRequest(f"{path}: {what}", [Problem(("policy", short[0]), what)])
    return policy


def _problem(key: str, value: object) -> Problem | None:
    if key not in _BOUNDS:
        near = get_close_matches(key, _BOUNDS, n=1)
        what = f"no key is called {key!r} in agents" + (f"; did you mean {near[0]}?" if near else "")
        return Problem(("agents", key), what, tuple(_BOUNDS), near[0] if near else None)
    least, most = _BOUNDS[key]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and math.isfinite(float(str(value))) and least <= float(str(value)) <= most:
        return None
    return Problem(("agents", key), f"agents.{key} must be from {least:g} to {most:g} seconds, not {value!r}")
