"""The breaker: whether automation may take nodes out of the fleet. It trips by itself, and only a person resets it."""

from godwit.control_plane import hints
from godwit.control_plane.context import Context
from godwit.control_plane.store import entities
from godwit.control_plane.store import health as remembered
from godwit.control_plane.store.health import CORDONS_S, Breaker
from godwit.domain.events import Event
from godwit.domain.wire.incidents import BreakerView, CordonView
from sqlalchemy import Connection


def show(context: Context) -> BreakerView:
    """How it stands, and what automation took out of the fleet within the last hour."""
    with context.db.read() as conn:
        return _view(conn, context.now())


def reset(context: Context, actor: str) -> BreakerView:
    """Let automation act again; its window begins anew, and what was held goes on. Harmless when it did not trip."""
    now = context.now()
    with context.db.write() as tx:
        before = remembered.breaker(tx.conn)
        if before.tripped_at is not None:
            remembered.set_breaker(tx, Breaker())
            reason = f"reset by {actor}; it had tripped because {before.reason}"
            entities.append(tx, Event(now, "breaker.reset", "breaker", "fleet", reason, actor))
            tx.hint(hints.PLAN)
        return _view(tx.conn, now)


def _view(conn: Connection, now: float) -> BreakerView:
    found = remembered.breaker(conn)
    cordons = [
        CordonView(node_id=row.node_id, at=row.at, provider=row.provider, fabric_domain=row.fabric_domain)
        for row in remembered.cordoned(conn, now - CORDONS_S)
    ]
    return BreakerView(tripped_at=found.tripped_at, reason=found.reason, cordons=cordons)
