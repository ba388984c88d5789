"""Of all control planes on one database, the one that runs the loops; the others serve, and wait to take over."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

import structlog
from godwit.control_plane.contacts import Contact
from godwit.control_plane.context import Context
from godwit.control_plane.loops import Loops
from godwit.control_plane.reconcilers.rolling import Rolling
from godwit.control_plane.store import leases, queries, writes
from godwit.control_plane.store.database import Database
from godwit.control_plane.store.leases import NOBODY, Leased
from godwit.domain.errors import StaleWrite
from godwit.providers.protocol import Provider
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

log = structlog.get_logger()

SHARD = "all"
"""The only shard there is: one process plans for 5,000 nodes in time."""

RENEW_S = 1.0
"""Pause between two renewals, or two looks at another's lease."""

STILL_S = 6.0
"""A lease that was not renewed for so long is taken: six renewals that did not come. With the pauses between looks,
another control plane is at work 8 s after the death of the one before."""


SURE_S = STILL_S - 1.0
"""So long after its last renewal began a holder still knows that nobody has taken its lease, whatever its database
does; the second is for what it has begun by then."""

STEADY_S = 3.0
"""A pause between two renewals that were written beyond which nobody's silence says anything: what agents sent was not
written down either. Less than what makes a node lost (`scheduler.snapshot.Policy`), and more than a renewal that is
slow and its pause."""

FORGIVEN_S = 60.0
"""So long after the first gap silence counts again, although others came soon after it."""

SHARE_S = 5.0
"""How often the one that looks at providers writes down for the others how they do."""

WRITE_S = 30.0
"""How often one that does not lead writes down how hard GPUs worked, as its own agents told it."""

_CONTACTS = "contacts"


