"""What can stand between clients and replicas in the stampede: godwit's regulator, and what others do."""

from dataclasses import dataclass, field
from random import Random

from godwit.domain.wire.routes import Regulation, ReplicaRoute, ServiceRoute, VersionRoute
from godwit.gateway.regulator.earned import EarnedLimit
from godwit.gateway.regulator.queue import Waiting
from godwit.gateway.regulator.replicas import Outcome
from godwit.gateway.regulator.service import Granted, Regulator, Verdict

from benchmarks.gateway.stampede import Request, World


@dataclass
class RoundRobin:
    """Each in its turn; one that refuses the connection is passed over."""

    world: World
    next: int = 0

    def take(self, request: Request) -> None:
        """Send it on at once."""
        self.next += 1
        self.world.send(request, self.next % len(self.world.servers))

    def ended(self, request: Request, replica: int, outcome: Outcome, latency_s: float) -> None:  # noqa: ARG002 - others use it
        """A failure is the client's to see."""
        if outcome in (Outcome.UNREACHABLE, Outcome.FAILED):
            self.world.refuse(request, None)

    def left(self, request: Request) -> None:
        """The server works on: nobody tells it."""


@dataclass
class LeastLoad(RoundRobin):
    """To whom has the fewest requests from here."""

    load: dict[int, int] = field(default_factory=dict)

    def take(self, request: Request) -> None:
        """Send it on at once."""
        replica = min(range(len(self.world.servers)), key=lambda one: self.load.get(one, 0))
        self.load[replica] = self.load.get(replica, 0) + 1
        self.world.send(request, replica)

    def ended(self, request: Request, replica: int, outcome: Outcome, latency_s: float) -> None:
        """As above."""
        self.load[replica] -= 1
        super().ended(request, replica, outcome, latency_s)


class Regulated:
    """Through godwit's regulator."""

    def __init__(self, world: World, rng: Random, *, law: type[EarnedLimit] = EarnedLimit) -> None:
        self.world = world
        self.regulator = Regulator(Regulation(queue_wait_s=world.scene.patience_s), rng, 0.0)
        replicas = [ReplicaRoute(id=str(n), url="http://x", version="1") for n in range(world.scene.replicas)]
        route = ServiceRoute(name="s", project="p", versions=[VersionRoute(name="1")], replicas=replicas)
        self.regulator.update(route.model_copy(update={"regulation": self.regulator.regulation}), 0.0)
        for replica in self.regulator.replicas.values():
            replica.earned = law(replica.earned.first, replica.earned.most)
        self.waiting: dict[Waiting, Request] = {}
        self.tickets: dict[Request, Waiting] = {}
        self.wake_at = float("inf")

    def take(self, request: Request) -> None:
        """Ask the regulator."""
        waiting = Waiting(self.world.now)
        self._told(waiting, request, self.regulator.offer(waiting, self.world.now))
        self._turn()

    def ended(self, request: Request, replica: int, outcome: Outcome, latency_s: float) -> None:
        """Tell it, and let the next ones go. What was not sent is tried elsewhere."""
        now = self.world.now
        self.regulator.ended(str(replica), outcome, latency_s, now)
        if outcome is Outcome.UNREACHABLE:
            waiting = Waiting(now, exclude=frozenset({str(replica)}))
            self._told(waiting, request, self.regulator.again(waiting, now))
        elif outcome is Outcome.FAILED:
            self.world.refuse(request, None)
        self._turn()

    def left(self, request: Request) -> None:
        """Take it out of the queue."""
        waiting = self.tickets.pop(request, None)
        if waiting is not None:
            self.regulator.left(waiting)
            del self.waiting[waiting]

    def _turn(self) -> None:
        now = self.world.now
        for waiting, verdict in self.regulator.turn(now):
            request = self.waiting.pop(waiting)
            del self.tickets[request]
            self._told(waiting, request, verdict)
        wakes_at = self.regulator.wakes_at(now)
        if wakes_at is not None and wakes_at < self.wake_at:
            self.wake_at = max(wakes_at, now + 0.001)
            self.world.at(self.wake_at, self._wake)

    def _wake(self) -> None:
        # An earlier one may have been set meanwhile; it set this one again if it was still due.
        if self.world.now >= self.wake_at:
            self.wake_at = float("inf")
            self._turn()

    def _told(self, waiting: Waiting, request: Request, verdict: Verdict | None) -> None:
        if verdict is None:
            self.waiting[waiting] = request
            self.tickets[request] = waiting
        elif isinstance(verdict, Granted):
            self.world.send(request, int(verdict.replica))
        else:
            self.world.refuse(request, verdict.retry_after_s)
