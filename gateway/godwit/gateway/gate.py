"""The regulator of a service in an event loop: those who wait are futures, and its clock is the loop's."""

import asyncio
from random import Random

from godwit.domain.wire.routes import ServiceRoute
from godwit.gateway.regulator.queue import Waiting
from godwit.gateway.regulator.replicas import Outcome
from godwit.gateway.regulator.service import Granted, Regulator, Verdict
from godwit.gateway.regulator.tail import Tail
from godwit.gateway.tally import Tally


class Gate:
    """Of one service. `route` is what it is served by at present; `tally` counts what happened."""

    def __init__(self, route: ServiceRoute, rng: Random, loop: asyncio.AbstractEventLoop) -> None:
        self.route = route
        self.tally = Tally()
        self.regulator = Regulator(route.regulation, rng, loop.time())
        self.tail = Tail()
        self._loop = loop
        self._waiting: dict[Waiting, asyncio.Future[Verdict]] = {}
        self._timer: asyncio.Handle | None = None
        self._timer_at = 0.0  # not asked of the timer: of an instant that has passed, uvloop makes one that has none
        self.update(route)

    def update(self, route: ServiceRoute) -> None:
        """Go by these routes from now on."""
        self.route = route
        self.urls = {replica.id: replica.url for replica in route.replicas}
        self.is_hedged = route.hedge != "never"
        self.regulator.update(route, self._loop.time())
        self._turn()

    async def admit(self, waiting: Waiting, *, again: bool = False) -> Verdict:
        """Wait for the turn of a request. Whoever is granted a replica must say `ended`."""
        now = self._loop.time()
        verdict = self.regulator.again(waiting, now) if again else self.regulator.offer(waiting, now)
        if verdict is not None:
            return verdict
        future: asyncio.Future[Verdict] = self._loop.create_future()
        self._waiting[waiting] = future
        self._turn()
        try:
            return await future
        except asyncio.CancelledError:
            self._left(waiting, future)
            raise

    def hedge(self, first: str) -> Granted | None:
        """A second replica for a request that is late, if one can be spared. Whoever is granted it must say `ended`."""
        return self.regulator.hedge(first, self._loop.time())

    def copies(self) -> list[str]:
        """The replicas in the shadow that get a copy of a request; `ended` must be said of each."""
        return self.regulator.copies(self._loop.time())

    def headed(self, replica: str, latency_s: float) -> None:
        """The head of an answer came; its replica may have earned more."""
        if self.is_hedged and replica in self.regulator.replicas:
            self.tail.saw(latency_s)
        self.regulator.headed(replica, latency_s, self._loop.time())
        if self._waiting:
            self._turn()

    def ended(self, replica: str, outcome: Outcome, latency_s: float | None) -> None:
        """A request that was granted a replica is over; the next ones may go."""
        if self.is_hedged and outcome is Outcome.ABANDONED and replica in self.regulator.replicas:
            self.tail.gave_up(latency_s or 0.0)
        self.regulator.ended(replica, outcome, latency_s, self._loop.time())
        if self._waiting:
            self._turn()

    def close(self) -> None:
        """The service is gone: refuse whoever waits."""
        self.regulator.queue.most = 0
        self._turn()

    def _left(self, waiting: Waiting, future: asyncio.Future[Verdict]) -> None:
        self._waiting.pop(waiting, None)
        self.regulator.left(waiting)
        # Its turn may have come in the very moment in which it left.
        if future.done() and not future.cancelled() and isinstance(granted := future.result(), Granted):
            self.ended(granted.replica, Outcome.ABANDONED, 0.0)

    def _turn(self) -> None:
        now = self._loop.time()
        for waiting, verdict in self.regulator.turn(now):
            future = self._waiting.pop(waiting)
            if not future.done():
                future.set_result(verdict)
            elif isinstance(verdict, Granted):
                self._loop.call_soon(self.ended, verdict.replica, Outcome.ABANDONED, 0.0)
        self._wake_at(self.regulator.wakes_at(now))

    def _wake_at(self, when: float | None) -> None:
        if self._timer is not None:
            if when is not None and self._timer_at <= when:
                return  # it asks again then
            self._timer.cancel()
            self._timer = None
        if when is not None:
            self._timer_at, self._timer = when, self._loop.call_at(when + 0.001, self._woken)

    def _woken(self) -> None:
        self._timer = None
        self._turn()
