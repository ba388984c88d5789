"""Which node a credential opens, and when its agent gets a new one."""

import hmac
from typing import Any

from godwit.control_plane import credentials, keyring
from godwit.control_plane.context import Context
from godwit.control_plane.credentials import Claim
from godwit.control_plane.store import queries
from godwit.control_plane.store.database import Transaction
from godwit.domain import lifecycle
from godwit.domain.errors import Gone, Unauthenticated
from godwit.domain.nodes import Node
from godwit.domain.wire import agents as wire
from sqlalchemy import Row

NO_HASH = ""
"""Stands where an agent's credential had its hash before credentials expired: no digest is equal to it."""


def authenticate(context: Context, tx: Transaction, credential: str) -> tuple[Node, Row[Any]]:
    """The node that a credential opens. Raises `Unauthenticated`, or `Gone` once the node has ended."""
    agent = queries.agent(tx.conn, credential.partition(".")[0])
    if agent is None or not opens(context, agent, credential):
        raise Unauthenticated("this node credential is not valid; the machine must be launched anew")
    node = queries.node(tx.conn, agent.node_id)
    if lifecycle.is_final(node.state):
        raise Gone(f"node {node.id} is {node.state}")
    return node, agent


def opens(context: Context, agent: Row[Any], credential: str) -> bool:
    """Whether a credential is that of this agent. Raises `Unauthenticated` for one that is over, or not ours."""
    if credentials.is_derived(credential):
        claim = credentials.read(context.keyring, credential, context.now())
        return (claim.node_id, claim.agent_id) == (agent.node_id, agent.agent_id)
    return hmac.compare_digest(str(agent.credential_hash), keyring.digest(credential))


def renewal(
    context: Context, agent: Row[Any], credential: str, request: wire.HeartbeatRequest, now: float
) -> str | None:
    """A new credential for an agent that takes one, when half of the old one's life is gone or it never ends.

    Raises `Unauthenticated` for another agent's heartbeat.
    """
    if request.agent_id != agent.agent_id:
        raise Unauthenticated("this node credential belongs to another agent; the machine must be launched anew")
    if not request.renews:
        return None
    if credentials.is_derived(credential):
        claim = credentials.read(context.keyring, credential, now)
        return renewed(context, claim, now) if credentials.is_due(claim, now, context.credential_s) else None
    return credentials.issue(context.keyring, agent.node_id, agent.agent_id, now, context.credential_s)


def renewed(context: Context, claim: Claim, now: float) -> str:
    """A new credential in place of one that said `claim`: good along with a certificate only, if that was."""
    return credentials.issue(
        context.keyring, claim.node_id, claim.agent_id, now, context.credential_s, certified=claim.certified
    )
