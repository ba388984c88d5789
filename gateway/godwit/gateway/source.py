"""Where routes come from: the control plane or a file; and the copy on disk for when neither answers."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from random import Random

import aiohttp
import structlog
from godwit.domain.errors import InvalidRequest
from godwit.domain.wire.routes import GatewaySignals, RouteTable
from godwit.gateway.settings import Settings
from pydantic import ValidationError

log = structlog.get_logger()

WAIT_S = 20.0
"""How long the control plane may keep a question for news."""

PAUSE_FIRST_S, PAUSE_MAX_S = 0.5, 15.0
FILE_POLL_S = 0.5
TABLE_BYTES_MAX = 256 * 1024 * 1024

_NEVER_TAKEN = frozenset({400, 404, 405, 413, 422})
"""What a report is answered with that would be answered alike the next time."""


def read(path: Path) -> RouteTable:
    """The table in a file; raises `InvalidRequest` when there is none."""
    try:
        return RouteTable.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise InvalidRequest(f"no routes can be read from {path}: {error}") from error


async def once(settings: Settings) -> RouteTable:
    """The table as it is now, of the file or the control plane; raises `InvalidRequest` when neither has one."""
    if settings.routes is not None or settings.url is None:
        return read(settings.routes or Path("routes.json"))
    try:
        async with _session(settings) as session, session.get(f"{settings.url}/v1/routes") as response:
            return _table(response.status, await response.content.read(TABLE_BYTES_MAX))
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise InvalidRequest(f"the control plane at {settings.url} does not answer: {error}; is it up?") from error


def _table(status: int, body: bytes) -> RouteTable:
    if status != 200:
        raise InvalidRequest(f"the control plane answered {status}: {body[:300]!r}")
    return RouteTable.model_validate_json(body)


def _session(settings: Settings) -> aiohttp.ClientSession:
    headers = {"Authorization": f"Bearer {settings.token}"} if settings.token else {}
    return aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=WAIT_S + 10.0))


def keep(path: Path, table: RouteTable) -> None:
    """Write the copy, all or nothing, for the owner only: it holds the hashes of keys."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + f".{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(table.model_dump_json())
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


class Source:
    """Brings tables to `on_table`, for as long as `follow` runs. `table` is the last one, None before the first."""

    def __init__(self, settings: Settings, rng: Random, on_table: Callable[[RouteTable], None]) -> None:
        self.settings, self.rng, self.on_table = settings, rng, on_table
        self.table: RouteTable | None = None
        self.error = ""

    def start(self) -> None:
        """Take what is on disk: the file, or the copy of what the control plane said last.

        Raises `InvalidRequest` when there should be a file and is none; a copy may be missing.
        """
        if self.settings.routes is not None:
            self._take(read(self.settings.routes))
        elif self.settings.cache is not None and self.settings.cache.exists():
            try:
                self._take(read(self.settings.cache))
                log.info("serving by the last known routes", cache=str(self.settings.cache))
            except InvalidRequest as error:
                log.warning("the copy of the routes is of no use", error=error.message)

    async def follow(self) -> None:
        """Keep up with the file or the control plane, until cancelled."""
        if self.settings.routes is not None:
            await self._follow_file(self.settings.routes)
        else:
            await self._follow_control_plane()

    async def _follow_file(self, path: Path) -> None:
        seen = _mark(path)
        while True:
            await asyncio.sleep(FILE_POLL_S)
            mark = _mark(path)
            if mark == seen:
                continue
            try:
                self._take(read(path))
                seen, self.error = mark, ""
            except InvalidRequest as error:
                if self.error != error.message:
                    log.warning("serving by the routes as they were", error=error.message)
                self.error = error.message

    async def _follow_control_plane(self) -> None:
        pause_s = PAUSE_FIRST_S
        async with _session(self.settings) as session:
            while True:
                try:
                    await self._ask(session)
                    pause_s, self.error = PAUSE_FIRST_S, ""
                except (aiohttp.ClientError, TimeoutError, OSError, ValidationError, InvalidRequest) as error:
                    self._note(error)
                    await asyncio.sleep(pause_s * (0.5 + self.rng.random()))
                    pause_s = min(PAUSE_MAX_S, pause_s * 2.0)

    async def _ask(self, session: aiohttp.ClientSession) -> None:
        params = {"wait_s": str(WAIT_S), "gateway": self.settings.name}
        if self.table is not None:
            params["version"] = str(self.table.version)
        async with session.get(f"{self.settings.url}/v1/routes", params=params) as response:
            if response.status == 304:
                return
            table = _table(response.status, await response.content.read(TABLE_BYTES_MAX))
        if self.table is not None and table.version == self.table.version:
            await asyncio.sleep(0.2)  # one that does not wait must not be asked without end
            return
        self._take(table)
        if self.settings.cache is not None:
            await asyncio.to_thread(keep, self.settings.cache, table)

    async def report(self, signals: GatewaySignals) -> bool:
        """Tell the control plane what was seen; False when the same is to be told again."""
        if self.settings.url is None:
            return True
        url, headers = f"{self.settings.url}/v1/routes/signals", {"Content-Type": "application/json"}
        try:
            async with (
                _session(self.settings) as session,
                session.post(url, data=signals.model_dump_json(), headers=headers) as response,
            ):
                if response.status in _NEVER_TAKEN:
                    log.error("the control plane does not take this report", status=response.status)
                return response.status < 300 or response.status in _NEVER_TAKEN
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._note(error)
            return False

    def _note(self, error: Exception) -> None:
        said = f"{type(error).__name__}: {error}"
        if not self.error:
            log.warning("the control plane does not answer; serving by the last known routes", error=said[:500])
        self.error = said

    def _take(self, table: RouteTable) -> None:
        self.table = table
        self.on_table(table)
        replicas = sum(len(service.replicas) for service in table.services)
        log.info("routes", version=table.version, services=len(table.services), replicas=replicas)


def _mark(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
