"""A service does not end: replicas of one program behind one name. Each replica is a job of kind `service`."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from godwit.domain.ids import AttemptId, JobId, ProjectId, ServiceId
from godwit.domain.jobs import JobSpec
from godwit.domain.serving import Serving


class ServiceState(StrEnum):
    """Where a service stands; `deleting` until its last replica is gone."""

    SERVING = "serving"
    DELETING = "deleting"
    DELETED = "deleted"


class ReplicaState(StrEnum):
    """Where a replica stands: only a `ready` one gets new requests, a `draining` one finishes those it has."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    GONE = "gone"


_S, _R = ServiceState, ReplicaState

EDGES: Mapping[StrEnum, Mapping[StrEnum, str]] = {
    _S.SERVING: {_S.DELETING: "its owner removed it"},
    _S.DELETING: {_S.DELETED: "its last replica is gone"},
    _S.DELETED: {},
}

WAITS_S: Mapping[StrEnum, tuple[float | None, str]] = {
    _S.SERVING: (None, "serves as long as its owner wishes"),
    _S.DELETING: (None, "its replicas have deadlines"),
}

REPLICA_EDGES: Mapping[StrEnum, Mapping[StrEnum, str]] = {
    _R.STARTING: {
        _R.READY: "its program answers its readiness probe",
        _R.DRAINING: "it is not wanted any more",
        _R.GONE: "its job ended",
    },
    _R.READY: {
        _R.STARTING: "it does not answer any more, or the platform lost its attempt",
        _R.DRAINING: "it is not wanted any more, or it moves",
        _R.GONE: "its job ended",
    },
    _R.DRAINING: {_R.GONE: "its job ended"},
    _R.GONE: {},
}

REPLICA_WAITS_S: Mapping[StrEnum, tuple[float | None, str]] = {
    _R.STARTING: (None, "its job has deadlines; a version that never gets ready is rolled back"),
    _R.READY: (None, "serves as long as it is wanted"),
    _R.DRAINING: (None, "stopped once nothing is in flight, or its own time to drain is over"),
}


@dataclass(frozen=True)
class Version:
    """One version of a service: `number` grows by one with each. `share` (0 to 1) is its part of the requests."""

    number: int
    spec: JobSpec
    created_at: float
    share: float = 1.0

    @property
    def serving(self) -> Serving:
        """What it asks for as a service."""
        return self.spec.serving or Serving()


@dataclass(frozen=True)
class Rollout:
    """The change to version `to` from version `before`: since when it is at its `step`, and whether it goes back.

    `step` counts the shares of a canary; `backwards` says why it is rolled back, and is empty while it is not. `paused`
    says who holds it where it is; `promoted`: its owner is content with it, and it need not bake any more.
    """

    to: int
    before: int
    began_at: float
    step: int = 0
    step_since: float | None = None
    backwards: str = ""
    paused: str = ""
    promoted: bool = False


@dataclass(frozen=True)
class Service:
    """A service: `replicas` are wanted now, of its `versions`, of which the last is the newest.

    While a `rollout` is under way there are two versions that count; else only the newest one does. `next_ordinal` is
    the number of the replica that comes next: none is used twice. `scaled_at` is when `replicas` last changed.
    """

    id: ServiceId
    project: ProjectId
    name: str
    state: ServiceState
    created_at: float
    state_since: float
    replicas: int
    versions: tuple[Version, ...]
    rollout: Rollout | None = None
    next_ordinal: int = 0
    scaled_at: float = 0.0
    version: int = 1

    @property
    def newest(self) -> Version:
        """The version that it has, or comes to."""
        return self.versions[-1]

    def of_number(self, number: int) -> Version | None:
        """The version of a number, while it is kept."""
        return next((one for one in self.versions if one.number == number), None)


@dataclass(frozen=True)
class Replica:
    """One replica: the job with its `id`. `number` is its version's, `ordinal` its own.

    `attempt_id` and `url` are those of the process that last said it was ready, and `ready_at` is when one first did.
    `routed` is the version of the routes from which on none leads to it, once it is `draining`. One that `moves_to`
    some place ("" for any) stays until another one there is ready.
    """

    id: JobId
    service_id: ServiceId
    name: str
    number: int
    ordinal: int
    state: ReplicaState
    created_at: float
    state_since: float
    attempt_id: AttemptId | None = None
    url: str = ""
    zone: str = ""
    ready_at: float | None = None
    routed: int | None = None
    moves_to: str | None = None
    detail: str = ""
    version: int = 1

    @property
    def job_id(self) -> JobId:
        """The job that it is."""
        return self.id
