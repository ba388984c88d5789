"""What gateways serve by: the newest routes, what each gateway has seen and said, and the keys of those who come."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from godwit.control_plane.store import ledger_sums
from godwit.control_plane.store.database import Transaction
from godwit.control_plane.store.schema import metadata
from godwit.domain.wire.routes import GatewaySignals, KeyRoute
from sqlalchemy import BigInteger, Column, Connection, Float, String, Table, Text, delete, insert, select, update

route_tables = Table(
    "route_tables",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("made_at", Float, nullable=False),
    Column("data", Text, nullable=False),
)

gateways = Table(
    "gateways",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("seen", BigInteger, nullable=False),
    Column("heard_at", Float, nullable=False),
    Column("told_at", Float),
    Column("signals", Text),
    Column("counted", Text, nullable=False, server_default="[]"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("project", String(64), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("data", Text, nullable=False),
)

NEWEST = "newest"
FORGOTTEN_S = 86_400.0
"""A gateway that was silent for a day is forgotten."""

LATE_S = 60.0
"""No report is on its way for longer: gateways wait half a minute for an answer. What was measured before the last
report comes later only if the gateway's clock was set back."""

COUNTED_MAX = 64
"""Windows that are remembered: two minutes of reports each two seconds, longer than any is on its way."""

_NEWEST = select(route_tables).where(route_tables.c.name == NEWEST)


@dataclass(frozen=True)
class Published:
    """Routes as they were published: their number, and all else as JSON text."""

    number: int
    made_at: float
    data: str


@dataclass(frozen=True)
class Gateway:
    """A gateway: the routes it serves by, when it was last heard, and what it last measured."""

    id: str
    seen: int
    heard_at: float
    told_at: float | None
    signals: GatewaySignals | None


def newest(conn: Connection) -> Published:
    """The newest routes; number 0 and nothing before the first."""
    row = conn.execute(_NEWEST).first()
    return Published(0, 0.0, "{}") if row is None else Published(row.number, row.made_at, row.data)


def publish(tx: Transaction, new: Published) -> None:
    """Replace the routes."""
    tx.conn.execute(delete(route_tables).where(route_tables.c.name == NEWEST))
    row = {"name": NEWEST, "number": new.number, "made_at": new.made_at, "data": new.data}
    tx.conn.execute(insert(route_tables), row)


def all_gateways(conn: Connection, now: float) -> list[Gateway]:
    """The gateways that were heard within a day."""
    rows = conn.execute(select(gateways).where(gateways.c.heard_at > now - FORGOTTEN_S).order_by(gateways.c.id))
    return [_gateway(row) for row in rows]


def seen(tx: Transaction, gateway_id: str, number: int, now: float) -> None:
    """A gateway asked with the routes of this number: it serves by them."""
    _write(tx, gateway_id, {"seen": number, "heard_at": now})


def told(tx: Transaction, signals: GatewaySignals, now: float) -> None:
    """A gateway said what it measured; one that leaves and has nothing in flight is not waited for any more.

    Each window counts once, whichever way its report came: a gateway whose answer was lost says the same again, and
    what comes after a newer report is let pass. Which is newer its clock says, unless that was set back while it was
    down: so the last windows are remembered by their ends too.
    """
    row = tx.conn.execute(select(gateways).where(gateways.c.id == signals.gateway)).first()
    before = None if row is None or row.signals is None else GatewaySignals.model_validate_json(row.signals)
    counted: list[float] = [] if row is None else json.loads(row.counted)
    if row is not None and before is not None and signals.at != before.at:
        is_late = signals.at < before.at and now - row.told_at <= LATE_S
        if is_late or signals.at in counted:
            return
    if before is None or signals.at != before.at:
        _count_served(tx, signals, now)
        counted = [signals.at, *counted][:COUNTED_MAX]
    has_left = signals.draining and not any(one.in_flight for of in signals.services for one in of.replicas)
    values = {"seen": signals.version, "told_at": now, "signals": signals.model_dump_json()}
    values["counted"] = json.dumps(counted)
    _write(tx, signals.gateway, {**values, "heard_at": 0.0 if has_left else now})
    if has_left:
        old = now - FORGOTTEN_S
        tx.conn.execute(delete(gateways).where(gateways.c.heard_at < old, gateways.c.told_at < old))


def _count_served(tx: Transaction, signals: GatewaySignals, now: float) -> None:
    for one in signals.services:
        if one.requests or one.tokens_in or one.tokens_out:
            ledger_sums.add_served(tx, one.project, one.name, one.requests, one.tokens_in, one.tokens_out, now)


def _write(tx: Transaction, gateway_id: str, values: dict[str, Any]) -> None:
    changed = tx.conn.execute(update(gateways).where(gateways.c.id == gateway_id).values(**values))
    if not changed.rowcount:
        tx.conn.execute(insert(gateways).values(id=gateway_id, **values))


def _gateway(row: Any) -> Gateway:
    signals = None if row.signals is None else GatewaySignals.model_validate_json(row.signals)
    return Gateway(row.id, row.seen, row.heard_at, row.told_at, signals)


def keys(conn: Connection) -> list[KeyRoute]:
    """Every key, by its id."""
    return [KeyRoute.model_validate_json(row.data) for row in conn.execute(select(api_keys).order_by(api_keys.c.id))]


def add_key(tx: Transaction, key: KeyRoute, now: float) -> None:
    """Write a key; its text is known to nobody but its owner."""
    row = {"id": key.id, "sha256": key.sha256, "project": key.project, "created_at": now}
    tx.conn.execute(insert(api_keys).values(**row, data=key.model_dump_json()))


def remove_key(tx: Transaction, key_id: str) -> bool:
    """Forget a key; False when there is none."""
    return bool(tx.conn.execute(delete(api_keys).where(api_keys.c.id == key_id)).rowcount)


def text_of(services: Sequence[dict[str, Any]], found: Sequence[KeyRoute]) -> str:
    """Routes as text: the same for the same, so that what did not change is not published again."""
    return json.dumps({"services": list(services), "keys": [k.model_dump(mode="json") for k in found]}, sort_keys=True)
