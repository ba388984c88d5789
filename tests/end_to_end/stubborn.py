"""A simulated cloud served by the test itself: it knows no launch tokens, is slow, and counts what it is asked for."""

import asyncio
import json
import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from godwit.domain.clock import SystemClock
from godwit.providers import files
from godwit.providers.simulated import catalogue
from godwit.providers.simulated.cloud import Cloud
from godwit.providers.simulated.host import Host
from godwit.providers.simulated.paper import PaperMachines
from godwit.providers.simulated.sales import CloudSettings
from godwit.providers.simulated.server import Api
from starlette.requests import Request
from starlette.responses import Response

NAME = "sim-aurora"


class Stubborn(Cloud):
    """Sells another machine for each call, also for a token that it has seen; `calls` are the tokens it was shown."""

    calls: list[str]

    def launch(self, order: dict[str, Any]) -> dict[str, Any]:
        token = order["client_token"]
        view = super().launch({**order, "client_token": f"call {len(self.calls)}"})
        self.calls.append(token)
        self._rentals[view["id"]].token = token
        return {**view, "client_token": token}


class Slow(Api):
    """Launches take effect after `before_s`, and are answered `after_s` later."""

    before_s = after_s = 0.0
    begun = 0

    async def launch(self, request: Request) -> Response:
        self.begun += 1
        await asyncio.sleep(self.before_s)
        answer = await super().launch(request)
        await asyncio.sleep(self.after_s)
        return answer


@contextmanager
def serving(home: Path) -> Iterator[tuple[Stubborn, Slow]]:
    """The cloud of this home, for whoever has it in its configuration, and the server before it."""
    host = Host(home / "simulated", SystemClock(), random.Random(1))
    spec = catalogue.BUILT_IN[NAME]
    settings = CloudSettings(spec.name, spec.index, "127.99.1", spec.shapes)
    cloud = Stubborn(settings, SystemClock(), random.Random(2), PaperMachines())
    cloud.calls = []
    host.clouds = {NAME: cloud}
    api = Slow(host, stop=lambda: None)
    server = uvicorn.Server(uvicorn.Config(api.app(), log_level="warning", port=0))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.02)
        assert thread.is_alive(), "the cloud did not start"
    port = server.servers[0].sockets[0].getsockname()[1]
    record = {"url": f"http://127.0.0.1:{port}", "pid": os.getpid()}
    files.write_private(home / "simulated" / "server.json", json.dumps(record))
    try:
        yield cloud, api
    finally:
        server.should_exit = True
        thread.join(30)
        host.close()
