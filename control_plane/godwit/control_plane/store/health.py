"""What is remembered of health: findings, incidents, devices, orders to agents, cordons, and the breaker."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from godwit.control_plane.store import health_rows, health_statements, schema, statements
from godwit.control_plane.store.database import Transaction, batches
from godwit.control_plane.store.health_tables import cordons, evictions, findings, health_records, incidents, orders
from godwit.domain.errors import NotFound
from godwit.domain.health import Finding, Grade, HealthRecord, Incident, Remedy
from godwit.scheduler.health.view import Cordon, HealthView, TestResult
from sqlalchemy import Connection, Row, and_, delete, func, insert, or_, select, update

FINDINGS_S = 86_400.0
"""For how long the planner sees a finding that was decided: repeats are counted over a day."""

PAST_S = 28 * 86_400.0
"""For how long it sees a closed incident: who failed often is judged over four weeks."""

CORDONS_S = 3_600.0
"""For how long it sees a cordon: longer than any window of the breaker."""

FINDINGS_MAX, PAST_MAX = 10_000, 10_000
"""What one snapshot holds at the most, the newest first: a fleet of thousands of nodes tells of hundreds a day."""

KEPT_S, EVIDENCE_KEPT_S = 7 * 86_400.0, 90 * 86_400.0
"""For how long a finding is kept, and one that is the evidence of an incident: a vendor's answer may take weeks."""

_BREAKER = "breaker"


@dataclass(frozen=True)
class Breaker:
    """Whether automation may take nodes out of the fleet: since when it may not, and why. Only a person resets it."""

    tripped_at: float | None = None
    reason: str = ""


def view(conn: Connection, now: float) -> HealthView:
    """All that the planner may know of health, as of this transaction."""
    if not conn.execute(health_statements.ANY).scalar():
        return HealthView(tripped_at=breaker(conn).tripped_at)
    records = conn.execute(health_statements.RECORDS)
    past = conn.execute(health_statements.PAST, {"since": now - PAST_S, "most": PAST_MAX})
    return HealthView(
        findings=_findings(conn, now),
        records={row.id: health_rows.record_from(row) for row in records},
        incidents=tuple(open_incidents(conn)),
        past=tuple(health_rows.incident_from(row) for row in past),
        orders=_orders(conn),
        cordons=tuple(
            Cordon(row.at, row.node_id, row.provider, row.fabric_domain) for row in cordoned(conn, now - CORDONS_S)
        ),
        tripped_at=breaker(conn).tripped_at,
    )


def _findings(conn: Connection, now: float) -> tuple[Finding, ...]:
    rows = conn.execute(health_statements.FINDINGS, {"since": now - FINDINGS_S, "most": FINDINGS_MAX}).all()
    return tuple(health_rows.finding_from(row) for row in reversed(rows))


def _orders(conn: Connection) -> tuple[TestResult, ...]:
    newest: dict[tuple[str, str], Row[Any]] = {}
    for row in conn.execute(health_statements.ORDERS):
        newest[row.incident_id or row.node_id, row.kind] = row
    return tuple(
        TestResult(
            row.node_id, row.incident_id, row.kind, row.ordered_at if row.ended_at is None else row.ended_at,
            row.passed, row.detail,
        )
        for row in newest.values()
    )  # fmt: skip


# Findings.


def add_finding(tx: Transaction, finding: Finding) -> None:
    """Write down what a check found."""
    tx.conn.execute(insert(findings).values(**health_rows.finding_values(finding)))


def findings_since(conn: Connection, node_id: str, since: float, but: Grade | None = None) -> int:
    """How many findings a node has told of since an instant, `but` those of this grade."""
    query = select(func.count()).where(findings.c.node_id == node_id, findings.c.at > since)
    if but is not None:
        query = query.where(findings.c.grade != but)
    return conn.execute(query).scalar_one()


