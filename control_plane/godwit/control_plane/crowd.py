"""How many connections are open at once: a bound in all and for one address, and who goes when it is reached.

A process that has no file descriptors left takes no agent's connection, and cannot open its database. So the one that
has been idle for longest is closed for one that comes: its client comes back when it has something to say, which agents
have each second. One is idle while it has no request under way, be it before its first.
"""

import resource
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import structlog
from godwit.control_plane.connection import Connection

log = structlog.get_logger()

MOST = 20_000
"""Four for each of 5,000 nodes, with what uvicorn and asyncio keep of each (some 15 KB) 300 MB."""

OTHER_FILES = 256
"""Descriptors for everything else: databases, brokers, providers, archives and logs."""

LEAST = 64
ADDRESS_SHARE = 0.75
"""One address may have so much of all: many agents come by one proxy or gateway, and a flood leaves room besides."""

TOLD_EVERY_S = 60.0


@dataclass(frozen=True)
class Bounds:
    """Connections at once: in all, and of one address."""

    in_all: int
    of_address: int


def bounds_of_process() -> Bounds:
    """What the limit of this process on open files allows (`ulimit -n`, systemd's LimitNOFILE)."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = MOST if files == resource.RLIM_INFINITY else max(LEAST, min(MOST, files - OTHER_FILES))
    return Bounds(allowed, max(1, int(allowed * ADDRESS_SHARE)))


@dataclass
class _Party:
    """The connections of one address; the idle ones in the order in which they became so."""

    count: int = 0
    idle: "OrderedDict[Any, None]" = field(default_factory=OrderedDict)


class Crowd:
    """Who is connected. For one thread: that of the loop. Whoever it names to be closed has left already."""

    def __init__(self, bounds: Bounds, ended: Callable[[str], None] = lambda _outcome: None) -> None:
        """`ended` hears of each that is closed for another, or refused."""
        self.bounds, self.ended = bounds, ended
        self._of: dict[Any, str] = {}
        self._parties: dict[str, _Party] = {}
        self._idle: OrderedDict[Any, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._of)

    def enter(self, one: Any, address: str) -> tuple[bool, Any | None]:
        """Whether one may come, and whom to close for it; one that comes is idle."""
        party = self._parties.get(address, _Party())
        is_full = party.count >= self.bounds.of_address
        leaving = None
        if is_full or len(self._of) >= self.bounds.in_all:
            leaving = next(iter(party.idle if is_full else self._idle), None)
            if leaving is None:
                return False, None
            self.leave(leaving)
        party = self._parties.setdefault(address, party)
        party.count += 1
        self._of[one] = address
        self.rest(one)
        return True, leaving

    def work(self, one: Any) -> None:
        """A request begins on it."""
        if one in self._of:
            self._idle.pop(one, None)
            self._parties[self._of[one]].idle.pop(one, None)

    def rest(self, one: Any) -> None:
        """Its request is answered, or it is new."""
        if one in self._of:
            self._idle[one] = self._parties[self._of[one]].idle[one] = None

    def leave(self, one: Any) -> None:
        """It is gone, or is none of ours any more; again changes nothing."""
        self.work(one)
        address = self._of.pop(one, None)
        if address is not None:
            party = self._parties[address]
            party.count -= 1
            if not party.count:
                del self._parties[address]


class Counted(Connection):
    """A connection that is one of a crowd; `among` makes the class for one."""

    crowd: Crowd
    told_at = -TOLD_EVERY_S

    def connection_made(self, transport: Any) -> None:
        """A client came: it is let in, perhaps for another, or told to come again."""
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        comes, leaving = self.crowd.enter(self, str(peer[0]) if isinstance(peer, tuple) else "")
        if leaving is not None:
            leaving.transport.close()
        if leaving is not None or not comes:
            self.crowd.ended("closed" if comes else "refused")
            self._tell()
        if not comes:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE)

    def connection_lost(self, exc: Exception | None) -> None:
        """It left."""
        self.crowd.leave(self)
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """A request begins."""
        self.crowd.work(self)
        super().on_message_begin()

    def on_response_complete(self) -> None:
        """It is answered."""
        super().on_response_complete()
        if not self._in_message and (self.cycle is None or self.cycle.response_complete):  # else the next one has begun
            self.crowd.rest(self)

    def handle_websocket_upgrade(self) -> None:
        """It becomes a WebSocket: those have bounds of their own, and callers who are known."""
        self.crowd.leave(self)
        super().handle_websocket_upgrade()

    def _tell(self) -> None:
        now = self.loop.time()
        if now - type(self).told_at >= TOLD_EVERY_S:
            type(self).told_at = now
            log.warning(
                "connections are closed to make room; raise the limit on open files (LimitNOFILE) if all are wanted",
                open=len(self.crowd), in_all=self.crowd.bounds.in_all, of_address=self.crowd.bounds.of_address,
            )  # fmt: skip
