"""What agents ask all the time, answered in its connection: what ASGI does for a request costs more than the answer.

A heartbeat, or a poll for commands, that is whole is asked about (`api/hearing`), and its answer is written when that
is there. All else, also one of these to which more is to be said, goes through ASGI as it came.
"""

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, cast

from godwit.control_plane.api.hearing import BODY_BYTES_MAX, BODY_S, BRIEF, COMMANDS, SAYS_MORE, Answer, Hearing
from godwit.control_plane.api.polling import NOTHING
from godwit.control_plane.crowd import Counted, Crowd
from godwit.domain.wire.agents import CommandsReply, HeartbeatReply
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

_Begun = tuple[RequestResponseCycle, "ASGI3Application"]


class Brief(Counted):
    """A connection that asks `hearing` itself; without one it leaves all to ASGI."""

    hearing: Hearing | None = None

    _begun: _Begun | None = None
    _asked: Answer | None = None
    _patience: asyncio.TimerHandle | None = None

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: "ASGI3Application") -> None:
        """Keep a brief one until it is whole; uvicorn (0.54) calls this once a request's head is there, in its turn."""
        scope = cycle.scope
        is_brief = scope["path"] in BRIEF and scope["method"] == "POST"
        if self.hearing is None or not is_brief or cycle.waiting_for_100_continue:
            super()._start_asgi_task(cycle, app)
            return
        self._begun = cycle, app
        if not cycle.more_body:
            self._hear()

    def data_received(self, data: bytes) -> None:
        """Bytes came; who sends a piece only has as long for the rest as in ASGI, and then its refusal from there."""
        super().data_received(data)
        if self._begun is not None and self._patience is None:
            self._patience = self.loop.call_later(BODY_S, self._go_on)

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        super().on_body(body)
        if self._begun is not None and len(self._begun[0].body) > BODY_BYTES_MAX:
            self._go_on()

    def on_message_complete(self) -> None:
        """The request is whole."""
        super().on_message_complete()
        if self._begun is not None and not self._begun[0].more_body:
            self._hear()

    def shutdown(self) -> None:
        """The server ends: a poll that waits hears at once that nothing is owed, and its client asks elsewhere."""
        super().shutdown()
        if self._asked is not None and self.cycle.scope["path"] == COMMANDS and not self._asked.done():
            cast("asyncio.Future[CommandsReply]", self._asked).set_result(NOTHING)

    def connection_lost(self, exc: Exception | None) -> None:
        """It left."""
        self._taken()
        super().connection_lost(exc)
        if self._asked is not None:
            self._asked.cancel()  # or a poll would wait on for nobody

    def _taken(self) -> _Begun | None:
        if self._patience is not None:
            self._patience.cancel()
        begun, self._begun, self._patience = self._begun, None, None
        return begun

    def _go_on(self) -> None:
        if (begun := self._taken()) is not None:
            super()._start_asgi_task(*begun)

    def _hear(self) -> None:
        began, begun = time.perf_counter(), self._taken()
        if begun is None or self.hearing is None:
            return
        cycle, app = begun
        self._asked = answer = self.hearing.ask(_scope(cycle), bytes(cycle.body))
        if answer is None:
            super()._start_asgi_task(cycle, app)
        else:
            answer.add_done_callback(partial(self._answered, cycle, app, began))

    def _answered(self, cycle: RequestResponseCycle, app: "ASGI3Application", began: float, answer: Answer) -> None:
        self._asked = None
        has_failed = answer.cancelled() or answer.exception() is not None
        reply = None if has_failed else answer.result()
        if cycle.disconnected:
            return
        if reply is None or self.hearing is None:
            if not has_failed:
                _scope(cycle)[SAYS_MORE] = True
            super()._start_asgi_task(cycle, app)
            return
        self._write(cycle, reply)
        self.hearing.note(cycle.scope["path"], began)

    def _write(self, cycle: RequestResponseCycle, reply: HeartbeatReply | CommandsReply) -> None:
        body = reply.model_dump_json(exclude_none=True).encode()
        words = [b"HTTP/1.1 200 OK\r\n"]
        for name, value in self.server_state.default_headers:
            words += (name, b": ", value, b"\r\n")
        if not cycle.keep_alive:
            words.append(b"connection: close\r\n")
        words += (b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body), body)
        self.transport.write(b"".join(words))
        cycle.response_started = cycle.response_complete = True
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()


def _scope(cycle: RequestResponseCycle) -> Scope:
    return cast("Scope", cycle.scope)  # uvicorn's type has the keys of ASGI only


def among(crowd: Crowd, hearing: Hearing | None) -> type[Brief]:
    """The class of connections that are counted together, and ask this one first."""
    return type("Among", (Brief,), {"crowd": crowd, "hearing": hearing})
