"""The regulator of one service: takes each request to a replica, lets it wait, or refuses it with a reason.

What it is told: `offer` (a request came), `ended` (one is over), `left` (a client did not wait), `update` (new routes).
After each of these, and at `wakes_at`, `turn` gives what is decided for those that waited.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from godwit.domain.wire.routes import Regulation, ServiceRoute
from godwit.gateway.regulator import balance, sheds
from godwit.gateway.regulator.budget import RetryBudget
from godwit.gateway.regulator.earned import EarnedLimit
from godwit.gateway.regulator.queue import INTERACTIVE, Queue, Waiting
from godwit.gateway.regulator.replicas import Outcome, Replica
from godwit.gateway.regulator.restart import Restart
from godwit.gateway.regulator.shadows import Shadows
from godwit.gateway.regulator.sheds import Refusal, Shed

CROWD_S = 5.0
"""Those refused within about so long are expected back; it is what Retry-After reckons with."""

_EWMA = 0.1


@dataclass(frozen=True)
class Granted:
    """A request may go to this replica now; `ended` must be told of its end."""

    replica: str


Verdict = Granted | Refusal


@dataclass
class Regulator:
    """Of one service, in one gateway. Times in seconds, of any clock that never goes back."""

    regulation: Regulation
    rng: Random
    now: float
    replicas: dict[str, Replica] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    shadows: Shadows = field(default_factory=Shadows)
    sheds: Counter[Shed] = field(default_factory=Counter)
    latency_s: float | None = None
    _crowd: float = 0.0
    _crowd_at: float = 0.0

    def __post_init__(self) -> None:
        self.queue = Queue(self.regulation.queue_wait_s, self.regulation.queue_max)
        self.budget = RetryBudget(self.now)
        self.restart = Restart(self.regulation.start_concurrency)

    def update(self, route: ServiceRoute, now: float) -> None:
        """Go by these routes from now on. A replica that stays keeps what it has earned."""
        self.regulation = route.regulation
        self.queue.wait_s, self.queue.most = route.regulation.queue_wait_s, route.regulation.queue_max
        self.weights = {version.name: version.weight for version in route.versions if not version.shadow}
        self.shadows.parts = {version.name: version.weight for version in route.versions if version.shadow}
        known = self.replicas | self.shadows.replicas
        self.replicas, self.shadows.replicas = {}, {}
        for listed in route.replicas:
            replica = known.get(listed.id)
            # At another address it is another process, and cold.
            if replica is None or (replica.version, replica.url) != (listed.version, listed.url):
                earned = EarnedLimit(self.regulation.start_concurrency, self.regulation.concurrency_max)
                replica = Replica(listed.id, listed.version, earned, listed.url)
            replica.earned.most = self.regulation.concurrency_max
            replica.draining = listed.state == "draining"
            # What it has earned with copies it has earned: it keeps that when it gets requests.
            among = self.shadows.replicas if listed.version in self.shadows.parts else self.replicas
            among[listed.id] = replica
        self._note_restart(now)

    def offer(self, waiting: Waiting, now: float) -> Verdict | None:
        """What becomes of a request that comes now: granted, refused, or None while it waits for its turn."""
        self.budget.deposit(now)
        if self.restart.down:
            self._note_restart(now)
        if not len(self.queue):
            granted = self._grant(waiting, now)
            if granted is not None:
                self.queue.not_needed(now)
                return granted
        allowed_s = self.allowed_s(now)
        if self._wait_s(self.queue.ahead(waiting.rank), now) > allowed_s:
            return self._refuse(Shed.WOULD_WAIT_TOO_LONG, now)
        if self.queue.full and waiting.rank != INTERACTIVE:
            return self._refuse(Shed.QUEUE_FULL, now)
        self.queue.push(waiting, now)
        return None

    def again(self, waiting: Waiting, now: float) -> Verdict | None:
        """As `offer`, for one whose replica did not take it; refused when that would be one retry too many.

        It goes before those that came after it.
        """
        if not self.budget.withdraw(now):
            return self._refuse(Shed.REPLICA_FAILED, now)
        granted = self._grant(waiting, now)
        if granted is None:
            self.queue.push_first(waiting, now)
        return granted

    def hedge(self, first: str, now: float) -> Granted | None:
        """A second replica for a request that the `first` takes long for.

        None when no other has room, when somebody waits for it, or when that would be one retry too many.
        """
        if len(self.queue) or self.restart.limit is not None:
            return None
        among = [one for one in self.replicas.values() if one.id != first]
        replica = balance.choose(among, self.weights, now, self.rng)
        if replica is None or not self.budget.withdraw(now):
            return None
        replica.in_flight += 1
        return Granted(replica.id)

    def copies(self, now: float) -> list[str]:
        """The replicas in the shadow that get a copy of a request which was granted; `ended` must be told of each."""
        return self.shadows.grant(now, self.rng, is_quiet=not len(self.queue) and self.restart.limit is None)

    def headed(self, replica_id: str, latency_s: float, now: float) -> None:
        """The head of an answer came: what a replica can do shows in that, however long the rest is."""
        replica = self.replicas.get(replica_id)
        if replica is not None:
            replica.headed(latency_s, now)
            self._measure(latency_s, now)
        elif (shadow := self.shadows.replicas.get(replica_id)) is not None:
            shadow.headed(latency_s, now)

    def ended(self, replica_id: str, outcome: Outcome, latency_s: float | None, now: float) -> None:
        """A granted request is over; `latency_s` is until the head of its answer, None where `headed` was told."""
        replica = self.replicas.get(replica_id)
        if replica is None:
            # A copy; or its replica has left the routes meanwhile.
            if (shadow := self.shadows.replicas.get(replica_id)) is not None:
                self.shadows.ended(shadow, outcome, latency_s, now, self.rng)
            return
        others = any(other.usable(now) for other in self.replicas.values() if other is not replica)
        replica.ended(outcome, latency_s, now, self.rng, others=others)
        if outcome is Outcome.ANSWERED:
            if latency_s is not None:
                self._measure(latency_s, now)
            return
        self.restart.ended(outcome)
        self._note_restart(now)

    def _measure(self, latency_s: float, now: float) -> None:
        known = self.latency_s
        self.latency_s = latency_s if known is None else known + (latency_s - known) * _EWMA
        if self.restart.limit is not None:
            self.restart.ended(Outcome.ANSWERED)
            self._note_restart(now)

    def left(self, waiting: Waiting) -> bool:
        """The client of one that waits has left; False when it does not wait any more."""
        return self.queue.remove(waiting)

    def turn(self, now: float) -> Iterator[tuple[Waiting, Verdict]]:
        """What is decided now for those that waited."""
        if not len(self.queue):
            return
        self._note_restart(now)
        while len(self.queue) > self.queue.most:
            yield self._overflowed(now)
        for late in self.queue.late(now, self._unloaded_s(now)):
            reason = Shed.WAITED_TOO_LONG if self._capacity(now) else Shed.NO_REPLICA
            yield late, self._refuse(reason, now)
        while (head := self.queue.head()) is not None:
            granted = self._grant(head, now)
            if granted is None:
                return
            yield self.queue.take(), granted

    def wakes_at(self, now: float) -> float | None:
        """When `turn` should be asked although nothing happens; None: no need."""
        late_at = self.queue.next_late_at(now, self._unloaded_s(now))
        if late_at is None:
            return None
        back = [one.out_until for one in self.replicas.values() if now < one.out_until and not one.draining]
        return min([late_at, *back])

    def allowed_s(self, now: float) -> float:
        """How long a request may wait at present."""
        return self.queue.allowed_s(now, self._unloaded_s(now))

    @property
    def everyone(self) -> list[Replica]:
        """All replicas, those in the shadow too."""
        return [*self.replicas.values(), *self.shadows.replicas.values()]

    @property
    def in_flight(self) -> int:
        """How many requests replicas have from here, without copies."""
        return sum(replica.in_flight for replica in self.replicas.values())

    def refuse(self, reason: Shed, now: float) -> Refusal:
        """Refuse for a reason that is not the regulator's own, and count it."""
        return self._refuse(reason, now)

    def _overflowed(self, now: float) -> tuple[Waiting, Refusal]:
        displaced = self.queue.displaced()
        if displaced is not None:
            return displaced, self._refuse(Shed.DISPLACED, now)
        return self.queue.newest(), self._refuse(Shed.QUEUE_FULL, now)

    def _grant(self, waiting: Waiting, now: float) -> Granted | None:
        if self.restart.limit is not None and self.in_flight >= self.restart.limit:
            return None
        among = list(self.replicas.values())
        if waiting.exclude:
            # Rather another one; the same again if it is the only one.
            among = [one for one in among if one.id not in waiting.exclude and one.usable(now)] or among
        replica = balance.choose(among, self.weights, now, self.rng, waiting.affinity)
        if replica is None:
            return None
        replica.in_flight += 1
        return Granted(replica.id)

    def _capacity(self, now: float) -> int:
        """How many requests may be with replicas at once, as they are now."""
        limits = sum(one.limit for one in self.replicas.values() if one.usable(now))
        return self.restart.bound(limits)

    def _wait_s(self, ahead: int, now: float) -> float:
        """How long those ahead take (Little's law); nothing is known until something was answered."""
        capacity = self._capacity(now)
        if not capacity or self.latency_s is None:
            return 0.0
        return ahead * self.latency_s / capacity

    def _unloaded_s(self, now: float) -> float | None:
        """The latency by which waiting is measured: that of late grows with what waits inside, and would allow more."""
        known = [one.earned.unloaded_s for one in self.replicas.values() if one.usable(now)]
        return min((one for one in known if one is not None), default=self.latency_s)

    def _refuse(self, reason: Shed, now: float) -> Refusal:
        self.sheds[reason] += 1
        # All who were refused lately come back, and find each other: the wait is that of the whole crowd.
        self._crowd = self._crowd * max(0.0, 1.0 - (now - self._crowd_at) / CROWD_S) + 1.0
        self._crowd_at = now
        wait_s = self._wait_s(len(self.queue) + int(self._crowd), now)
        return Refusal(reason, sheds.spread(wait_s, self.rng))

    def _note_restart(self, now: float) -> None:
        usable = [one for one in self.replicas.values() if one.usable(now)]
        self.restart.saw(len(usable), sum(one.limit for one in usable), now)
