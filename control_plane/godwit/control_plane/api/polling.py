"""Polls for commands that wait: nobody looks for a node while nothing is owed to it, and none has a thread or a task.

A poll is looked at when it comes, with many others (`services/hearing.have_nothing`), and when there is a hint of its
node; it ends by itself when its time is over. Hints may be lost, so that all that is owed is looked for now and then.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial

import structlog
from godwit.control_plane import hints
from godwit.control_plane.api.state import State
from godwit.control_plane.credentials import Claim
from godwit.control_plane.grouping import Crowded, Grouped
from godwit.control_plane.services import hearing
from godwit.domain.wire.agents import CommandsReply, CommandsRequest

log = structlog.get_logger()

LOOK_S = 2.0
"""How often it is looked whether a command is owed to a node whose poll waits: the hint of it may be lost."""

NOTHING = CommandsReply(commands=[])


class Polling:
    """The polls of one control plane."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.groups = Grouped[Claim, bool](partial(hearing.have_nothing, state.context), "polls", pause_max_s=0.25)
        self._held: Counter[str] = Counter()
        self._looking: asyncio.Task[None] | None = None

    def join(self, claim: Claim, request: CommandsRequest, deadline: float) -> asyncio.Future[CommandsReply | None]:
        """`NOTHING` at the end of its time; None as soon as the route has to look. Who cancels it waits no more."""
        poll = _Poll(self, claim, request, deadline)
        poll.look()
        return poll.answer

    def hold(self, node_id: str) -> None:
        """A poll of this node waits."""
        self._held[node_id] += 1
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._look())

    def release(self, node_id: str) -> None:
        """It does not any more."""
        self._held[node_id] -= 1
        if not self._held[node_id]:
            del self._held[node_id]

    async def _look(self) -> None:
        """While any poll waits: wake those whose hint was lost."""
        await asyncio.sleep(LOOK_S)
        while self._held:
            try:
                owed = await asyncio.to_thread(hearing.owed_to, self.state.context)
            except Exception as exc:  # noqa: BLE001 - the outermost frame of this task, and the next look is soon
                log.warning("commands that are owed were not looked for", why=f"{type(exc).__name__}: {exc}")
                owed = set()
            for node_id in owed & self._held.keys():
                self.state.context.hints.announce(hints.commands_of(node_id))
            await asyncio.sleep(LOOK_S)


class _Poll:
    """One of them: looked at, or waiting, or answered."""

    __slots__ = ("_claim", "_deadline", "_is_looked_at", "_known", "_leave", "_polling", "_seen", "_timer", "answer")

    def __init__(self, polling: Polling, claim: Claim, request: CommandsRequest, deadline: float) -> None:
        self._polling, self._claim, self._deadline = polling, claim, deadline
        self._known, self._seen, self._is_looked_at = set(request.known), 0, False
        self._timer: asyncio.TimerHandle | None = None
        self._leave: Callable[[], None] | None = None
        self.answer: asyncio.Future[CommandsReply | None] = asyncio.get_running_loop().create_future()
        self.answer.add_done_callback(self._rest)

    def look(self) -> None:
        """Ask whether anything is owed; a hint that comes meanwhile is seen when it would wait."""
        self._rest()
        if self.answer.done() or self._is_looked_at:
            return
        # Counted before the database is read: what is announced meanwhile is looked for again.
        self._seen = self._polling.state.context.hints.count(hints.commands_of(self._claim.node_id))
        try:
            looked = self._polling.groups.join(self._claim)
        except Crowded:
            self._end(None)  # the route looks itself
        else:
            self._is_looked_at = True
            looked.add_done_callback(self._looked)

    def _looked(self, looked: asyncio.Future[bool]) -> None:
        self._is_looked_at = False
        has_nothing = looked.exception() is None and looked.result()  # the route says what went wrong
        state = self._polling.state
        now = state.context.now()
        if not has_nothing or state.terminals.owed(self._claim.node_id, self._known, now):
            self._end(None)
        elif self._deadline <= now:
            self._end(NOTHING)
        elif not self.answer.done():
            self._wait(self._deadline - now)

    def _wait(self, left_s: float) -> None:
        node_id, context = self._claim.node_id, self._polling.state.context
        self._polling.hold(node_id)
        self._timer = asyncio.get_running_loop().call_later(left_s, self._end, NOTHING)
        self._leave = context.hints.listen(hints.commands_of(node_id), self._seen, self.look)

    def _rest(self, _answer: object = None) -> None:
        """Wait no more."""
        if self._timer is not None and self._leave is not None:
            self._timer.cancel()
            self._leave()
            self._timer = self._leave = None
            self._polling.release(self._claim.node_id)

    def _end(self, reply: CommandsReply | None) -> None:
        if not self.answer.done():
            self.answer.set_result(reply)
