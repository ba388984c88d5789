"""In front of the routes for agents: what thousands of them ask each second is answered in groups, the rest by turns.

A heartbeat that says nothing new, and a poll for commands of a node to which none is owed, never reach the application:
`services/hearing` answers many of each at a time, and a poll that waits costs a future and not a thread. All else goes
on to the routes as it came, of which only so many are under way at once: whoever comes beyond that is asked to come
back, before anything is read for it. So a fleet that comes back at once is heard, and people are answered meanwhile.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import cached_property, partial
from http import HTTPStatus
from typing import TypeVar

import structlog
from godwit.control_plane import credentials
from godwit.control_plane.api.errors import problem
from godwit.control_plane.api.polling import Polling
from godwit.control_plane.api.state import State
from godwit.control_plane.credentials import Claim
from godwit.control_plane.grouping import Crowded, Grouped, GroupFailed
from godwit.control_plane.services import hearing
from godwit.control_plane.services.hearing import Beat, Placed
from godwit.domain.errors import Unauthenticated
from godwit.domain.wire import agents as wire
from godwit.domain.wire.pages import Message
from pydantic import ValidationError
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.types import Message as Event

log = structlog.get_logger()

AGENTS, HEARTBEAT, COMMANDS = "/v1/agent/", "/v1/agent/heartbeat", "/v1/agent/commands"
BY_TURNS = frozenset({"/v1/agent/join", "/v1/agent/logs", HEARTBEAT})

BRIEF = frozenset({HEARTBEAT, COMMANDS})
"""Whose answers are mostly short and the same: that a lease is renewed, that nothing is owed."""

SAYS_MORE = "godwit.says_more"
"""In the scope of one of those whose answer is known not to be: it goes to its route without another group."""

WAITS_UNTIL = "godwit.waits_until"
"""In the scope of a poll that has been looked at: when it is to be answered at the latest."""

UNDER_WAY_MAX = 32
"""Requests of agents that the routes work on at once. One writes at a time, and more in line keep groups waiting."""

AFTER_S = (1, 2, 3)
"""For how long one is asked to stay away, in turns."""

BODY_BYTES_MAX = 65_536
"""What says nothing new is shorter: 256 attempts and 128 GPUs."""

BODY_S = 10.0

Kind = TypeVar("Kind", bound=Message)
Headers = Iterable[tuple[bytes, bytes]]
Answer = asyncio.Future[wire.HeartbeatReply | None] | asyncio.Future[wire.CommandsReply | None]


class Hearing:
    """Around the whole application: what it answers itself passes nothing of that."""

    def __init__(self, app: ASGIApp, state: State) -> None:
        self._app, self._state = app, state
        self._under_way = self._put_off = 0

    @cached_property
    def _beats(self) -> Grouped[Beat, wire.HeartbeatReply | None]:
        return Grouped(partial(hearing.renew, self._state.context, Placed()), "heartbeats")

    @cached_property
    def _polls(self) -> Polling:
        return Polling(self._state)

    def ask(self, scope: Scope, body: bytes) -> Answer | None:
        """The answer to come, for who has one of `BRIEF` whole and no need of ASGI; None for what goes through it.

        What comes is None too where more is to be said than that the lease is renewed, or that nothing is owed.
        """
        claim = self._claim(scope["headers"])
        if scope["path"] == COMMANDS:
            poll = None if claim is None else _parsed(wire.CommandsRequest, body)
            return None if claim is None or poll is None else self._poll(scope, claim, poll)
        request = None if claim is None else _parsed(wire.HeartbeatRequest, body)
        if claim is None or request is None or not hearing.may_be_quiet(request):
            scope[SAYS_MORE] = True
            return None
        try:
            return self._beats.join(Beat(claim, request))
        except Crowded:
            return None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer it here, or pass it on, or ask it to come back."""
        if scope["type"] != "http" or not scope["path"].startswith(AGENTS) or scope["method"] != "POST":
            await self._app(scope, receive, send)
        elif scope["path"] == HEARTBEAT and SAYS_MORE not in scope:
            await self._heartbeat(scope, receive, send)
        elif scope["path"] == COMMANDS:
            await self._commands(scope, receive, send)
        else:
            await self._pass_on(scope, receive, send)

    async def _heartbeat(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        claim = self._claim(scope["headers"])
        if claim is None:
            await self._pass_on(scope, receive, send)
            return
        event = await _first(receive)
        request = _parsed(wire.HeartbeatRequest, _whole(event))
        if request is None or not hearing.may_be_quiet(request):
            await self._pass_on(scope, _again(event, receive), send)
            return
        try:
            reply = await self._beats.ask(Beat(claim, request))
        except Crowded:
            await self._ask_to_return(scope, receive, send)
        except GroupFailed as exc:
            log.warning("heartbeats of a group were not written", why=str(exc))
            await self._ask_to_return(scope, receive, send)
        else:
            if reply is None:
                await self._pass_on(scope, _again(event, receive), send)
                return
            await _answer(send, reply)
            self.note(HEARTBEAT, began)

    async def _commands(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        claim = self._claim(scope["headers"])
        event = await _first(receive) if claim is not None else None
        request = _parsed(wire.CommandsRequest, _whole(event)) if event is not None else None
        if claim is None or event is None or request is None:
            await self._app(scope, receive if event is None else _again(event, receive), send)
            return
        reply = None if SAYS_MORE in scope else await self._poll(scope, claim, request)
        if reply is None:
            left_s = max(0.0, scope[WAITS_UNTIL] - self._state.context.now())
            rest = request.model_copy(update={"wait_s": left_s}).model_dump_json().encode()
            await self._app(_of_length(scope, rest), _again({**event, "body": rest}, receive), send)
            return
        await _answer(send, reply)
        self.note(COMMANDS, began)

    def _poll(
        self, scope: Scope, claim: Claim, request: wire.CommandsRequest
    ) -> asyncio.Future[wire.CommandsReply | None]:
        deadline = scope[WAITS_UNTIL] = self._state.context.now() + request.wait_s
        return self._polls.join(claim, request, deadline)

    def _claim(self, headers: Headers) -> Claim | None:
        """What a credential says that is good and ours; None for any other, which the route judges."""
        given = b""
        for name, value in headers:  # a generator takes twice as long, a thousand times a second
            if name == b"authorization":
                given = value
                break
        kind, _, text = given.decode("latin-1").partition(" ")
        if kind.lower() != "bearer":
            return None
        try:
            return credentials.read(self._state.context.keyring, text, self._state.context.now())
        except Unauthenticated:
            return None

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] not in BY_TURNS:
            await self._app(scope, receive, send)
            return
        if self._under_way >= UNDER_WAY_MAX:
            await self._ask_to_return(scope, receive, send)
            return
        turns = list[Event]()

        async def taking_a_turn() -> Event:
            event = await receive()
            # Not before its body is whole: whoever drips one, with any credential or none, would keep agents out.
            if not turns and not event.get("more_body"):
                turns.append(event)
                self._under_way += 1
            return event

        try:
            await self._app(scope, taking_a_turn, send)
        finally:
            self._under_way -= len(turns)

    async def _ask_to_return(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        self._put_off += 1
        after_s = AFTER_S[self._put_off % len(AFTER_S)]
        detail = f"too many agents come at once; come back in {after_s} s, nothing was changed"
        response = problem(HTTPStatus.SERVICE_UNAVAILABLE, "service-unavailable", detail)
        response.headers["Retry-After"] = str(after_s)
        await response(scope, receive, send)
        self.note(scope["path"], began, HTTPStatus.SERVICE_UNAVAILABLE)

    def note(self, path: str, began: float, status: HTTPStatus = HTTPStatus.OK) -> None:
        """Count a request that was answered in front of the routes; `began` is of `time.perf_counter`."""
        self._state.context.instruments.answered(path, "POST", status, time.perf_counter() - began)


async def _first(receive: Receive) -> Event:
    """The first piece of a body, which is all of what says nothing new; nothing for a sender that is too slow."""
    try:
        async with asyncio.timeout(BODY_S):
            return await receive()
    except TimeoutError:
        return {"type": "http.disconnect"}


def _whole(event: Event) -> bytes | None:
    """A body that came in one piece."""
    is_whole = event["type"] == "http.request" and not event.get("more_body")
    return event.get("body", b"") if is_whole else None


def _parsed(kind: type[Kind], body: bytes | None) -> Kind | None:
    """What was sent, where that is short and makes sense; the route says what is wrong with all else."""
    if body is None or len(body) > BODY_BYTES_MAX:
        return None
    try:
        return kind.model_validate_json(body)
    except ValidationError:
        return None


def _again(event: Event, receive: Receive) -> Callable[[], Awaitable[Event]]:
    """`receive` from before its first event."""
    events = [event]

    async def receiving() -> Event:
        return events.pop() if events else await receive()

    return receiving


def _of_length(scope: Scope, body: bytes) -> Scope:
    headers = [(name, value) for name, value in scope["headers"] if name != b"content-length"]
    return {**scope, "headers": [*headers, (b"content-length", str(len(body)).encode())]}


async def _answer(send: Send, reply: Message) -> None:
    body = reply.model_dump_json(exclude_none=True).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