class Lease:
    """One shard, as one control plane sees it. `alone`: no other can be there, so that nothing is waited for."""

    def __init__(
        self, db: Database, holder: str, *, alone: bool, shard: str = SHARD, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._db, self._holder, self.alone, self._shard, self._clock = db, holder, alone, shard, clock
        self._seen: Leased | None = None
        self._since = clock()
        self.generation: int | None = None
        """That of the lease that is held; None while another one holds it."""
        self._renewed_at = self._since

    @property
    def is_sure(self) -> bool:
        """Whether it is held for certain at this moment: what another one would do as well is begun only then."""
        lasts = self.alone or self._clock() - self._renewed_at < SURE_S
        return self.generation is not None and lasts

    def step(self) -> bool:
        """Renew the lease, or take it if its holder is gone; whether it is held now. Raises what the database does."""
        began = self._clock()
        try:
            if self.generation is not None:
                with self._db.write() as tx:
                    leases.renew(tx, self._shard, self.generation)
            elif not self._look():
                return False
        except StaleWrite as stale:
            if self.generation is not None:
                log.warning("another control plane runs the loops now", why=stale.message)
            self.generation = None
            self._seen, self._since = None, self._clock()
            return False
        self._renewed_at = began
        return True

    def _look(self) -> bool:
        with self._db.read() as conn:
            found = leases.find(conn, self._shard)
        if found is not None and found != self._seen:
            self._seen, self._since = found, self._clock()
        is_free = found is None or found.holder == NOBODY or self.alone
        if not is_free and self._clock() - self._since < STILL_S:
            return False
        with self._db.write() as tx:
            self.generation = leases.take(tx, self._shard, self._holder, found).generation
        return True

    def fence(self) -> Callable[[Connection], None]:
        """What keeps transactions of the lease held now from writing once it is lost."""
        generation = self.generation or 0
        return lambda conn: leases.check(conn, self._shard, generation)

    def give_up(self) -> None:
        """Let the next one take it at once."""
        if self.generation is not None:
            with self._db.write() as tx:
                leases.give_up(tx, self._shard, self.generation)
            self.generation = None


class Pulse:
    """Whether what should be written each second was written. Who cannot write holds nobody's silence against him.

    A database that hung and answers again shows all nodes as they were before: none of them had a chance to be heard.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._beat_at = self._gap_ended_at = self._slow_since = now()

    def beat(self) -> None:
        """It was written now."""
        now = self._now()
        if now - self._beat_at > STEADY_S:
            self._slow_since, self._gap_ended_at = self._slow_as_of(now), now
        self._beat_at = now

    def steady_since(self) -> float:
        """Since when there was no gap, in seconds since the epoch; the present while there is one.

        It stands still once gaps have come for `FORGIVEN_S`: somebody has to be missed even by one who is slow.
        """
        now = self._now()
        if now - self._beat_at > STEADY_S:
            return min(now, self._slow_as_of(now) + FORGIVEN_S)
        return min(self._gap_ended_at, self._slow_since + FORGIVEN_S)

    def _slow_as_of(self, now: float) -> float:
        """When the first gap ended of those that come one after the other, the one that ends now among them."""
        return self._slow_since if self._beat_at - self._gap_ended_at <= FORGIVEN_S else now


class Leading:
    """Runs the loops while the lease is held. `refresh` is called with each look: what other replicas changed."""

    def __init__(self, context: Context, lease: Lease, refresh: Callable[[], None] = lambda: None) -> None:
        self._context, self._lease, self._refresh = context, lease, refresh
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leading", daemon=True)
        self._loops: Loops | None = None
        self._fenced = context.db
        self._shared_at, self._wrote_at = -SHARE_S, time.monotonic()
        self._rolling = Rolling(context)
        self._pulse = Pulse(context.now)

    @property
    def is_leading(self) -> bool:
        """Whether this control plane runs the loops."""
        return self._loops is not None

    def contacts(self) -> Mapping[str, Contact]:
        """How the last look at each provider went; where another control plane looks, as it wrote that down."""
        loops = self._loops
        if loops is not None:
            return loops.contacts()
        with self._context.db.read() as conn:
            text = queries.meta(conn, _CONTACTS)
        told: dict[str, dict[str, Any]] = json.loads(text or "{}")
        return {name: Contact(**{**of, "foreign_ids": tuple(of["foreign_ids"])}) for name, of in told.items()}

    def watch(self, provider: Provider) -> None:
        """Watch a provider, if this control plane is the one that watches."""
        loops = self._loops
        if loops is not None:
            loops.watch(provider)

    def start(self) -> None:
        """Begin to look after the lease."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the loops and give the lease up, so that another control plane need not wait."""
        self._stopping.set()
        self._thread.join(5.0)
        if self._loops is not None:
            self._loops.stop()
        try:
            self._lease.give_up()
        except SQLAlchemyError as exc:
            log.warning("the lease could not be given up; it runs out by itself", why=type(exc).__name__)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._step()
            self._stopping.wait(RENEW_S)

    def _step(self) -> None:
        try:
            led = self._lease.step()
            self._pulse.beat()
            self._refresh()
        except Exception:
            # The loops go on: should the lease be lost meanwhile, its fence keeps them from writing.
            log.exception("the lease could not be looked after")
            return
        if led and self._loops is None:
            self._begin()
        elif not led and self._loops is not None:
            loops, self._loops = self._loops, None
            loops.stop()
            self._context.instruments.all_ended()  # else their last steps would look as if they hung
        elif self._loops is not None and not self._lease.alone:
            self._share(self._loops)
        elif self._loops is None:
            self._write_minutes()

    def _write_minutes(self) -> None:
        now = time.monotonic()
        if now - self._wrote_at < WRITE_S:
            return
        self._wrote_at = now
        try:
            self._rolling.write()
        except (StaleWrite, SQLAlchemyError) as exc:
            log.warning("how hard GPUs worked is written later", why=type(exc).__name__)

    def _share(self, loops: Loops) -> None:
        now = time.monotonic()
        if now - self._shared_at < SHARE_S:
            return
        self._shared_at = now
        text = json.dumps({name: asdict(contact) for name, contact in loops.contacts().items()})
        try:
            with self._fenced.write() as tx:
                writes.replace_meta(tx, _CONTACTS, text)
        except (StaleWrite, SQLAlchemyError) as exc:
            log.warning("others do not learn how providers do", why=type(exc).__name__)

    def _begin(self) -> None:
        self._fenced = fenced = self._context.db.fenced(self._lease.fence())
        # What is silent now may have been heard by nobody: the planner counts from here.
        lease, pulse = self._lease, self._pulse
        self._loops = Loops(
            replace(
                self._context, db=fenced, serving_since=self._context.now(), leads=lambda: lease.is_sure,
                steady_since=pulse.steady_since,
            )
        )  # fmt: skip
        self._loops.start()
        log.info("runs the loops", generation=self._lease.generation)
