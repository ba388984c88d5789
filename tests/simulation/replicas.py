"""Replicas and a gateway of the simulated world: programs that serve, and who sends them requests."""

import random
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from godwit.agents.effects import Noticed, Replica
from godwit.agents.state import AgentState
from godwit.control_plane.context import Context
from godwit.control_plane.services import routes
from godwit.domain.wire.routes import GatewaySignals, ReplicaSignals, RouteTable, ServiceRoute, ServiceSignals

from tests.simulation.machines import SimMachine

WARM_AFTER = 3
"""Steps of a program until it answers its probe."""

REQUEST_S = (1.0, 5.0)
"""How long requests take."""


class ServingMachine(SimMachine):
    """A machine whose agent says which replicas on it take requests, and which notice its provider gave."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.silent_until = 0.0
        self.notice: Noticed | None = None
        self._said: dict[str, bool] = {}

    def _report_ends(self, agent: AgentState, now: float) -> None:
        super()._report_ends(agent, now)
        if self.notice is not None:
            notice, self.notice = self.notice, None
            self._do(agent, agent.noticed(notice), now)
        for attempt_id, run in self.runs.items():
            if run.command.serve is None or not run.alive or not run.told_running:
                continue
            ready = run.step >= WARM_AFTER and now >= self.silent_until
            if self._said.get(attempt_id, False) is not ready:
                self._said[attempt_id] = ready
                agent.runtime(Replica(attempt_id, ready, 9_000, "" if ready else "it does not answer"), now)


class Gateway:
    """Follows the routes over a bad network, sends requests where they lead, and says what it has in flight."""

    def __init__(self, name: str, rng: random.Random, request: Callable[[Callable[[], object]], object]) -> None:
        self.name, self._rng, self._request = name, rng, request
        self.table: RouteTable | None = None
        self.heard_at = 0.0
        self._until: list[tuple[float, str]] = []

    @property
    def in_flight(self) -> Counter[str]:
        """How many requests each attempt has."""
        return Counter(attempt_id for _, attempt_id in self._until)

    def leads_to(self, attempt_id: str) -> bool:
        """Whether it would send requests there."""
        return any(one.id == attempt_id and one.state == "ready" for of in self._services() for one in of.replicas)

    def second(self, context: Callable[[], Context], alive: Iterable[str], now: float) -> None:
        """Requests end and begin; then it asks for routes and tells."""
        there = set(alive)
        self._until = [(until, one) for until, one in self._until if until > now and one in there]
        for of in self._services():
            ready = [one.id for one in of.replicas if one.state == "ready"]
            if ready and self._rng.random() < 0.8:
                self._until.append((now + self._rng.uniform(*REQUEST_S), self._rng.choice(ready)))
        with suppress(ConnectionError):
            version = None if self.table is None else self.table.version
            found = self._request(lambda: routes.table(context(), version, self.name))
            assert found is None or isinstance(found, RouteTable)
            self.table, self.heard_at = found or self.table, now
        with suppress(ConnectionError):
            signals = self._signals(now)
            self._request(lambda: routes.told(context(), signals))

    def _services(self) -> list[ServiceRoute]:
        return [] if self.table is None else self.table.services

    def _signals(self, now: float) -> GatewaySignals:
        services = [self._of_service(of) for of in self._services()]
        version = 0 if self.table is None else self.table.version
        return GatewaySignals(gateway=self.name, version=version, at=now, window_s=1.0, services=services)

    def _of_service(self, of: ServiceRoute) -> ServiceSignals:
        flying = self.in_flight
        replicas = [
            ReplicaSignals(id=one.id, version=one.version, in_flight=flying[one.id], limit=9, answered=1, failed=0)
            for one in of.replicas
        ]
        count = sum(one.in_flight for one in replicas)
        return ServiceSignals(
            name=of.name, project=of.project, in_flight=count, queued=0, requests=count, shed=0, failed=0,
            replicas=replicas,
        )  # fmt: skip
