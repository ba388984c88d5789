"""The embedded control plane: API, planner, executor and watches in one process, on one home.

This is the wiring, the one place that picks implementations.
"""

import asyncio
import os
import random
import socket
from dataclasses import replace
from pathlib import Path

import structlog
import uvicorn
from godwit.control_plane import accepting, agents_tls, ending, interpreter, keyring, peers
from godwit.control_plane import settings as settings_module
from godwit.control_plane.agents_listener import AgentsListener, Server
from godwit.control_plane.api.app import create_app
from godwit.control_plane.api.certified import Certified
from godwit.control_plane.api.hearing import Hearing
from godwit.control_plane.api.state import State
from godwit.control_plane.brief import among
from godwit.control_plane.clearing import Clearing
from godwit.control_plane.connection import Line
from godwit.control_plane.context import Context
from godwit.control_plane.crowd import Crowd, bounds_of_process
from godwit.control_plane.executors.brokers import Courier
from godwit.control_plane.executors.pacing import Paces
from godwit.control_plane.hints import Hints
from godwit.control_plane.home import Holder, Home
from godwit.control_plane.leading import Leading, Lease
from godwit.control_plane.metrics.instruments import Instruments
from godwit.control_plane.roster import Roster
from godwit.control_plane.services import rekeying
from godwit.control_plane.services.archives import Shelf
from godwit.control_plane.services.logins import Vouches
from godwit.control_plane.services.logs import LogStore
from godwit.control_plane.services.providers import Accounts
from godwit.control_plane.services.terminals import Terminals
from godwit.control_plane.settings import Settings
from godwit.control_plane.store import access, queries, writes
from godwit.control_plane.store.database import SERVING, Database, open_engine
from godwit.control_plane.store.in_line import Patience
from godwit.control_plane.telling import Telling
from godwit.control_plane.tracing import Spans, TracedCalls, open_spans
from godwit.control_plane.wakes import Listener
from godwit.domain.clock import SteadyClock
from godwit.domain.errors import Conflict
from godwit.domain.ids import IdSource
from godwit.domain.wire.dev import CHUNK_BYTES
from godwit.providers import registry
from sqlalchemy import make_url

log = structlog.get_logger()

KEEP_ALIVE_S = 75
"""How long an idle connection stays open: longer than agents pause between two heartbeats, so that it is never closed
just when the next one is sent. nginx's default."""


def serve(folder: Path) -> None:
    """Run a control plane on `folder` until it is told to stop. Raises `Conflict` when another one holds it."""
    settings = settings_module.read(folder)
    is_alone = make_url(settings.database_url).get_backend_name() == "sqlite"
    if settings.replica and is_alone:
        raise Conflict("several control planes share a PostgreSQL only: set `database`, or leave GODWIT_REPLICA out")
    if settings.broker is not None and is_alone:
        raise Conflict("workers share a PostgreSQL with the control plane: set `database`, or leave `executors` out")
    home = Home(folder, settings.replica)
    interpreter.prepare()
    with home.hold():
        if settings.simulated:
            registry.start_simulated(folder)
        listener = home.listen(settings.port, settings.listen)
        metrics, spans, pacing = TracedCalls(), open_spans(os.environ, _process_name(settings)), Paces()
        roster = Roster(registry.build(settings.providers, folder, metrics=metrics, pacing=pacing.of))
        context = _context(home, settings, listener, roster, spans)
        pacing.share(context.db)
        context = replace(context, courier=_courier(settings, context.identity))
        agents = _agents_listener(settings, home, context)
        if agents is not None:
            context = replace(context, agents_tls=agents.tls)
        accounts = Accounts(context, roster, home.vault(), folder, metrics, pacing.of)
        accounts.load()
        rekeying.to_present_key(context, home.vault())
        leading = Leading(context, Lease(context.db, _process_name(settings), alone=is_alone), accounts.load)
        roster.on_add = leading.watch
        shelf, logs = Shelf(folder / "archives"), LogStore(folder / "logs")
        state = State(
            context, shelf, logs, accounts, leading.contacts, open_metrics=settings.open_metrics,
            leads=lambda: leading.is_leading, limits=settings.limits, login=_provider(settings, context),
            terminals=Terminals("" if is_alone else _own_url(settings, listener)),
        )  # fmt: skip
        app = create_app(state)
        heard = Hearing(app, state)
        server = Server(
            uvicorn.Config(
                heard if agents is None else Certified(heard, context, agents.tls, agents.trusted),
                log_level="warning",
                access_log=False,
                timeout_graceful_shutdown=2,
                lifespan="off",
                # With a listener of their own, agents show a certificate, of which ASGI knows.
                http=among(_crowd(context.instruments), heard if agents is None else None),
                backlog=accepting.BACKLOG,
                ws=Line,
                timeout_keep_alive=KEEP_ALIVE_S,
                # A terminal that waits for its reader answers no pings; whether its environment lives is looked at.
                ws_ping_timeout=None,
                ws_max_size=4 * CHUNK_BYTES,
                ws_per_message_deflate=False,
            ),
            agents,
        )
        listener_of_hints = _listen_for_hints(settings, context) if not is_alone else None
        ending.log_no_cuts()  # once uvicorn has set up its log
        if settings.replica and not settings.url:
            log.warning(
                "`url` is not set in config.yaml: nodes are told this control plane's own address, and are lost with "
                "it; name that of the proxy before all of them", told=context.url,
            )  # fmt: skip
        beside: list[Leading | Clearing | Telling] = [leading, Clearing(context, shelf, logs, settings.keeping)]
        beside += [] if is_alone else [Telling(context, _process_name(settings))]
        for one in beside:
            one.start()
        try:
            # uvicorn's choice of loop (uvloop where there is one), which its own `run` would make.
            with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
                runner.run(_serve(server, listener, home, context))
        finally:
            for one in beside:
                one.stop()
            if listener_of_hints is not None:
                listener_of_hints.stop()
            home.withdraw()
            context.db.close()
            spans.close()


