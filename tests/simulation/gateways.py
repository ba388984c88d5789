"""Gateways of the simulated world: they follow routes over a bad network, keep them on disk, die, come back, report.

What is real of them: the messages, and that a report is told until it is answered (`godwit.gateway.reports`).
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress

from godwit.control_plane.context import Context
from godwit.control_plane.services import routes
from godwit.domain.wire.routes import ReplicaSignals, RouteTable, ServiceRoute, ServiceSignals
from godwit.gateway.reports import Reports

REQUEST_S = (1.0, 5.0)
"""How long requests take."""

REPORT_EVERY_S = 2

Ref = tuple[str, str]


class Gateway:
    """One gateway. `wall` is its machine's clock, `request` the network, `heard_at` when its routes were the newest."""

    def __init__(
        self, name: str, rng: random.Random, request: Callable[[Callable[[], object]], object], now: float
    ) -> None:
        self.name, self._rng, self._request = name, rng, request
        self.skew_s, self.cut_off_until, self.back_at = 0.0, 0.0, 0.0
        self.sent, self.maybe_lost = Counter[Ref](), Counter[Ref]()
        self.clock_went_back = self._waits = False
        self.asked_at = self.heard_at = self._lived_at = now
        self._kept: RouteTable | None = None
        self._start(now)

    def _start(self, now: float) -> None:
        """A process begins with what is on disk."""
        self.table, self._until = self._kept, list[tuple[float, str]]()
        self._reports = Reports(self.name, now + self.skew_s, now)
        self._untold = Counter[Ref]()
        self._owed = Counter[Ref]()

    @property
    def in_flight(self) -> Counter[str]:
        """How many requests each attempt has."""
        return Counter(attempt_id for _, attempt_id in self._until)

    def leads_to(self, attempt_id: str) -> bool:
        """Whether it would send requests there."""
        return any(one.id == attempt_id and one.state == "ready" for of in self._services() for one in of.replicas)

    def set_clock(self, skew_s: float) -> None:
        """Somebody sets its machine's clock; a process that begins believes it."""
        self.clock_went_back = self.clock_went_back or skew_s < self.skew_s
        self.skew_s = skew_s

    def die(self, now: float, back_at: float) -> None:
        """Its process is killed; what it had counted and nobody has is lost."""
        self.maybe_lost += self._owed + self._untold
        self._start(now)
        self.back_at = back_at

    def second(self, context: Callable[[], Context], alive: Iterable[str], now: float) -> list[str]:
        """Requests end and begin; then it asks for routes and tells. Returns the attempts that it asked in vain."""
        if now < self.back_at or now == self._lived_at:
            return []
        self._lived_at = now
        there = set(alive)
        self._until = [(until, one) for until, one in self._until if until > now and one in there]
        in_vain = [one for of in self._services() if (one := self._send(of, there, now)) is not None]
        if now >= self.cut_off_until and not self._waits:
            self._waits = True  # for an answer, while others go on
            self._follow(context, now)
            if int(now) % REPORT_EVERY_S == 0:
                self._tell(context, now)
            self._waits = False
        return in_vain

    def _send(self, of: ServiceRoute, there: set[str], now: float) -> str | None:
        ready = [one.id for one in of.replicas if one.state == "ready"]
        if not ready or self._rng.random() > 0.8:
            return None
        self.sent[of.project, of.name] += 1
        self._untold[of.project, of.name] += 1
        chosen = self._rng.choice(ready)
        if chosen not in there:
            return chosen
        self._until.append((now + self._rng.uniform(*REQUEST_S), chosen))
        return None

    def _follow(self, context: Callable[[], Context], now: float) -> None:
        def ask() -> object:
            self.asked_at = now
            return routes.table(context(), None if self.table is None else self.table.version, self.name)

        process = self._reports
        with suppress(ConnectionError):
            found = self._request(ask)
            assert found is None or isinstance(found, RouteTable)
            if process is self._reports:
                self.table, self.heard_at = found or self.table, now
            if self._rng.random() < 0.9:  # what is not on disk yet is lost with the process
                self._kept = self.table

    def _tell(self, context: Callable[[], Context], now: float) -> None:
        """What was not answered is told again; then what came since."""
        process, is_owed = self._reports, bool(self._owed)
        with suppress(ConnectionError):
            for _ in range(1 + is_owed):
                report = process.next(self._measure, 0 if self.table is None else self.table.version, now)
                self._request(lambda report=report: routes.told(context(), report))  # type: ignore[misc]
                if process is not self._reports:
                    return  # it died meanwhile
                process.answered()
                self._owed.clear()

    def _measure(self) -> list[ServiceSignals]:
        self._owed, self._untold = self._untold, Counter[Ref]()
        shown = {(of.project, of.name) for of in self._services()}
        self.maybe_lost += Counter({ref: count for ref, count in self._owed.items() if ref not in shown})
        return [self._of_service(of) for of in self._services()]

    def _services(self) -> list[ServiceRoute]:
        return [] if self.table is None else self.table.services

    def _of_service(self, of: ServiceRoute) -> ServiceSignals:
        flying = self.in_flight
        replicas = [
            ReplicaSignals(id=one.id, version=one.version, in_flight=flying[one.id], limit=9, answered=1, failed=0)
            for one in of.replicas
        ]
        return ServiceSignals(
            name=of.name, project=of.project, in_flight=sum(one.in_flight for one in replicas), queued=0,
            requests=self._owed[of.project, of.name], shed=0, failed=0, replicas=replicas,
        )  # fmt: skip
