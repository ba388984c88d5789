"""What a snapshot asks the tables of health, built once: most fleets are well, and asking should cost them little.

The parameter `since` is an instant, `most` the number of rows.
"""

from typing import Any

from godwit.control_plane.store import schema
from godwit.control_plane.store.health_tables import cordons, findings, health_records, incidents, orders
from godwit.domain import lifecycle
from godwit.domain.health import IncidentState
from godwit.domain.nodes import NodeState
from sqlalchemy import BindParameter, Select, and_, bindparam, exists, or_, select

OPEN = tuple(state for state in IncidentState if state is not IncidentState.CLOSED)
_GONE = tuple(state for state in NodeState if lifecycle.is_final(state))
ANY: Select[Any] = select(
    or_(*(exists().select_from(of) for of in (findings, health_records, incidents, orders, cordons)))
)
"""Whether anything was ever found: while nothing was, the other statements need not be asked."""

_SINCE: BindParameter[float] = bindparam("since")
_MOST: BindParameter[int] = bindparam("most")

_LIVING = select(schema.nodes.c.id).where(schema.nodes.c.state.not_in(_GONE))
_OPEN_ONES = select(incidents.c.id).where(incidents.c.state.in_(OPEN))

_RECENT = and_(findings.c.at > _SINCE, findings.c.node_id.in_(_LIVING))
FINDINGS: Select[Any] = (
    select(findings)
    .where(or_(findings.c.decided.is_(False), _RECENT))
    .order_by(findings.c.at.desc(), findings.c.id.desc())
    .limit(_MOST)
)
"""Findings that nobody decided about, and those of nodes that live; the newest first."""

RECORDS: Select[Any] = select(health_records).where(health_records.c.node_id.in_(_LIVING))
"""What is remembered of the devices of nodes that live."""

PAST: Select[Any] = (
    select(incidents)
    .where(incidents.c.state == IncidentState.CLOSED, incidents.c.state_since > _SINCE)
    .order_by(incidents.c.state_since.desc())
    .limit(_MOST)
)
"""Closed incidents, the newest first."""

INCIDENTS: Select[Any] = (
    select(incidents).where(incidents.c.state.in_(OPEN)).order_by(incidents.c.opened_at, incidents.c.id)
)
"""Open incidents, the oldest first."""

_SWEEPS = and_(orders.c.incident_id.is_(None), orders.c.node_id.in_(_LIVING))
ORDERS: Select[Any] = (
    select(orders)
    .where(or_(orders.c.incident_id.in_(_OPEN_ONES), _SWEEPS))
    .order_by(orders.c.ordered_at, orders.c.intent_id)
)
"""Orders because of open incidents, and sweeps of nodes that live; the oldest first."""

CORDONS: Select[Any] = select(cordons).where(cordons.c.at > _SINCE).order_by(cordons.c.at, cordons.c.node_id)
"""What automation took out of the fleet, the first first."""
