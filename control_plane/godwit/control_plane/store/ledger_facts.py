"""Reads what the pure ledger makes stories from: events of some kinds since an instant, and rows as they are now."""

import json
from collections.abc import Iterable
from typing import Any

from godwit.control_plane.store import entities, schema
from godwit.control_plane.store.database import batches
from godwit.control_plane.store.health_tables import health_records
from godwit.domain import lifecycle
from godwit.domain.events import Event
from godwit.domain.jobs import Attempt, AttemptState, JobKind, JobState
from godwit.domain.nodes import Health, Node
from godwit.scheduler.ledger import reading
from godwit.scheduler.ledger.reading import Facts
from sqlalchemy import Connection, Row, and_, or_, select

UNUSED_MEMORY_S = 30 * 86_400.0
"""How far back it is looked for when an environment that still is was last used; longer ones count as used before."""

_PLAIN = frozenset({"node.state", "health.state"})
"""Kinds whose events' data the ledger does not read; parsing it is most of what an event costs."""

_FINAL_JOBS = tuple(state for state in JobState if lifecycle.is_final(state))


def facts(conn: Connection, since: float) -> Facts:
    """All that is needed for the stories of any node from `since` to now."""
    attempts = _attempts(conn, since)
    events = [*_before(conn, since), *_since(conn, since)]
    bad = select(health_records.c.id, health_records.c.state).where(health_records.c.state != Health.HEALTHY)
    return Facts(events, attempts, {row.id: Health(row.state) for row in conn.execute(bad)})


def nodes(conn: Connection, node_ids: Iterable[str]) -> dict[str, Node]:
    """These nodes by their ids, whatever their state; what was forgotten is left out."""
    found = {}
    for batch in batches(node_ids):
        for row in conn.execute(select(schema.nodes).where(schema.nodes.c.id.in_(batch))):
            found[str(row.id)] = entities.node_from(row)
    return found


def owners(conn: Connection, job_ids: Iterable[str]) -> dict[str, Any]:
    """Of these jobs the id, name, project and who submitted it (`submitted_by`), by id."""
    table, found = schema.jobs, dict[str, Any]()
    columns = (table.c.id, table.c.name, table.c.project, table.c.submitted_by)
    for batch in batches(job_ids):
        for row in conn.execute(select(*columns).where(table.c.id.in_(batch))):
            found[str(row.id)] = row
    return found


def _since(conn: Connection, since: float) -> Iterable[Event]:
    table = schema.events
    query = select(table).where(table.c.kind.in_(reading.KINDS), table.c.at >= since).order_by(table.c.seq)
    return (_event(row) for row in conn.execute(query))


def _before(conn: Connection, since: float) -> Iterable[Event]:
    """What was last said, before, of the use of environments that still are."""
    table, jobs = schema.events, schema.jobs
    desks = select(jobs.c.id).where(jobs.c.kind == JobKind.DEV, jobs.c.state.not_in(_FINAL_JOBS))
    said = and_(
        table.c.kind.in_((reading.UNUSED, reading.USED)), table.c.at < since, table.c.at >= since - UNUSED_MEMORY_S,
        table.c.job_id.in_(desks),
    )  # fmt: skip
    return (_event(row) for row in conn.execute(select(table).where(said).order_by(table.c.seq)))


def _event(row: Row[Any]) -> Event:
    data = {} if row.kind in _PLAIN else json.loads(row.data)
    return Event(
        row.at, row.kind, row.subject, row.subject_id, "", "", row.old, row.new, row.job_id, row.node_id, data, row.seq
    )


def _attempts(conn: Connection, since: float) -> list[Attempt]:
    """Those that held something since then, and of their jobs, and of those that nodes are kept for, the one before."""
    table, nodes_table = schema.attempts, schema.nodes
    lately = or_(table.c.state != AttemptState.ENDED, table.c.state_since >= since)
    found = {row.id: row for row in conn.execute(select(table).where(lately))}
    before, later = table.alias(), table.alias()
    predecessors = (
        select(before)
        .join(later, and_(later.c.job_id == before.c.job_id, later.c.epoch == before.c.epoch + 1))
        .where(or_(later.c.state != AttemptState.ENDED, later.c.state_since >= since))
    )
    kept = select(nodes_table.c.reserved_for).where(nodes_table.c.reserved_for.is_not(None))
    for query in (predecessors, select(table).where(table.c.job_id.in_(kept))):
        found |= {row.id: row for row in conn.execute(query)}
    return [entities.attempt_from(row) for row in found.values()]
