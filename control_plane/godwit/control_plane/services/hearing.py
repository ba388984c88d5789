"""Heartbeats that say nothing new, many at a time; and which polls for commands have nothing to wait for.

A heartbeat says nothing new when it is not late, and names just the attempts that are placed on its node, which is in
the fleet; of observations it brings none but steps of programs, which heads tell of all the time. Then it renews the
lease: for many nodes that is one transaction, and the answers leave once it is committed, as with `agents.heartbeat`,
which answers all others.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import structlog
from godwit.control_plane import credentials
from godwit.control_plane.context import Context
from godwit.control_plane.credentials import Claim
from godwit.control_plane.services import agents, node_access, observations
from godwit.control_plane.services.terminals import JOIN_S
from godwit.control_plane.store import entities, lines, restored, schema, statements
from godwit.control_plane.store.database import Transaction, batches
from godwit.domain.ids import NodeId
from godwit.domain.intents import FOR_AGENTS, IntentState
from godwit.domain.jobs import AttemptState
from godwit.domain.nodes import NodeState
from godwit.domain.wire import agents as wire
from sqlalchemy import Connection, Row, Select, Update, bindparam, select, update

log = structlog.get_logger()

STEADY = frozenset({NodeState.READY, NodeState.CORDONED, NodeState.DRAINING})
"""States of a node that being heard does not change."""

TELLING_MAX = 32
"""Of so many nodes a group counts steps, each a millisecond or two; all other writers wait meanwhile."""


@dataclass(frozen=True)
class Beat:
    """A heartbeat of which `may_be_quiet`, and what the credential said that came with it."""

    claim: Claim
    request: wire.HeartbeatRequest


def may_be_quiet(request: wire.HeartbeatRequest) -> bool:
    """Whether it tells of nothing but steps."""
    return all(isinstance(observation, wire.JobProgress) for observation in request.observations)


class Placed:
    """Which attempts have a place on each node; only attempts whose version moved are read again. For one thread."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, frozenset[str]]] = {}
        self._of_node: dict[str, set[str]] = {}

    def refresh(self, conn: Connection) -> None:
        """Bring it to what this transaction sees."""
        seen = {row.id: row.version for row in conn.execute(_live_versions())}
        moved = [id_ for id_, version in seen.items() if self._known.get(id_, (0,))[0] != version]
        if not moved and len(seen) == len(self._known):
            return
        self._known = {id_: known for id_, known in self._known.items() if id_ in seen}
        for some in batches(moved):
            for row in conn.execute(_attempts(), {"of": some}):
                attempt = entities.attempt_from(row)
                on: frozenset[str] = frozenset(slot.node_id for slot in attempt.slots if not slot.released)
                self._known[attempt.id] = attempt.version, on
        of_node: defaultdict[str, set[str]] = defaultdict(set)
        for attempt_id, (_, on) in self._known.items():
            for node_id in on:
                of_node[node_id].add(attempt_id)
        self._of_node = dict(of_node)

    def on(self, node_id: str) -> set[str]:
        """The attempts that live there."""
        return self._of_node.get(node_id, set())


def renew(context: Context, placed: Placed, beats: Sequence[Beat]) -> list[wire.HeartbeatReply | None]:
    """Renew the leases of those that say nothing new, in one transaction; None for all others, which changed nothing.

    `placed` is remembered between calls.
    """
    with context.db.write() as tx:
        now = context.now()
        placed.refresh(tx.conn)
        rows, last = _agents_of(tx.conn, {beat.claim.node_id for beat in beats}), restored.find(tx.conn)
        counted = {node_id: row.observed_seq for node_id, row in rows.items()}
        quiet, telling = list[Beat | None](), set[str]()
        for beat in beats:
            is_quiet = _says_nothing_new(rows.get(beat.claim.node_id), placed, beat)
            if is_quiet and beat.request.observations:
                telling.add(beat.claim.node_id)
                is_quiet = len(telling) <= TELLING_MAX and _count(context, tx, beat, counted, now)
            quiet.append(beat if is_quiet else None)
        _heard(tx, [beat for beat in quiet if beat is not None], counted, now, now + context.policy.lease_s)
    restored_at = None if last is None else last.restored_at
    return [
        None if beat is None else _answered(context, counted[beat.claim.node_id], restored_at, beat, now)
        for beat in quiet
    ]


def have_nothing(context: Context, claims: Sequence[Claim]) -> list[bool]:
    """For each, whether its credential is good, its node in the fleet, and nothing owed to it: then it may wait.

    Owed are commands, and terminals that were asked for at another control plane.
    """
    ids = {claim.node_id for claim in claims}
    with context.db.read() as conn:
        rows = _agents_of(conn, ids)
        owed = {
            row.node_id
            for some in batches(sorted(ids))
            for row in conn.execute(_owed(of_nodes=True), {"kinds": list(FOR_AGENTS), "of": some})
        } | lines.waiting(conn, context.now() - JOIN_S)
    return [
        (row := rows.get(claim.node_id)) is not None
        and row.agent_id == claim.agent_id
        and row.state in STEADY
        and claim.node_id not in owed
        for claim in claims
    ]


