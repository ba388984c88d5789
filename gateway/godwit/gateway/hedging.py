"""One request at two replicas: the first good head goes to the client, and the other exchange is cancelled."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from godwit.gateway.exchange import Exchange
from godwit.gateway.regulator.replicas import Outcome

Run = Callable[[Exchange], Coroutine[Any, Any, None]]
"""Carries out an exchange; it tells the regulator of the end of it, however it ends."""


class Race:
    """Of one request: `winner` is the exchange whose answer the client has, None while nobody has any."""

    def __init__(self) -> None:
        self.winner: Exchange | None = None
        self.runners: list[tuple[Exchange, asyncio.Task[None]]] = []

    async def run(
        self, first: Exchange, send: Run, late_s: float, second: Callable[[], tuple[Exchange, Run] | None]
    ) -> Exchange:
        """Send the first one, and a second one when that is late and there is one; returns the one that counts."""
        try:
            await asyncio.wait({self._start(first, send)}, timeout=late_s)
            if self.winner is None and not self._ended(first) and (more := second()) is not None:
                self._start(*more)
            await asyncio.wait({task for _, task in self.runners})
        finally:
            for _, task in self.runners:
                task.cancel()
            found = await asyncio.gather(*(task for _, task in self.runners), return_exceptions=True)
        for error in found:
            if isinstance(error, BaseException) and not isinstance(error, asyncio.CancelledError):
                raise error
        return self.winner or self.runners[-1][0]

    def _start(self, exchange: Exchange, send: Run) -> "asyncio.Task[None]":
        exchange.claim = lambda: self._claim(exchange)
        task = asyncio.get_running_loop().create_task(send(exchange))
        self.runners.append((exchange, task))
        return task

    def _claim(self, exchange: Exchange) -> bool:
        """Whether this answer goes to the client; a bad one only when no better one can come any more."""
        others = [task for other, task in self.runners if other is not exchange and not task.done()]
        if self.winner is not None or (exchange.outcome is not Outcome.ANSWERED and others):
            return False
        self.winner = exchange
        for task in others:
            task.cancel()
        return True

    def _ended(self, exchange: Exchange) -> bool:
        return any(one is exchange and task.done() for one, task in self.runners)
