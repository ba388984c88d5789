"""Writes every request that may change something into the audit log, before its answer leaves."""

import structlog
from fastapi.concurrency import run_in_threadpool
from godwit.control_plane.api import errors, roles
from godwit.control_plane.api.access import SAFE_METHODS
from godwit.control_plane.api.state import State
from godwit.control_plane.services import audit
from godwit.control_plane.store.database import is_away
from godwit.domain.access import Caller
from sqlalchemy.exc import SQLAlchemyError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = structlog.get_logger()


class Auditing:
    """Middleware. What comes without a valid token changes nothing and is not written: anybody could fill the log."""

    def __init__(self, app: ASGIApp, state: State) -> None:
        self._app, self._state = app, state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and write it down once it is known what comes of it."""
        if scope["type"] != "http" or scope["method"] in SAFE_METHODS:
            await self._app(scope, receive, send)
            return

        is_dropped = False

        async def sending(message: Message) -> None:
            nonlocal is_dropped
            if message["type"] == "http.response.start" and not await self._is_written(scope, message["status"]):
                is_dropped = True
                await errors.database_away()(scope, receive, send)
            if not is_dropped:
                await send(message)

        await self._app(scope, receive, sending)

    async def _is_written(self, scope: Scope, status: int) -> bool:
        """Write it down; False when the database went away. Who asked is told to ask again, and that is written."""
        try:
            await self._write(scope, status)
        except SQLAlchemyError as exc:
            if not is_away(exc):
                raise
            log.warning("a change is not in the audit log", path=scope["path"], status=status, why=type(exc).__name__)
            return False
        return True

    async def _write(self, scope: Scope, status: int) -> None:
        caller = scope.get("state", {}).get("caller")
        route = getattr(scope.get("route"), "path", None)
        if not isinstance(caller, Caller) or route is None or not roles.rule_of(scope["method"], route).audited:
            return
        source = scope["client"][0] if scope.get("client") else ""
        context, method, path = self._state.context, scope["method"], scope["path"]
        await run_in_threadpool(audit.add, context, caller, method, route, path, source, status)
