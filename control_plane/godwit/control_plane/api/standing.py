"""Whether who began something that goes on for hours may still have it: a stream, a terminal.

It is looked at again when somebody may have been shut out, which control planes tell each other, and every `LOOK_S`,
should that word be lost.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from fastapi import Request
from godwit.control_plane import hints, keyring
from godwit.control_plane.api import access
from godwit.control_plane.api.access import COOKIE, Doorkeeper
from godwit.control_plane.api.state import State
from godwit.domain.errors import Forbidden, NotFound, Unauthenticated
from sqlalchemy.exc import SQLAlchemyError

log = structlog.get_logger()

LOOK_S = 10.0
"""How often it is looked without a word of a change. That a token has expired is told by no word at all."""


@dataclass(frozen=True)
class Standing:
    """Who began something, by the hash of their token or cookie, and the request that they may go on with or not."""

    state: State
    doorkeeper: Doorkeeper
    digest: str
    is_session: bool
    method: str
    route: str
    path: Mapping[str, str]
    query: Mapping[str, str]

    @classmethod
    def of(cls, request: Request) -> "Standing":
        """That of a request which was let through."""
        bearer = request.headers.get("authorization", "").partition(" ")[2].strip()
        return cls(
            request.app.state.godwit, request.app.state.doorkeeper,
            keyring.digest(bearer or request.cookies.get(COOKIE, "")), not bearer,
            request.method, request.scope["route"].path, dict(request.path_params), dict(request.query_params),
        )  # fmt: skip

    async def lasts(self) -> bool:
        """Whether the same request would be let through now. While the database cannot be asked, nobody is shut out."""
        try:
            caller = await self.doorkeeper.known(self.digest, is_session=self.is_session)
            await access.let_through(self.state, caller, self.method, self.route, dict(self.path), self.query)
        except (Unauthenticated, Forbidden, NotFound) as shut_out:
            log.info("what somebody had open is closed", route=self.route, why=type(shut_out).__name__)
            return False
        except SQLAlchemyError as exc:
            log.warning("whether somebody was shut out is not known", route=self.route, why=type(exc).__name__)
        return True

    async def over(self) -> None:
        """Wait until it does not last any more."""
        told = self.state.context.hints
        seen = told.count(hints.ACCESS)
        while await self.lasts():
            await told.wait_async(hints.ACCESS, seen, LOOK_S)
            seen = told.count(hints.ACCESS)
