"""The living fleet as bare rows: 5,000 nodes are read for drawing without making domain objects of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from godwit.control_plane.store import schema, statements
from godwit.control_plane.store.database import batches
from godwit.control_plane.store.health_tables import health_records, incidents
from godwit.domain.health import IncidentState
from godwit.domain.ids import InstanceId, NodeId
from godwit.domain.jobs import AttemptState
from godwit.domain.nodes import Health, NodeState
from sqlalchemy import ColumnElement, Connection, Row, Select, and_, func, select


@dataclass(frozen=True)
class FleetRows:
    """What was read in one transaction. `nodes`, `attempts` and `jobs` are rows with the columns that drawing needs.

    `open_incidents` counts them by node; `unfit` is what is believed of machines, by node, where they are not healthy.
    """

    nodes: Sequence[Row[Any]]
    attempts: Sequence[Row[Any]]
    jobs: dict[str, Row[Any]]
    open_incidents: dict[str, int]
    unfit: dict[str, str]


@cache
def _nodes() -> Select[Any]:
    table = schema.nodes
    columns = (table.c.id, table.c.state, table.c.state_since, table.c.instance_id, table.c.offer, table.c.gpus)
    more = (table.c.reserved_for, table.c.idle_since, table.c.gone, table.c.detail)
    return select(*columns, *more).where(table.c.state.not_in(statements.FINAL_NODES))


@cache
def _attempts() -> Select[Any]:
    table = schema.attempts
    return select(table.c.job_id, table.c.state, table.c.slots).where(table.c.state != AttemptState.ENDED)


def read(conn: Connection) -> FleetRows:
    """The fleet as of this transaction."""
    nodes, attempts = conn.execute(_nodes()).all(), conn.execute(_attempts()).all()
    held = {row.job_id for row in attempts} | {row.reserved_for for row in nodes if row.reserved_for}
    counted = select(incidents.c.node_id, func.count()).where(incidents.c.state != IncidentState.CLOSED)
    machines = select(health_records.c.id, health_records.c.state)
    machines = machines.where(health_records.c.id == health_records.c.node_id)
    machines = machines.where(health_records.c.state != Health.HEALTHY)
    return FleetRows(
        nodes=nodes,
        attempts=attempts,
        jobs=owners(conn, held),
        open_incidents={row[0]: row[1] for row in conn.execute(counted.group_by(incidents.c.node_id))},
        unfit={row.id: row.state for row in conn.execute(machines)},
    )


def owners(conn: Connection, job_ids: Iterable[str]) -> dict[str, Row[Any]]:
    """These jobs by id, without their specifications."""
    table = schema.jobs
    columns = (table.c.id, table.c.name, table.c.project, table.c.kind, table.c.state)
    found: dict[str, Row[Any]] = {}
    for batch in batches(sorted(job_ids)):
        found |= {row.id: row for row in conn.execute(select(*columns).where(table.c.id.in_(batch)))}
    return found


def stamp(conn: Connection) -> tuple[Any, ...]:
    """Differs whenever something that is drawn may have changed; it costs a hundredth of reading that.

    Whatever changes a state appends an event, and whatever else a decision changes raises a row's version.
    """
    nodes, attempts = schema.nodes, schema.attempts
    last = select(func.max(schema.events.c.seq)).scalar_subquery()
    living = select(func.count(), func.sum(nodes.c.version)).where(nodes.c.state.not_in(statements.FINAL_NODES))
    held = select(func.count(), func.sum(attempts.c.version)).where(attempts.c.state != AttemptState.ENDED)
    return (conn.execute(select(last)).scalar(), *conn.execute(living).one(), *conn.execute(held).one())


def machines_of(conn: Connection, provider: str) -> dict[NodeId, InstanceId | None]:
    """The nodes of a provider and their machines there, without the final ones."""
    nodes = schema.nodes.c
    rows = conn.execute(select(nodes.id, nodes.instance_id).where(_is_alive_at(provider))).all()
    return {row.id: row.instance_id for row in rows}


def standings_of(conn: Connection, provider: str) -> set[tuple[NodeState, bool]]:
    """In which states nodes of a provider are, and whether their machines were missed, without the final ones."""
    nodes = schema.nodes.c
    rows = conn.execute(select(nodes.state, nodes.gone).where(_is_alive_at(provider)).distinct())
    return {(NodeState(row.state), row.gone) for row in rows}


def _is_alive_at(provider: str) -> ColumnElement[bool]:
    return and_(schema.nodes.c.provider == provider, schema.nodes.c.state.not_in(statements.FINAL_NODES))
