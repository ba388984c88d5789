"""A stampede in simulated time: replicas die under load, come back cold, and everybody who waits tries again.

Discrete events, seeded. A replica works on `slots` requests at once and queues the others inside, where no gateway sees
them; it starts cold and warms up; far too many at once slow it down; and it works on for clients who have long left, as
servers do. Clients come at a steady rate (Poisson), leave after `patience_s` and try again.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from godwit.gateway.regulator.replicas import Outcome


@dataclass(frozen=True)
class Scene:
    """Three replicas for 96 requests a second, 80 % of which come; all die at `killed_at_s`. Times in seconds."""

    replicas: int = 3
    slots: int = 8
    service_s: float = 0.25
    load: float = 0.8
    warm_up_s: float = 20.0
    cold: float = 0.5
    killed_at_s: float = 40.0
    down_s: float = 10.0
    end_s: float = 160.0
    patience_s: float = 2.5
    tries: int = 8
    spread: float = 0.3
    """How much requests differ: the sigma of a log-normal; 1.0 is what prompts of all lengths do to a model."""

    @property
    def rate(self) -> float:
        """Requests that come each second, tries not counted."""
        return self.load * self.replicas * self.slots / self.service_s


@dataclass(eq=False)
class Request:
    """One try of one client."""

    came_at: float
    tried: int
    over: bool = False


Reply = Callable[[Outcome], None]


class Router(Protocol):
    """What stands between clients and replicas."""

    def take(self, request: Request) -> None:
        """A request came; `World.send`, `World.refuse` or nothing yet."""

    def ended(self, request: Request, replica: int, outcome: Outcome, latency_s: float) -> None:
        """What was sent to a replica is over."""

    def left(self, request: Request) -> None:
        """The client did not wait."""


@dataclass
class Server:
    """A replica: what it works on, what it queues inside."""

    scene: Scene
    rng: Random
    up_since: float | None = -1e9
    life: int = 0
    working: dict[Request, float] = field(default_factory=dict)
    inside: deque[tuple[Request, float]] = field(default_factory=deque)

    def warmth(self, now: float) -> float:
        """From 0, just started, to 1, warm."""
        assert self.up_since is not None
        return min(1.0, (now - self.up_since) / self.scene.warm_up_s)

    def slots(self, now: float) -> int:
        """How many requests it works on at once: one while it is cold, since each waits for the same cold cache."""
        return max(1, int(self.scene.slots * self.warmth(now)))

    def takes_s(self, now: float) -> float:
        """How long a request takes that is begun now."""
        speed = self.scene.cold + (1.0 - self.scene.cold) * self.warmth(now)
        crowd = (len(self.working) + len(self.inside)) / (4.0 * self.scene.slots)
        thrash = 1.0 + 0.5 * max(0.0, crowd - 1.0)
        # Log-normal with a mean of one.
        spread = math.exp(self.rng.gauss(-(self.scene.spread**2) / 2.0, self.scene.spread))
        return self.scene.service_s * spread * thrash / speed


@dataclass
class World:
    """Runs a scene through a router; `good` are the clients who got their answer in time, by when they asked first."""

    scene: Scene
    rng: Random
    now: float = 0.0
    good: list[tuple[float, float]] = field(default_factory=list)
    came: list[float] = field(default_factory=list)
    refused: int = 0
    tries: int = 0
    _events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _sequence: int = 0

    def __post_init__(self) -> None:
        self.servers = [Server(self.scene, self.rng) for _ in range(self.scene.replicas)]
        self.router: Router | None = None

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Let something happen then."""
        self._sequence += 1
        heapq.heappush(self._events, (when, self._sequence, what))

    def run(self, router: Router) -> None:
        """Play the scene to its end."""
        self.router = router
        self.at(0.0, self._arrive)
        self.at(self.scene.killed_at_s, self._kill)
        while self._events and self._events[0][0] <= self.scene.end_s:
            self.now, _, what = heapq.heappop(self._events)
            what()

    def send(self, request: Request, replica: int) -> None:
        """The router sends a request to a replica."""
        server = self.servers[replica]
        if server.up_since is None:
            self.at(self.now + 0.001, lambda: self._over(request, replica, Outcome.UNREACHABLE, self.now))
        elif len(server.working) < server.slots(self.now):
            self._begin(server, replica, request, self.now)
        else:
            server.inside.append((request, self.now))

    def refuse(self, request: Request, retry_after_s: float | None) -> None:
        """The router refuses a request; None: it does not say when to come back."""
        if request.over:
            return
        request.over = True
        self.refused += 1
        self._again(request, retry_after_s)

    def _begin(self, server: Server, replica: int, request: Request, sent_at: float) -> None:
        server.working[request] = sent_at
        life = server.life
        self.at(self.now + server.takes_s(self.now), lambda: self._finish(server, replica, request, sent_at, life))

    def _finish(self, server: Server, replica: int, request: Request, sent_at: float, life: int) -> None:
        if server.life != life:
            return  # it died meanwhile, and so did this
        del server.working[request]
        while server.inside and len(server.working) < server.slots(self.now):
            following, following_sent_at = server.inside.popleft()
            self._begin(server, replica, following, following_sent_at)
        self._over(request, replica, Outcome.ANSWERED, sent_at)

    def _over(self, request: Request, replica: int, outcome: Outcome, sent_at: float) -> None:
        assert self.router is not None
        self.router.ended(request, replica, Outcome.ABANDONED if request.over else outcome, self.now - sent_at)
        if not request.over and outcome is Outcome.ANSWERED:
            request.over = True
            self.good.append((self.now, self.now - request.came_at))

    def _arrive(self) -> None:
        self.came.append(self.now)
        self._try(0)
        self.at(self.now + self.rng.expovariate(self.scene.rate), self._arrive)

    def _try(self, tried: int) -> None:
        assert self.router is not None
        self.tries += 1
        request = Request(self.now, tried)
        self.at(self.now + self.scene.patience_s, lambda: self._lose_patience(request))
        self.router.take(request)

    def _lose_patience(self, request: Request) -> None:
        if request.over:
            return
        assert self.router is not None
        request.over = True
        self.router.left(request)
        self._again(request, None)

    def _again(self, request: Request, retry_after_s: float | None) -> None:
        if request.tried + 1 >= self.scene.tries:
            return
        pause_s = retry_after_s if retry_after_s is not None else 0.5 * (1.0 + self.rng.random())
        self.at(self.now + pause_s, lambda: self._try(request.tried + 1))

    def _kill(self) -> None:
        for replica, server in enumerate(self.servers):
            lost = [*server.working.items(), *server.inside]
            server.working.clear()
            server.inside.clear()
            server.up_since, server.life = None, server.life + 1
            for request, sent_at in lost:
                self._over(request, replica, Outcome.FAILED, sent_at)
        self.at(self.now + self.scene.down_s, self._return)

    def _return(self) -> None:
        for server in self.servers:
            server.up_since = self.now