async def _serve(server: Server, listener: socket.socket, home: Home, context: Context) -> None:
    """Serve, and say where once it does."""
    serving = asyncio.create_task(server.serve(sockets=accepting.several(listener)))
    keeping_up = None if server.agents is None else asyncio.create_task(server.agents.keep_up())
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    if server.started:
        home.announce(Holder(os.getpid(), _loopback(listener), context.identity))
        log.info("serving", url=context.url, identity=context.identity, providers=sorted(context.providers))
    await serving
    if keeping_up is not None:
        keeping_up.cancel()


def _context(home: Home, settings: Settings, listener: socket.socket, roster: Roster, spans: Spans) -> Context:
    clock, hints = SteadyClock(), Hints()
    db = Database(open_engine(settings.database_url, SERVING, Patience()), hints.announce, _process_name(settings))
    db.migrate()
    ids = IdSource(clock.now, random.SystemRandom())
    return Context(
        db=db,
        hints=hints,
        clock=clock,
        ids=ids,
        keyring=home.keyring(),
        providers=roster,
        identity=_introduce(db, home.token(), ids, clock.now()),
        url=settings.url or _loopback(listener),
        store_url=settings.store_url,
        serving_since=clock.now(),
        policy=settings.policy,
        heartbeat_s=settings.agents.heartbeat_s,
        credential_s=settings.agents.credential_s,
        targets=settings.targets,
        spans=spans,
        prometheus=settings.prometheus,
        agent_package=settings.agent_package,
        envelope=home.envelope(),
    )


def _agents_listener(settings: Settings, home: Home, context: Context) -> AgentsListener | None:
    if settings.agents_tls is None:
        return None
    tls = settings.agents_tls
    listener = home.listen(tls.port, tls.listen, "agents_port", agents_tls.DEFAULT_PORT)
    tls = replace(tls, url=tls.url or f"https://127.0.0.1:{listener.getsockname()[1]}")
    log.info("agents have a listener of their own", url=tls.url, required=tls.required)
    return AgentsListener(context, tls, home.folder, listener)


def _courier(settings: Settings, identity: str) -> Courier | None:
    if settings.broker is None:
        return None
    # The home of an extra: whoever has no workers need not have it.
    from godwit.control_plane.executors import over_celery  # noqa: PLC0415

    return over_celery.OverCelery(settings.broker, identity)


def _provider(settings: Settings, context: Context) -> Vouches | None:
    """Who vouches for people, asked when somebody logs in first."""
    if settings.login is None:
        return None
    from godwit.control_plane.login.provider import Provider  # noqa: PLC0415 - 0.1 s that only this branch needs

    return Provider(settings.login, context.now)


def _listen_for_hints(settings: Settings, context: Context) -> Listener:
    listener = Listener(settings.database_url, _process_name(settings), context.hints.announce)
    listener.start()
    return listener


def _process_name(settings: Settings) -> str:
    """What tells this control plane from others on its database."""
    return f"{socket.gethostname()[:24]}.{settings.replica[-36:] or os.getpid()}"


def _own_url(settings: Settings, listener: socket.socket) -> str:
    url = peers.own_url(settings.listen, listener.getsockname()[1], settings.peer_url)
    if settings.replica and not settings.peer_url and peers.is_of_one_machine(url):
        log.warning(
            "no address is known at which control planes on other machines reach this one: terminals do not meet "
            "there; name it in GODWIT_PEER_URL, unless all are on this machine", told=url,
        )  # fmt: skip
    return url


def _loopback(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def _crowd(instruments: Instruments) -> Crowd:
    crowd = Crowd(bounds_of_process(), instruments.connection_ended)
    instruments.connections(lambda: len(crowd))
    return crowd


def _introduce(db: Database, token: str, ids: IdSource, now: float) -> str:
    """Make sure that the database has an identity and knows the home's token; returns the identity."""
    digest = keyring.digest(token)
    with db.write() as tx:
        identity = queries.meta(tx.conn, "identity")
        if identity is None:
            identity = ids.new("godwit")
            writes.set_meta(tx, "identity", identity)
        known = tx.conn.execute(access.tokens.select().where(access.tokens.c.hash == digest)).first()
        if known is None:
            writes.add_token(tx, ids.new("token"), digest, "admin", now)
    return identity
