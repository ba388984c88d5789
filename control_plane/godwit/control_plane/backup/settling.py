"""What a restored database must believe before it is served: nothing that was owed is done twice, nothing is fresh."""

import math
from dataclasses import replace

from godwit.control_plane.backup import rows
from godwit.control_plane.executors.launching import ASKED_AT
from godwit.control_plane.services import attempts
from godwit.control_plane.store import access, entities, leases, queries, restored, routing, schema, users
from godwit.control_plane.store.database import Transaction
from godwit.control_plane.store.restored import Restored
from godwit.domain.events import Event
from godwit.domain.ids import IdSource
from godwit.domain.intents import IntentKind, IntentState
from godwit.domain.jobs import AttemptState, Outcome
from sqlalchemy import delete, func, or_, select, update

EVENTS_A_SECOND = 1_000
"""More events than a fleet writes in a second, on average over its life: the numbers of events rise to as many as can
have been given away by now. Whoever follows by number has seen some of the lost ones, and would wait until as many
had come again. Numbers of routes rise to one a second."""

ACTOR = "restore"


def settle(
    tx: Transaction, ids: IdSource, backup_at: float, now: float, *, end_orphans: bool, end_after_s: float
) -> Restored:
    """Make a database that was just filled from a backup fit to be served; once for each restore."""
    known = Restored(backup_at, now, now + end_after_s if end_orphans else None)
    restored.put(tx, known)
    restored.put_strays(tx, {})
    restored.forget_orphans(tx)
    _doubt_launches(tx, now)
    _cancel_drills(tx, now)
    _take_starts_back(tx, ids, now)
    # Whoever was logged in logs in again: who logged out since the backup is not known.
    tx.conn.execute(delete(access.sessions))
    tx.conn.execute(delete(access.login_codes))
    tx.conn.execute(delete(users.device_logins))
    table = access.tokens
    tx.conn.execute(delete(table).where(or_(table.c.user_id.is_not(None), table.c.parent_id.is_not(None))))
    number, least = routing.route_tables.c.number, restored.seconds_at(now)
    tx.conn.execute(update(routing.route_tables).where(number < least).values(number=least))
    # Above every lease of the lost time, so that whoever held one then writes nothing here.
    tx.conn.execute(update(leases.leases).values(holder=leases.NOBODY, generation=least))
    lost_h = max(0.0, now - backup_at) / 3600
    reason = (
        f"restored from a backup that was {math.ceil(lost_h * 10) / 10} h old; what happened since is not known here"
    )
    data = {"backup_at": backup_at}
    entities.append(tx, Event(now, "database.restored", "database", "database", reason, ACTOR, data=data))
    _leave_numbers_out(tx, now)
    return known


def _doubt_launches(tx: Transaction, now: float) -> None:
    """A purchase that was owed may have been made since: whoever carries it out looks for it first."""
    for launch in queries.pending_intents(tx.conn, [IntentKind.LAUNCH_NODE]):
        doubted = {**launch.payload, ASKED_AT: now}
        entities.save(tx, replace(launch, tries=max(1, launch.tries), not_before=now, payload=doubted))


def _cancel_drills(tx: Transaction, now: float) -> None:
    """A fault that was to be injected may have been: nobody wants it twice."""
    for drill in queries.pending_intents(tx.conn, [IntentKind.DRILL]):
        reason = "it was owed when the backup was taken, and may have been carried out since"
        entities.advance(tx, drill, IntentState.CANCELLED, reason=reason, actor=ACTOR, now=now)


def _take_starts_back(tx: Transaction, ids: IdSource, now: float) -> None:
    """An attempt that was starting may have been given up since, and another one of its job may run elsewhere.

    Its nodes are told to stop it, and the job starts again above all epochs that were lost; that costs it no retry.
    """
    for attempt in queries.live_attempts(tx.conn):
        if attempt.state is AttemptState.STARTING:
            reason = "it was starting when the backup was taken; what became of it is not known"
            attempts.settle(tx, ids, attempt, Outcome.EVICTED, reason, ACTOR, now)


def _leave_numbers_out(tx: Transaction, now: float) -> None:
    seq = schema.events.c.seq
    newest = tx.conn.execute(select(func.max(seq))).scalar_one()
    least = restored.seconds_at(now) * EVENTS_A_SECOND
    tx.conn.execute(update(schema.events).where(seq == newest).values(seq=max(newest, least)))
    rows.number_on(tx.conn, schema.events)