def owed_to(context: Context) -> set[str]:
    """The nodes to which a command is owed, or a terminal that was asked for at another control plane."""
    with context.db.read() as conn:
        owed = {row.node_id for row in conn.execute(_owed(of_nodes=False), {"kinds": list(FOR_AGENTS)})}
        return owed | lines.waiting(conn, context.now() - JOIN_S)


def _agents_of(conn: Connection, node_ids: set[str]) -> dict[str, Row[Any]]:
    return {row.node_id: row for some in batches(sorted(node_ids)) for row in conn.execute(_agents(), {"of": some})}


def _says_nothing_new(row: Row[Any] | None, placed: Placed, beat: Beat) -> bool:
    request, claim = beat.request, beat.claim
    if row is None or row.state not in STEADY or not may_be_quiet(request):
        return False
    if row.agent_id != claim.agent_id or request.agent_id != claim.agent_id:
        return False
    if row.credential_hash != node_access.NO_HASH:  # it shows a renewed one for the first time, which must be kept
        return False
    is_late = 0 < row.last_sent_at - request.sent_at < agents.LATE_WITHIN_S
    return not is_late and {live.attempt_id for live in request.attempts} == placed.on(claim.node_id)


def _count(context: Context, tx: Transaction, beat: Beat, counted: dict[str, int], now: float) -> bool:
    """Count its steps; whether that went well. If not, no other heartbeat suffers, and its route says what is wrong."""
    node_id, newest = NodeId(beat.claim.node_id), counted[beat.claim.node_id]
    try:
        with tx.conn.begin_nested():
            for observation in beat.request.observations:
                if observation.seq > newest:
                    observations.observe(tx, context.ids, node_id, observation, now)
                    newest = observation.seq
    except Exception as exc:  # noqa: BLE001 - whatever it is, it is this node's alone, or befalls the group next
        log.warning("steps were not counted in a group", node=node_id, why=f"{type(exc).__name__}: {exc}")
        return False
    counted[node_id] = newest
    return True


def _heard(tx: Transaction, beats: Sequence[Beat], counted: dict[str, int], now: float, lease_until: float) -> None:
    newest = {beat.claim.node_id: beat.request.sent_at for beat in beats}
    if not newest:
        return
    for some in batches(sorted(newest)):
        tx.conn.execute(_leased(), {"of": some, "seen_at": now, "until": lease_until})
    heard = [
        {"of_node_id": node_id, "last_sent_at": sent_at, "observed_seq": counted[node_id]}
        for node_id, sent_at in sorted(newest.items())
    ]
    tx.conn.execute(statements.update_where(schema.agents.c.node_id), heard)


def _answered(
    context: Context, counted_seq: int, restored_at: float | None, beat: Beat, now: float
) -> wire.HeartbeatReply:
    if beat.request.load is not None:
        context.loads.hear(beat.claim.node_id, beat.request.load, now)
    renewed = None
    if beat.request.renews and credentials.is_due(beat.claim, now, context.credential_s):
        renewed = node_access.renewed(context, beat.claim, now)
    return wire.HeartbeatReply(
        lease_s=context.policy.lease_s, heartbeat_s=context.heartbeat_s, acknowledged_seq=counted_seq,
        credential=renewed, restored_at=restored_at if beat.request.retells else None,
    )  # fmt: skip


@cache
def _live_versions() -> Select[Any]:
    # By name, and not as all but one: so the index of states serves, however many have ended.
    table, live = schema.attempts, [state for state in AttemptState if state is not AttemptState.ENDED]
    return select(table.c.id, table.c.version).where(table.c.state.in_(live))


@cache
def _attempts() -> Select[Any]:
    return select(schema.attempts).where(schema.attempts.c.id.in_(bindparam("of", expanding=True)))


@cache
def _agents() -> Select[Any]:
    agent, node = schema.agents, schema.nodes
    columns = (agent.c.node_id, agent.c.agent_id, agent.c.credential_hash, agent.c.observed_seq, agent.c.last_sent_at)
    joined = agent.join(node, node.c.id == agent.c.node_id)
    return (
        select(*columns, node.c.state).select_from(joined).where(agent.c.node_id.in_(bindparam("of", expanding=True)))
    )


@cache
def _leased() -> Update:
    of = schema.nodes.c.id.in_(bindparam("of", expanding=True))
    return update(schema.nodes).where(of).values(last_seen_at=bindparam("seen_at"), lease_until=bindparam("until"))


@cache
def _owed(*, of_nodes: bool) -> Select[Any]:
    table = schema.intents
    query = select(table.c.node_id).distinct().where(
        table.c.state == IntentState.PENDING, table.c.kind.in_(bindparam("kinds", expanding=True))
    )  # fmt: skip
    return query.where(table.c.node_id.in_(bindparam("of", expanding=True))) if of_nodes else query
