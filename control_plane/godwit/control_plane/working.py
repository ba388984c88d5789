"""A worker: takes messages from the broker and carries the intents out that they name. Any number of them may run.

Wired beside `embedded`, on the same home and the same database; no loops, no API, and no lease: its claims are its own.
"""

import os
import random
import socket
import threading
from dataclasses import replace
from pathlib import Path

import structlog
from godwit.control_plane import settings as settings_module
from godwit.control_plane.context import Context
from godwit.control_plane.executors import dispatching
from godwit.control_plane.executors.claims import RENEW_S, Claims
from godwit.control_plane.executors.database_clock import DatabaseClock
from godwit.control_plane.executors.launching import Executor
from godwit.control_plane.executors.pacing import Paces
from godwit.control_plane.executors.watched import Watched
from godwit.control_plane.hints import Hints
from godwit.control_plane.home import Home
from godwit.control_plane.metrics.reading import Exposition
from godwit.control_plane.roster import Roster
from godwit.control_plane.services.providers import Accounts
from godwit.control_plane.settings import Settings
from godwit.control_plane.store import queries
from godwit.control_plane.store.database import WORKING, Database, open_engine
from godwit.control_plane.store.in_line import Patience
from godwit.control_plane.tracing import TracedCalls, open_spans
from godwit.domain.errors import Conflict, InvalidRequest, NotFound
from godwit.domain.ids import IdSource, IntentId
from godwit.providers import registry
from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

log = structlog.get_logger()

CLOCK_EVERY = 8
"""The clock is set anew with every so many renewals: half a minute, in which no quartz loses a millisecond."""


def work(folder: Path, concurrency: int, port: int | None) -> None:
    """Carry intents out on `folder` until told to stop; blocks, in the main thread. `port`: of /healthz and /metrics.

    Raises `InvalidRequest` or `Conflict` where there is nothing to work for.
    """
    settings = settings_module.read(folder)
    if settings.broker is None:
        raise InvalidRequest(
            f"there is nothing to work for: GODWIT_BROKER_URL is not set, and {folder / 'config.yaml'} names no broker "
            "under `executors`"
        )
    if make_url(settings.database_url).get_backend_name() == "sqlite":
        raise Conflict("workers share a PostgreSQL with the control plane: set `database`")
    # The home of an extra: whoever has no workers need not have it.
    from godwit.control_plane.executors import over_celery  # noqa: PLC0415

    if settings.simulated:
        registry.start_simulated(folder)
    home, metrics, name, pacing = Home(folder), TracedCalls(), _name(), Paces()
    roster = Roster(registry.build(settings.providers, folder, metrics=metrics, pacing=pacing.of))
    db = Database(open_engine(settings.database_url, WORKING, Patience()), sender=name)
    pacing.share(db)
    context, clock = _context(home, settings, db, roster, name)
    accounts = Accounts(context, roster, home.vault(), folder, metrics, pacing.of)
    worker = Worker(context, accounts, Claims(db, name), clock)
    watched = Watched(settings.listen, port, Exposition(context, metrics, dict, lambda: False), worker.is_well)
    worker.start()
    watched.start(shows_metrics=settings.open_metrics)
    log.info("works", name=name, broker=settings.broker.shown, identity=context.identity, at_once=concurrency)
    try:
        over_celery.work(settings.broker, context.identity, worker.carry_out, concurrency)
    finally:
        watched.stop()
        worker.stop()
        db.close()
        context.spans.close()


class Worker:
    """What a message leads to, and a thread that renews claims; `carry_out` may be called in several threads."""

    def __init__(self, context: Context, accounts: Accounts, claims: Claims, clock: DatabaseClock) -> None:
        self._context, self._accounts, self._claims, self._clock = context, accounts, claims, clock
        self._loading, self._stopping = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._renew, name="claims", daemon=True)
        self._well = True

    def start(self) -> None:
        """Begin to renew claims."""
        self._thread.start()

    def stop(self) -> None:
        """Renew no more; what is still held runs out by itself."""
        self._stopping.set()
        self._thread.join(5.0)

    def is_well(self) -> bool:
        """Whether the database answered lately."""
        return self._well

    def carry_out(self, intent_id: IntentId) -> None:
        """Carry one intent out, unless that is owed no more or not now. Raises what the database does."""
        outcome = "failed"
        try:
            with self._loading:
                self._accounts.load()  # people add providers, and buy from them within the second
            with self._context.db.read() as conn:
                url = queries.meta(conn, dispatching.URL) or self._context.url
            done = Executor(replace(self._context, url=url), self._claims).carry_out(intent_id)
            outcome = "carried" if done else "nothing"
        except NotFound:
            outcome = "nothing"  # a message of before a restore
        finally:
            self._context.instruments.took(outcome)

    def _renew(self) -> None:
        count = 0
        while not self._stopping.wait(RENEW_S):
            count += 1
            try:
                if count % CLOCK_EVERY == 0:
                    self._clock.set()
                self._claims.renew(self._context.now())
                with self._context.db.read():
                    self._well = True
            except Exception:
                self._well = False
                log.exception("claims could not be renewed; they run out, and another worker goes on")


def _context(home: Home, settings: Settings, db: Database, roster: Roster, name: str) -> tuple[Context, DatabaseClock]:
    try:
        with db.read() as conn:
            identity = queries.meta(conn, "identity")
    except SQLAlchemyError as exc:
        raise Conflict(
            f"the database cannot be read ({type(exc).__name__}): start a control plane on it first"
        ) from exc
    if identity is None:
        raise Conflict("no control plane has begun on this database yet: start one first")
    clock = DatabaseClock(db)
    context = Context(
        db=db,
        hints=Hints(),
        clock=clock,
        ids=IdSource(clock.now, random.SystemRandom()),
        keyring=home.keyring(),
        providers=roster,
        identity=identity,
        url=settings.url,
        store_url=settings.store_url,
        serving_since=clock.now(),
        policy=settings.policy,
        spans=open_spans(os.environ, name),
        agent_package=settings.agent_package,
        agents_tls=settings.agents_tls,
    )
    return context, clock


def _name() -> str:
    """What tells this worker from others: it stands in the rows that it holds."""
    return f"{socket.gethostname()[:40]}.worker.{os.getpid()}"
