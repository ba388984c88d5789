"""The real gateway as a process, with replicas and clients in the test's own event loop."""

import asyncio
import hashlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from godwit.domain.wire.routes import KeyRoute, ReplicaRoute, RouteTable, ServiceRoute, VersionRoute

from benchmarks.gateway.replica import Replica

PATIENCE_S = 60.0
"""For whatever must happen on a machine that is busy with other tests."""

KEY = "sk-a-key-of-a-test"


def service(replicas: Sequence[Replica], **more: Any) -> ServiceRoute:
    """The service `chat` of project `p`, with these replicas."""
    listed = [ReplicaRoute(id=one.name, url=one.url, version="1") for one in replicas]
    facts: dict[str, Any] = {"name": "chat", "project": "p", "keyless": True, "models": ["small"]}
    facts |= {"versions": [VersionRoute(name="1")], "replicas": listed}
    return ServiceRoute.model_validate(facts | more)


def key(**more: Any) -> KeyRoute:
    """The key `KEY`, of project `p`."""
    return KeyRoute.model_validate(
        {"id": "k", "sha256": hashlib.sha256(KEY.encode()).hexdigest(), "project": "p"} | more
    )


class Running:
    """A gateway that runs: `url` is its own, `client` talks to it. `log` is what it wrote so far."""

    def __init__(self, folder: Path, process: asyncio.subprocess.Process, url: str) -> None:
        self.folder, self.process, self.url = folder, process, url
        self.chat = f"{url}/services/p/chat"
        self.client = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_S))

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return "127.0.0.1", int(self.url.rpartition(":")[2])

    @property
    def log(self) -> str:
        """What it wrote so far."""
        return (self.folder / "log").read_text()

    async def state(self) -> dict[str, Any]:
        """What /-/state says of the service."""
        async with self.client.get(f"{self.url}/-/state") as response:
            found: dict[str, Any] = await response.json()
        return found

    async def stop(self) -> int:
        """Ask it to leave; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), PATIENCE_S)


def write(folder: Path, services: Sequence[ServiceRoute], *, version: int = 1, keys: Sequence[KeyRoute] = ()) -> Path:
    """Write a routes file, all or nothing; its path."""
    path, beside = folder / "routes.json", folder / "routes.new"
    beside.write_text(RouteTable(version=version, services=list(services), keys=list(keys)).model_dump_json())
    beside.replace(path)
    return path


@asynccontextmanager
async def running(
    folder: Path,
    services: Sequence[ServiceRoute] = (),
    *,
    keys: Sequence[KeyRoute] = (),
    more: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
) -> AsyncIterator[Running]:
    """A gateway on a routes file, or on what `more` and `env` say when no services are given."""
    arguments = ["--routes", str(write(folder, services, keys=keys))] if services else []
    command = [sys.executable, "-m", "godwit.gateway", "--port", "0", *arguments, *more]
    with (folder / "log").open("w") as log:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=log, env={**os.environ, **(env or {})}
        )
    assert process.stdout is not None
    gateway: Running | None = None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)
        assert line, (folder / "log").read_text()
        gateway = Running(folder, process, line.decode().split()[-1])
        yield gateway
    finally:
        if gateway is not None:
            await gateway.client.close()
        if process.returncode is None:
            process.kill()
            await process.wait()


async def until(condition: Any, what: str) -> None:
    """Wait until `condition()`, which may be awaitable, is true."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return
        assert asyncio.get_running_loop().time() < deadline, f"it did not come to this: {what}"
        await asyncio.sleep(0.02)