def decide(
    tx: Transaction, finding_id: str, remedy: Remedy, rule: str, reason: str, incident_id: str | None
) -> Finding | None:
    """Note what is done about a finding; the first decision stands, and then None is returned."""
    is_it = and_(findings.c.id == finding_id, findings.c.decided.is_(False))
    row = tx.conn.execute(select(findings).where(is_it)).first()
    if row is None:
        return None
    values = {"remedy": remedy, "rule": rule[:128], "decision": reason, "incident_id": incident_id}
    tx.conn.execute(update(findings).where(is_it).values(decided=True, **values))
    return health_rows.finding_from(row)


def findings_of(conn: Connection, incident_id: str, limit: int) -> Sequence[Row[Any]]:
    """The rows of the findings that an incident is about, with what was decided: the oldest first."""
    query = select(findings).where(findings.c.incident_id == incident_id).order_by(findings.c.at, findings.c.id)
    return conn.execute(query.limit(limit)).all()


def sweep(tx: Transaction, now: float) -> None:
    """Forget what nobody asks for any more: old findings, and cordons that no window reaches."""
    loose = and_(findings.c.incident_id.is_(None), findings.c.decided.is_(True), findings.c.at < now - KEPT_S)
    tx.conn.execute(delete(findings).where(or_(loose, findings.c.at < now - EVIDENCE_KEPT_S)))
    tx.conn.execute(delete(cordons).where(cordons.c.at < now - CORDONS_S))


# Incidents.


def incident(conn: Connection, incident_id: str) -> Incident:
    """An incident by id. Raises `NotFound`."""
    row = conn.execute(select(incidents).where(incidents.c.id == incident_id)).first()
    if row is None:
        raise NotFound(f"there is no incident {incident_id!r}; `godwit incidents` lists them")
    return health_rows.incident_from(row)


def open_incidents(conn: Connection, node_id: str | None = None) -> list[Incident]:
    """Incidents that are not closed, of one node or of all, the oldest first."""
    query = health_statements.INCIDENTS
    if node_id is not None:
        query = query.where(incidents.c.node_id == node_id)
    return [health_rows.incident_from(row) for row in conn.execute(query)]


def incidents_page(
    conn: Connection, limit: int, before: str | None, states: Sequence[str], node_id: str | None, provider: str | None
) -> list[Incident]:
    """A page of incidents, the newest first, starting after id `before`."""
    table = incidents
    query = select(table).order_by(table.c.opened_at.desc(), table.c.id.desc()).limit(limit)
    if before is not None:
        last = incident(conn, before)
        query = query.where(
            or_(table.c.opened_at < last.opened_at, and_(table.c.opened_at == last.opened_at, table.c.id < before))
        )
    if states:
        query = query.where(table.c.state.in_(states))
    if node_id is not None:
        query = query.where(table.c.node_id == node_id)
    if provider is not None:
        query = query.where(table.c.provider == provider)
    return [health_rows.incident_from(row) for row in conn.execute(query)]


# Devices.


def records(conn: Connection, ids: Iterable[str]) -> dict[str, HealthRecord]:
    """What is remembered of these devices; unknown ones are left out."""
    found: dict[str, HealthRecord] = {}
    for batch in batches(ids):
        for row in conn.execute(select(health_records).where(health_records.c.id.in_(batch))):
            found[row.id] = health_rows.record_from(row)
    return found


# Orders to agents.


def add_order(tx: Transaction, intent_id: str, node_id: str, incident_id: str | None, kind: str, now: float) -> None:
    """An agent owes this. Of sweeps only the newest of a node is kept: they come again and again."""
    if incident_id is None:
        tx.conn.execute(delete(orders).where(orders.c.node_id == node_id, orders.c.incident_id.is_(None)))
    tx.conn.execute(
        insert(orders).values(
            intent_id=intent_id, node_id=node_id, incident_id=incident_id, kind=kind, ordered_at=now, detail="",
            figures="{}",
        )
    )  # fmt: skip


