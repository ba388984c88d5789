"""Becoming a node, once: the name of this agent, and what it presents since, both kept in its folder.

Where the control plane has a listener of its own for agents, it first proves that it knows the join token; then the
token is shown there, with a request for a certificate.
"""

import json
import random
import secrets
import ssl
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import structlog
from godwit.agents import machine, pauses
from godwit.agents.link import Link, Unreachable
from godwit.agents.runtime.guard import write_whole
from godwit.agents.runtime.process import probe
from godwit.agents.settings import Settings
from godwit.domain.errors import GodwitError
from godwit.domain.wire.agents import JoinReply, JoinRequest
from godwit.domain.wire.certificates import Authorities

log = structlog.get_logger()

PAUSE_MAX_S = 5.0
"""The longest pause between two tries to join: a machine that is paid for waits for nothing else."""


class Joined(JoinReply):
    """What was answered, where agents reach the control plane, and the key of our certificate, if we have one."""

    url: str = ""
    key: str = ""


def join(chosen: Settings, link: Link, abilities: probe.Abilities, rng: random.Random, confinement: str = "") -> Joined:
    """What was answered when this node joined, now or before. Blocks until there is an answer; raises `Dismissed`."""
    path = chosen.node_dir / "credential"
    if path.exists():
        return Joined.model_validate_json(path.read_text())
    request = machine.introduce(agent_id(chosen.node_dir), chosen, version("godwit"), abilities, confinement)
    failed = 0
    while True:  # no bound: a machine without a control plane has nothing else to do, and is ended by its provider
        try:
            reply = _by_tls(chosen, link, request) if chosen.tls else _plainly(chosen, link, request)
            break
        except Unreachable as exc:
            failed += 1
            pause_s = pauses.again_s(failed, PAUSE_MAX_S, rng, exc.after_s)
            log.warning("cannot join yet", reason=exc.message, next_try_s=round(pause_s, 1))
            time.sleep(pause_s)
    machine.remember_devices(chosen.node_dir, request.gpus)
    keep(chosen.node_dir, reply)
    log.info("joined", node_id=reply.node_id)
    return reply


def _plainly(chosen: Settings, link: Link, request: JoinRequest) -> Joined:
    return Joined(**link.join(chosen.join_token, request).model_dump(exclude_none=True))


def _by_tls(chosen: Settings, link: Link, request: JoinRequest) -> Joined:
    try:
        from godwit.agents import certificates  # noqa: PLC0415 - most nodes need none
    except ImportError as exc:
        raise GodwitError(
            "the control plane wants certificates of agents, and this Python has no `cryptography` to make a key; "
            "install godwit[agent] anew, or set GODWIT_PYTHON to one that has it"
        ) from exc
    found = _authorities(chosen, lambda: certificates.discovered(link, chosen.join_token))
    key, csr = certificates.new_key()
    secure = Link(found.url, tls=certificates.tls(found.certificates, chosen.node_dir))
    reply = secure.join(chosen.join_token, request.model_copy(update={"csr": csr}))
    if reply.certificate is None or not reply.authorities:
        raise Unreachable("the control plane gave no certificate, though its listener for agents took the join")
    write_whole(chosen.node_dir / "authorities", found.model_dump_json())
    return Joined(**reply.model_dump(), url=found.url, key=key)


def _authorities(chosen: Settings, discover: Callable[[], Authorities]) -> Authorities:
    """Whom to believe: as is proved now, or as was proved before, to a control plane that forgot this machine since."""
    path = chosen.node_dir / "authorities"
    try:
        return discover()
    except Unreachable:
        if not path.exists():
            raise
        return Authorities.model_validate_json(path.read_text())


def tls_of(joined: Joined, node_dir: Path) -> ssl.SSLContext | None:
    """TLS that shows this node's certificate; None for a node that joined without one."""
    if not joined.key:
        return None
    from godwit.agents import certificates  # noqa: PLC0415 - most nodes need none

    return certificates.tls(joined.authorities or [], node_dir, joined.certificate, joined.key)


def agent_id(node_dir: Path) -> str:
    """This agent's own name, kept from before its first join, so that a lost answer can be asked for again."""
    path = node_dir / "agent.json"
    if not path.exists():
        write_whole(path, json.dumps({"agent_id": f"agent-{secrets.token_hex(8)}"}))
    return str(json.loads(path.read_text())["agent_id"])


def keep(node_dir: Path, reply: Joined) -> None:
    """Keep what this node was answered, with its credential and key, where only its owner reads it."""
    path = node_dir / "credential"
    path.with_name(path.name + ".tmp").touch(mode=0o600)
    write_whole(path, reply.model_dump_json())
    path.chmod(0o600)


def forget(node_dir: Path) -> None:
    """Join anew the next time."""
    (node_dir / "credential").unlink(missing_ok=True)
