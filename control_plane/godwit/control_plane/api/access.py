"""Who may call: a bearer token on every request but the version."""

import time
from typing import Annotated

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from godwit.control_plane import secrets
from godwit.control_plane.store import access
from godwit.control_plane.store.database import Database
from godwit.domain.errors import Unauthenticated
from sqlalchemy import select

CACHE_S = 5.0
"""For how long a token is believed without looking again: a revoked one works that much longer at most."""

_bearer = HTTPBearer(auto_error=False, description="The token that `godwit up` wrote, or one made later.")


class Doorkeeper:
    """Knows tokens by their hashes; remembers an answer for `CACHE_S`."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._known: dict[str, tuple[float, str]] = {}

    async def actor_of(self, token: str) -> str:
        """The actor behind a token. Raises `Unauthenticated`."""
        digest = secrets.digest(token)
        until, actor = self._known.get(digest, (0.0, ""))
        if until > time.monotonic():
            return actor
        actor = await run_in_threadpool(self._look_up, digest)
        if len(self._known) > 10_000:
            self._known.clear()
        self._known[digest] = (time.monotonic() + CACHE_S, actor)
        return actor

    def _look_up(self, digest: str) -> str:
        with self._db.read() as conn:
            row = conn.execute(select(access.tokens).where(access.tokens.c.hash == digest)).first()
        if row is None:
            raise Unauthenticated
        return f"token {row.id}"


async def person(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> str:
    """The actor of a request by a person or a program."""
    if credentials is None:
        raise Unauthenticated
    doorkeeper: Doorkeeper = request.app.state.doorkeeper
    return await doorkeeper.actor_of(credentials.credentials)


async def machine(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> str:
    """The join token or node credential of an agent's request; the service checks it, in its own transaction."""
    if credentials is None:
        raise Unauthenticated
    return credentials.credentials


Actor = Annotated[str, Depends(person)]
Credential = Annotated[str, Depends(machine)]
