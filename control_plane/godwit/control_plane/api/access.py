"""Who may call: a bearer token or a browser's session, whose role and project the table in `roles` lets through."""

import time
from collections.abc import Mapping, MutableMapping
from typing import Annotated

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from godwit.control_plane import hints, keyring
from godwit.control_plane.api import roles
from godwit.control_plane.api.last_uses import LastUses
from godwit.control_plane.api.roles import Reach, Rule
from godwit.control_plane.api.state import Godwit, State
from godwit.control_plane.context import Context
from godwit.control_plane.services import reach, sessions, tokens
from godwit.domain.access import Caller, Role
from godwit.domain.errors import Forbidden, Unauthenticated
from godwit.domain.wire.specs import JobSpecIn

CACHE_S = 5.0
"""For how long a token is believed without looking again. One that is revoked ends at once here, and at other replicas
of the API when the database tells them; should that word be lost, so much later at most."""

CACHED_MAX = 10_000

COOKIE = "godwit_session"

DASHBOARD_HEADER = "X-Godwit-Dashboard"
"""What a page of another origin cannot send: a request that changes something by a cookie must carry it."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

bearer = HTTPBearer(auto_error=False, description="The token that `godwit up` wrote, or one of `godwit tokens create`.")


class Doorkeeper:
    """Knows tokens and sessions by their hashes; remembers an answer for `CACHE_S`, or until it is told of a change."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._known: dict[str, tuple[float, Caller]] = {}
        self._changes = 0
        self.uses = LastUses(context)

    async def caller_of(self, secret: str, *, is_session: bool = False) -> Caller:
        """Who is behind a token, or behind a session's cookie. Raises `Unauthenticated`."""
        caller = await self.known(keyring.digest(secret), is_session=is_session)
        if caller.token_id is not None and not is_session:
            self.uses.note(caller.token_id, self._context.now())
        return caller

    async def known(self, digest: str, *, is_session: bool) -> Caller:
        """The same by a hash, for what goes on: that is no use of a token."""
        # Counted before the look: who was shut out since then is looked for again.
        changes = self._context.hints.count(hints.ACCESS)
        if changes != self._changes:
            self._known, self._changes = {}, changes
        known = self._known.get(digest)
        now = time.monotonic()
        if known is not None and known[0] > now and self._is_still(known[1], is_session=is_session):
            return known[1]
        find = sessions.behind if is_session else tokens.behind_token
        caller = await run_in_threadpool(find, self._context, digest)
        if len(self._known) > CACHED_MAX:
            self._known.clear()
        if changes == self._changes:
            self._known[digest] = (now + CACHE_S, caller)
        return caller

    def _is_still(self, caller: Caller, *, is_session: bool) -> bool:
        ends = caller.expires_at
        return (caller.session_id is not None) == is_session and (ends is None or ends > self._context.now())


Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]


async def who(request: Request, state: Godwit, credentials: Credentials) -> Caller:
    """The caller of a request, if its role and its project let it through. Raises `Unauthenticated`, `Forbidden`."""
    caller = await _known(request, credentials)
    request.state.caller = caller
    path = request.scope["route"].path
    await let_through(state, caller, request.method, path, request.path_params, request.query_params)
    return caller


async def let_through(
    state: State, caller: Caller, method: str, route: str, path: MutableMapping[str, str], query: Mapping[str, str]
) -> None:
    """Raise `Forbidden` or `NotFound` unless a caller's role, scopes and project let a request through.

    `route` is its path as the description has it; names in `path` become the ids of what they mean.
    """
    rule = roles.rule_of(method, route)
    if isinstance(rule.least, Role) and not caller.role.may(rule.least):
        raise Forbidden(_too_little(method, route, caller, rule.least))
    if not roles.within(caller.scopes, route):
        raise Forbidden(_too_narrow(method, route, caller))
    if caller.project is not None:
        await run_in_threadpool(_within, state, caller.project, rule, path, query)


async def _known(request: Request, credentials: HTTPAuthorizationCredentials | None) -> Caller:
    doorkeeper: Doorkeeper = request.app.state.doorkeeper
    if credentials is not None:
        return await doorkeeper.caller_of(credentials.credentials)
    cookie = request.cookies.get(COOKIE)
    if not cookie:
        raise Unauthenticated
    caller = await doorkeeper.caller_of(cookie, is_session=True)
    if request.method not in SAFE_METHODS and DASHBOARD_HEADER not in request.headers:
        raise Forbidden(f"a session's request that changes something must carry the header {DASHBOARD_HEADER}: 1")
    return caller


def _too_little(method: str, path: str, caller: Caller, least: Role) -> str:
    return (
        f"{method} {path} needs the role {least}, and {caller.actor} has the role {caller.role}; "
        f"an administrator makes a token that has it: `godwit tokens create NAME --role {least}`"
    )


def _too_narrow(method: str, path: str, caller: Caller) -> str:
    return (
        f"{method} {path} is not among what {caller.actor} was narrowed to ({', '.join(caller.scopes)}); "
        "an administrator makes a token that reaches it: "
        "`godwit tokens create NAME --role ROLE`, without --scope or with another"
    )


def _within(state: State, project: str, rule: Rule, path: MutableMapping[str, str], query: Mapping[str, str]) -> None:
    """Raise `Forbidden` or `NotFound` for what is not of the project that a token is bound to."""
    if rule.reach is Reach.FLEET:
        raise Forbidden(
            f"this is about the whole fleet, and the token is bound to project {project}; "
            "an administrator makes one that is not: `godwit tokens create NAME` without --project"
        )
    if rule.reach is Reach.ASKED_JOB:
        if "job" not in query:
            raise Forbidden(f"the token is bound to project {project}: ask about one job of it, with `job`")
        reach.require(state.context, project, "job", query["job"])
    elif rule.reach in {Reach.JOB, Reach.ARRAY, Reach.SERVICE, Reach.PROJECT}:
        # The route goes on with the id, so that it means the same one, whatever is named alike meanwhile.
        path[rule.reach.value] = reach.require(state.context, project, rule.reach.value, path[rule.reach.value])


async def person(caller: Annotated[Caller, Depends(who)]) -> str:
    """The actor of a request by a person or a program."""
    return caller.actor


async def machine(credentials: Credentials) -> str:
    """The join token or node credential of an agent's request; the service checks it, in its own transaction."""
    if credentials is None:
        raise Unauthenticated
    return credentials.credentials


Who = Annotated[Caller, Depends(who)]
Actor = Annotated[str, Depends(person)]
Credential = Annotated[str, Depends(machine)]


async def own_spec(caller: Who, spec: JobSpecIn) -> JobSpecIn:
    """What is submitted; by a token that is bound to a project it belongs to that one. Raises `Forbidden`."""
    if caller.project is None or spec.project == caller.project:
        return spec
    if "project" in spec.model_fields_set:
        raise Forbidden(f"the token is bound to project {caller.project}; it cannot submit to {spec.project}")
    return spec.model_copy(update={"project": caller.project})


OwnSpec = Annotated[JobSpecIn, Depends(own_spec)]
