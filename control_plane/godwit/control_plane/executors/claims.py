"""Who carries an intent out now: a claim in its row, renewed while it is worked on, and looked at before each effect.

The version of the row is the fence. Taking a claim raises it, so that whoever was late writes nothing any more, and a
claim that ran out may be taken. Until then the row is due for nobody.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import structlog
from godwit.control_plane.store import entities, schema
from godwit.control_plane.store.database import Database, Transaction
from godwit.domain.errors import StaleWrite
from godwit.domain.ids import IntentId
from godwit.domain.intents import Intent, IntentState
from sqlalchemy import update

log = structlog.get_logger()

CLAIM_S = 60.0
"""For how long nobody else tries what the control plane that leads carries out itself: longer than any provider call
may take, since nobody renews it. The next one to lead takes it at once (`Executor.resume`)."""

WORKER_CLAIM_S, RENEW_S = 20.0, 4.0
"""The same for a worker, which renews: another one goes on that long after its death, and four renewals may fail."""

CALL_MARGIN_S = 5.0
"""A call that creates something is begun only while the claim holds for so long yet: it must reach the provider, and
be in its lists once another carrier looks there."""


class ClaimLost(StaleWrite):
    """The claim on this intent ran out, or was taken by another; nothing was begun."""


class Claim:
    """One intent, held by one carrier. `clock` is one that nobody sets; `began` is when by it the claim was taken."""

    def __init__(
        self, db: Database, intent: Intent, holds_s: float, clock: Callable[[], float], began: float,
        leads: Callable[[], bool],
    ) -> None:  # fmt: skip
        self._db, self.intent, self._holds_s, self._clock, self._leads = db, intent, holds_s, clock, leads
        self._held_at = began

    def check(self) -> None:
        """To be called right before an effect that must not happen twice. Raises `ClaimLost`."""
        if self._clock() - self._held_at > self._holds_s - CALL_MARGIN_S or not self._leads():
            raise ClaimLost

    def renew(self, now: float) -> bool:
        """Hold on to it; False when it is another's, or the intent is owed no more. Raises what the database does."""
        began, table = self._clock(), schema.intents
        is_ours = (table.c.id == self.intent.id, table.c.version == self.intent.version)
        is_owed = table.c.state == IntentState.PENDING
        with self._db.write() as tx:
            held = update(table).where(*is_ours, is_owed).values(not_before=now + self._holds_s)
            if tx.conn.execute(held).rowcount != 1:
                return False
        self._held_at = began
        return True


class Claims:
    """How one carrier takes its claims. `holder` is empty for the control plane that leads, whose lease is its own.

    Whoever leads next takes its claims at once, so that nothing is begun while it is not sure that it still `leads`.
    """

    def __init__(
        self, db: Database, holder: str = "", clock: Callable[[], float] = time.monotonic,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:  # fmt: skip
        self._db, self._holder, self._clock, self._leads = db, holder, clock, leads
        self._holds_s = WORKER_CLAIM_S if holder else CLAIM_S
        self._lock = threading.Lock()
        self._held: dict[IntentId, Claim] = {}

    def take(self, tx: Transaction, intent: Intent, now: float) -> Claim | None:
        """Write `intent` down as held until some time after `now`; None when it is owed no more or not due yet."""
        if intent.state is not IntentState.PENDING or intent.not_before > now:
            return None
        began = self._clock()
        held = entities.save(tx, replace(intent, not_before=now + self._holds_s, holder=self._holder))
        return Claim(self._db, held, self._holds_s, self._clock, began, self._leads)

    @contextmanager
    def holding(self, claim: Claim) -> Iterator[None]:
        """While this block lasts, `renew` renews the claim."""
        with self._lock:
            self._held[claim.intent.id] = claim
        try:
            yield
        finally:
            with self._lock:
                self._held.pop(claim.intent.id, None)

    def renew(self, now: float) -> None:
        """Hold on to everything that is being carried out; safe to repeat. Raises what the database does."""
        with self._lock:
            held = list(self._held.values())
        for claim in held:
            if not claim.renew(now):
                log.info("a claim is held no more", intent=claim.intent.id)