@dataclass(frozen=True)
class Recovery:
    """How a service came back: `after_s` (None: never) until goodput stayed at 95 %, and p99 latencies in seconds.

    `after_p99_s` is of all answers since its return; of the worst 5 s, `cold_p99_s` while replicas warm up and
    `warm_p99_s` from then on. Infinite where nobody was answered in time.
    """

    after_s: float | None
    steady_p99_s: float
    after_p99_s: float
    cold_p99_s: float
    warm_p99_s: float


def recovery(world: World) -> Recovery:
    """Read it off a world that was run. Goodput counts clients answered in time against those that came anew."""
    scene = world.scene
    back_at = scene.killed_at_s + scene.down_s
    bins = [_goodput(world, back_at + n * BIN_S) for n in range(int((scene.end_s - back_at) / BIN_S))]
    first = next((n for n, _ in enumerate(bins) if all(one >= 0.95 for one in bins[n : n + 3])), None)
    return Recovery(
        after_s=None if first is None else first * BIN_S,
        steady_p99_s=_p99(world, 0.25 * scene.killed_at_s, scene.killed_at_s),
        after_p99_s=_p99(world, back_at, scene.end_s),
        cold_p99_s=_worst_p99(world, back_at, back_at + scene.warm_up_s),
        warm_p99_s=_worst_p99(world, back_at + scene.warm_up_s, scene.end_s),
    )


BIN_S = 5.0


def _goodput(world: World, since: float) -> float:
    answered = sum(1 for at, _ in world.good if since <= at < since + BIN_S)
    return answered / (BIN_S * world.scene.rate)


def _worst_p99(world: World, since: float, until: float) -> float:
    count = int((until - since) / BIN_S)
    return max(_p99(world, since + n * BIN_S, since + (n + 1) * BIN_S) for n in range(count))


def _p99(world: World, since: float, until: float) -> float:
    latencies = sorted(latency for at, latency in world.good if since <= at < until)
    return latencies[int(0.99 * len(latencies))] if latencies else math.inf
