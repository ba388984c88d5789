"""Becoming a node, once: the name of this agent and the credential that it was given, both kept in its folder."""

import json
import random
import secrets
import time
from importlib.metadata import version
from pathlib import Path

import structlog
from godwit.agents import machine, pauses
from godwit.agents.link import Link, Unreachable
from godwit.agents.runtime.guard import write_whole
from godwit.agents.runtime.process import probe
from godwit.agents.settings import Settings
from godwit.domain.wire.agents import JoinReply

log = structlog.get_logger()

PAUSE_MAX_S = 5.0
"""The longest pause between two tries to join: a machine that is paid for waits for nothing else."""


def join(chosen: Settings, link: Link, abilities: probe.Abilities, rng: random.Random) -> JoinReply:
    """What was answered when this node joined, now or before. Blocks until there is an answer; raises `Dismissed`."""
    path = chosen.node_dir / "credential"
    if path.exists():
        return JoinReply.model_validate_json(path.read_text())
    request = machine.introduce(agent_id(chosen.node_dir), chosen, version("godwit"), abilities)
    failed = 0
    while True:  # no bound: a machine without a control plane has nothing else to do, and is ended by its provider
        try:
            reply = link.join(chosen.join_token, request)
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


def agent_id(node_dir: Path) -> str:
    """This agent's own name, kept from before its first join, so that a lost answer can be asked for again."""
    path = node_dir / "agent.json"
    if not path.exists():
        write_whole(path, json.dumps({"agent_id": f"agent-{secrets.token_hex(8)}"}))
    return str(json.loads(path.read_text())["agent_id"])


def keep(node_dir: Path, reply: JoinReply) -> None:
    """Keep what this node was answered, with its credential, where only its owner reads it."""
    path = node_dir / "credential"
    path.with_name(path.name + ".tmp").touch(mode=0o600)
    write_whole(path, reply.model_dump_json())
    path.chmod(0o600)


def forget(node_dir: Path) -> None:
    """Join anew the next time."""
    (node_dir / "credential").unlink(missing_ok=True)