def end_order(
    tx: Transaction, intent_id: str, node_id: str, now: float, *, passed: bool, detail: str, figures: Mapping[str, Any]
) -> Row[Any] | None:
    """An order of this node is over; its row as it was, or None when it was over before or is nobody's."""
    is_it = and_(orders.c.intent_id == intent_id, orders.c.node_id == node_id, orders.c.ended_at.is_(None))
    row = tx.conn.execute(select(orders).where(is_it)).first()
    if row is not None:
        values = {"ended_at": now, "passed": passed, "detail": detail, "figures": json.dumps(dict(figures))}
        tx.conn.execute(update(orders).where(orders.c.intent_id == intent_id).values(**values))
    return row


def orders_of(conn: Connection, incident_id: str) -> Sequence[Row[Any]]:
    """What was ordered because of an incident, the oldest first."""
    query = select(orders).where(orders.c.incident_id == incident_id)
    return conn.execute(query.order_by(orders.c.ordered_at, orders.c.intent_id)).all()


# Evictions.


def add_eviction(tx: Transaction, incident_id: str, attempt_id: str, job_id: str, now: float) -> None:
    """An attempt has to leave because of an incident; told twice, it is known once."""
    of = and_(evictions.c.incident_id == incident_id, evictions.c.attempt_id == attempt_id)
    if tx.conn.execute(select(evictions.c.at).where(of)).first() is None:
        values = {"incident_id": incident_id, "attempt_id": attempt_id, "job_id": job_id, "at": now}
        tx.conn.execute(insert(evictions).values(**values))


def back_at_work(tx: Transaction, job_id: str, now: float, *, is_step: bool) -> Sequence[Row[Any]]:
    """A job runs again, or made its first step since: the evictions for which that is news, as they were."""
    table = evictions
    if is_step:
        is_news = and_(table.c.job_id == job_id, table.c.first_step_at.is_(None), table.c.restarted_at.is_not(None))
    else:
        is_news = and_(table.c.job_id == job_id, table.c.restarted_at.is_(None))
    rows = tx.conn.execute(select(table).where(is_news)).all()
    if rows:
        tx.conn.execute(update(table).where(is_news).values({"first_step_at" if is_step else "restarted_at": now}))
    return rows


def evictions_of(conn: Connection, incident_id: str) -> Sequence[Row[Any]]:
    """Who had to leave because of an incident, the first first."""
    query = select(evictions).where(evictions.c.incident_id == incident_id)
    return conn.execute(query.order_by(evictions.c.at, evictions.c.attempt_id)).all()


# The breaker.


def add_cordon(tx: Transaction, cordon: Cordon) -> None:
    """Automation took a node out of the fleet."""
    is_it = and_(cordons.c.node_id == cordon.node_id, cordons.c.at == cordon.at)
    if tx.conn.execute(select(cordons.c.at).where(is_it)).first() is None:
        tx.conn.execute(insert(cordons).values(**asdict(cordon)))


def cordoned(conn: Connection, since: float) -> Sequence[Row[Any]]:
    """What automation took out of the fleet since an instant, the first first."""
    return conn.execute(health_statements.CORDONS, {"since": since}).all()


def breaker(conn: Connection) -> Breaker:
    """How the breaker stands."""
    row = conn.execute(statements.row_of(schema.meta.c.key), {"wanted": _BREAKER}).first()
    return Breaker() if row is None else Breaker(**json.loads(row.value))


def set_breaker(tx: Transaction, to: Breaker) -> None:
    """Trip the breaker or reset it; after a reset its window begins anew."""
    tx.conn.execute(delete(schema.meta).where(schema.meta.c.key == _BREAKER))
    if to.tripped_at is None:
        tx.conn.execute(delete(cordons))
    else:
        tx.conn.execute(insert(schema.meta).values(key=_BREAKER, value=json.dumps(asdict(to))))
