"""What is known of one service when something is decided about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from godwit.domain.ids import AttemptId, JobId
from godwit.domain.jobs import Attempt, Job
from godwit.domain.resources import Infra
from godwit.domain.services import Replica, ReplicaState, Service
from godwit.scheduler.departures import Departure


@dataclass(frozen=True)
class VersionTraffic:
    """What gateways measured of one version in their last windows, together; None where nothing was answered."""

    answered: int = 0
    failed: int = 0
    latency_s: float | None = None

    @property
    def error_rate(self) -> float:
        """The share of its requests that failed; 0 where there were none."""
        return self.failed / max(1, self.answered + self.failed)


@dataclass(frozen=True)
class Traffic:
    """What gateways measured of a service in their last windows, all of them together. Rates are per second."""

    gateways: int = 0
    in_flight: int = 0
    queued: int = 0
    requests_per_s: float = 0.0
    shed_per_s: float = 0.0
    failed_per_s: float = 0.0
    tokens_per_s: float = 0.0
    queue_delay_p90_s: float | None = None
    latency_p50_s: float | None = None
    latency_p99_s: float | None = None
    by_version: Mapping[int, VersionTraffic] = field(default_factory=dict)

    @property
    def is_idle(self) -> bool:
        """Whether nobody wants anything of it."""
        return not (self.in_flight or self.queued or self.requests_per_s or self.shed_per_s)


@dataclass(frozen=True)
class Zone:
    """Where spot replicas of a service may be, at what price for one, and whether it lost or refused one lately."""

    place: Infra
    usd_per_hour: float
    is_passed_over: bool = False


@dataclass(frozen=True)
class View:
    """One service with its `replicas` that are not gone, the last that are (`gone`, newest first), and their jobs.

    `attempts` are the living ones, by job. `in_flight` is what gateways say that an attempt has; `quiet` are attempts
    to which no gateway leads any more and that have nothing in flight, as every gateway says. `samples` are what
    autoscaling asked for lately, as (instant, replicas), the oldest first, and `idle_since` is since when nobody wanted
    anything; None: somebody does, or nobody measures. `foreseen` is how many are needed soon, by past days. `zones` are
    where spot for it is sold. `leaving` are replicas that have to leave their nodes, with the reason and by when.
    """

    service: Service
    replicas: tuple[Replica, ...] = ()
    gone: tuple[Replica, ...] = ()
    jobs: Mapping[JobId, Job] = field(default_factory=dict)
    attempts: Mapping[JobId, Attempt] = field(default_factory=dict)
    in_flight: Mapping[AttemptId, int] = field(default_factory=dict)
    quiet: frozenset[AttemptId] = frozenset()
    traffic: Traffic | None = None
    samples: tuple[tuple[float, float], ...] = ()
    idle_since: float | None = None
    foreseen: float | None = None
    zones: tuple[Zone, ...] = ()
    leaving: Mapping[JobId, Departure] = field(default_factory=dict)

    def of(self, number: int, *states: ReplicaState) -> list[Replica]:
        """Replicas of a version in some states, by their numbers."""
        return [one for one in self.replicas if one.number == number and one.state in states]

    def ready(self, number: int) -> list[Replica]:
        """Replicas of a version that take requests and are to stay."""
        return [one for one in self.of(number, ReplicaState.READY) if one.moves_to is None]
