"""What became of machines that were bought: of a provider whose machines fail one after the other, fewer are bought."""

import structlog
from godwit.control_plane.store import schema, writes
from godwit.control_plane.store.database import Transaction
from godwit.domain.offers import Offer
from godwit.scheduler.market import pauses
from godwit.scheduler.snapshot import Hold
from godwit.scheduler.trust import Record
from sqlalchemy import ColumnElement, func, select, update

log = structlog.get_logger()

COUNTS_S = 3_600.0
"""Failures whose pauses ended longer ago say nothing of now."""


def failed(tx: Transaction, offer: Offer, why: str, hold_s: float, now: float) -> None:
    """A machine never became usable: its offer is passed over, for longer each time, and trusted less."""
    table = schema.holds
    before = tx.conn.execute(
        select(func.coalesce(func.sum(table.c.failed), 0)).where(
            _is_of_its_provider(offer), table.c.until > now - COUNTS_S
        )
    ).scalar_one()
    pause_s = pauses.after_failures(hold_s, int(before))
    log.warning("a machine never became usable", offer=offer.key, why=why, pause_s=pause_s, failed_before=int(before))
    writes.hold(tx, Hold(offer.key, now + pause_s, why))
    tx.conn.execute(update(table).where(table.c.offer_key == offer.key).values(failed=table.c.failed + 1))
    writes.experience(tx, offer, Record(failures=1))


def joined(tx: Transaction, offer: Offer) -> None:
    """A machine of its provider joined, so that nothing is wrong there any more."""
    table = schema.holds
    tx.conn.execute(update(table).where(_is_of_its_provider(offer), table.c.failed > 0).values(failed=0))


def _is_of_its_provider(offer: Offer) -> ColumnElement[bool]:
    return schema.holds.c.offer_key.startswith(f"{offer.provider}/", autoescape=True)
