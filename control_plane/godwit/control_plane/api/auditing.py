"""Writes every request that may change something into the audit log: with its change, or before its answer leaves."""

import structlog
from fastapi.concurrency import run_in_threadpool
from godwit.control_plane.api import errors, roles
from godwit.control_plane.api.access import SAFE_METHODS
from godwit.control_plane.api.state import State
from godwit.control_plane.services.audit import Asked, Entry
from godwit.control_plane.services.logins import CALLBACK
from godwit.control_plane.store import alongside
from godwit.control_plane.store.outages import is_away
from godwit.domain.access import Caller
from sqlalchemy.exc import SQLAlchemyError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = structlog.get_logger()

CRASHED = 500


class Auditing:
    """Middleware. What comes without a valid token changes nothing and is not written: anybody could fill the log."""

    def __init__(self, app: ASGIApp, state: State) -> None:
        self._app, self._state = app, state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its entry, which the first change takes along, and settle that by the answer."""
        if scope["type"] != "http" or (scope["method"] in SAFE_METHODS and scope["path"] != CALLBACK):
            await self._app(scope, receive, send)
            return

        entry = Entry(self._state.context, lambda: _asked(scope))
        is_dropped, is_begun = False, False

        async def sending(message: Message) -> None:
            nonlocal is_dropped, is_begun
            if message["type"] == "http.response.start":
                is_begun = True
                if not await _is_settled(entry, scope, message["status"]):
                    is_dropped = True
                    await errors.database_away()(scope, receive, send)
            if not is_dropped:
                await send(message)

        with alongside.riding(entry):
            try:
                await self._app(scope, receive, sending)
            except Exception:
                # It is answered further out, where crashes are.
                if not is_begun:
                    await _is_settled(entry, scope, CRASHED)
                raise


async def _is_settled(entry: Entry, scope: Scope, status: int) -> bool:
    """Write it down; False when the database went away. Who asked is told to ask again, and that is written."""
    try:
        await run_in_threadpool(entry.settle, status)
    except SQLAlchemyError as exc:
        if not is_away(exc):
            raise
        log.warning("an answer is not in the audit log", path=scope["path"], status=status, why=type(exc).__name__)
        return False
    return True


def _asked(scope: Scope) -> Asked | None:
    """What is asked, as far as it is known by now who asks and by which route."""
    caller, route = scope.get("state", {}).get("caller"), scope.get("route")
    pattern = getattr(route, "path", None)
    if not isinstance(caller, Caller) or pattern is None or not roles.rule_of(scope["method"], pattern).audited:
        return None
    source = scope["client"][0] if scope.get("client") else ""
    answers = getattr(route, "status_code", None) or 200
    return Asked(caller, scope["method"], pattern, scope["path"], source, answers)
