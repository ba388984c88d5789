"""The gateway's process: listens, follows the routes, reports, and leaves in order."""

import asyncio
import gc
import random
import signal
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import suppress

import structlog
import uvicorn
from godwit.domain.errors import InvalidRequest
from godwit.domain.wire.routes import ServiceSignals
from godwit.gateway import leaving, tracing, websockets
from godwit.gateway.connection import bounded
from godwit.gateway.exchange import Sender
from godwit.gateway.http import Receive, Scope, Send
from godwit.gateway.inspection import PREFIX, Inspection
from godwit.gateway.proxy import Proxy
from godwit.gateway.reports import Reports
from godwit.gateway.settings import Settings
from godwit.gateway.source import Source
from godwit.gateway.table import Ref
from godwit.gateway.tally import Window
from godwit.gateway.tracing import Traces

REPORT_S = 2.0
"""How often the control plane hears what was seen: often enough to scale by, and few bytes."""

LEAVE_S = 1.0
"""How long the last report may take: whoever leaves is not waited for where replicas drain."""


def serve(settings: Settings, env: Mapping[str, str]) -> int:
    """Serve until SIGTERM or SIGINT, then let requests end for `drain_s`; returns the exit code.

    `env` says whether requests are traced, and where to. Raises `InvalidRequest` for what cannot be done.
    """
    _configure_log()
    traces = tracing.open_traces(env, settings.name)
    # uvicorn raises a captured signal again once it is down; its default would make a failure of an orderly end.
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    with asyncio.Runner(loop_factory=_config(settings, _nothing).get_loop_factory()) as runner:
        return runner.run(_serve(settings, traces))


async def _serve(settings: Settings, traces: Traces | None) -> int:
    # Its numbers spread load and name requests; the system's own cost a call for each.
    loop, rng = asyncio.get_running_loop(), random.Random(random.SystemRandom().getrandbits(256))  # noqa: S311 - no secrets
    sender = Sender(loop)
    proxy = Proxy(loop, rng, sender, access_log=settings.access_log, traces=traces)
    source = Source(settings, rng, proxy.update)
    source.start()
    listener = _listen(settings)
    inspection = Inspection(proxy)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await websockets.serve(proxy, scope, receive, send)
        elif scope["path"].startswith(PREFIX):
            await inspection.serve(scope, send)
        else:
            await proxy.serve(scope, receive, send)

    server = _Server(_config(settings, app), proxy)
    reporter = _Reporter(settings, proxy, source)
    tasks = [asyncio.create_task(source.follow()), asyncio.create_task(reporter.run())]
    scheme = "https" if settings.tls_certificate else "http"
    sys.stdout.write(f"gateway {settings.name} at {scheme}://{settings.host}:{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    # What was imported stays: looking through it for garbage stops every request for tens of milliseconds.
    gc.collect()
    gc.freeze()
    try:
        await server.serve(sockets=[listener])
    finally:
        proxy.carrier.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(TimeoutError):
            await asyncio.wait_for(reporter.tell(), LEAVE_S)
        await sender.close()
        if traces is not None:
            await asyncio.to_thread(traces.close)
    return 0


class _Server(uvicorn.Server):
    """Tells the proxy when it is asked to leave."""

    def __init__(self, config: uvicorn.Config, proxy: Proxy) -> None:
        super().__init__(config)
        self._proxy = proxy

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As the base class: no new connections, idle ones closed, requests have `drain_s` to end.

        What has come by now is read before, and answered like all else.
        """
        await leaving.settled(sockets or [], self.server_state.connections)
        self._proxy.leaving = True
        await super().shutdown(sockets)


def _config(settings: Settings, app: object) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]  # its own types for the same shapes
        http=bounded(settings.header_bytes_max, settings.header_s),
        ws="websockets-sansio",
        log_level="error",
        access_log=False,
        lifespan="off",
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=int(settings.keep_alive_s),
        timeout_graceful_shutdown=max(1, int(settings.drain_s)),
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
    )


async def _nothing(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """Stands in where only the loop's kind is asked."""


class _Reporter:
    """Tells the control plane what was seen."""

    def __init__(self, settings: Settings, proxy: Proxy, source: Source) -> None:
        self._proxy, self._source = proxy, source
        self._windows: dict[Ref, Window] = {}
        self._reports = Reports(settings.name, time.time(), time.monotonic())

    async def run(self) -> None:
        """Tell it regularly, until cancelled."""
        while True:
            await asyncio.sleep(REPORT_S)
            await self.tell()

    async def tell(self) -> None:
        """Tell all that was seen until now; what is not answered is told the next time."""
        began = time.monotonic()
        while True:
            version, now = self._proxy.index.table.version, time.monotonic()
            report = self._reports.next(self._measure, version, now, draining=self._proxy.leaving)
            is_new = self._reports.ended_at >= began
            if not await self._source.report(report):
                return
            self._reports.answered()
            if is_new:
                return

    def _measure(self) -> list[ServiceSignals]:
        gates = self._proxy.gates
        for gone in self._windows.keys() - gates.keys():
            del self._windows[gone]
        return [
            self._windows.setdefault(ref, Window()).signals(gate.route, gate.tally, gate.regulator)
            for ref, gate in gates.items()
        ]


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise InvalidRequest(f"cannot listen on {settings.host}:{settings.port}: {error}") from error
    listener.listen(2_048)
    listener.setblocking(False)
    return listener


def _configure_log() -> None:
    structlog.configure(
        processors=[structlog.processors.TimeStamper(fmt="iso", utc=True), structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
