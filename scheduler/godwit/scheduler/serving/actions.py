"""What may be decided about a service; each with a reason that a person can read."""

from dataclasses import dataclass

from godwit.domain.ids import JobId, ServiceId
from godwit.domain.jobs import Spot
from godwit.domain.resources import Infra
from godwit.domain.services import ReplicaState, Service, ServiceState


@dataclass(frozen=True)
class AddReplica:
    """One more replica of a version. `infra` and `spot` narrow where it may be; None: as its specification says."""

    service_id: ServiceId
    number: int
    reason: str
    infra: Infra | None = None
    spot: Spot | None = None


@dataclass(frozen=True)
class MoveReplica:
    """A replica goes on to a state."""

    replica_id: JobId
    to: ReplicaState
    reason: str


@dataclass(frozen=True)
class LeaveNode:
    """A replica has to leave its node: it serves on until another one does, wherever that is."""

    replica_id: JobId
    reason: str


@dataclass(frozen=True)
class StopReplica:
    """The job of a draining replica is cancelled: it has nothing to do any more, or had its time."""

    replica_id: JobId
    reason: str


@dataclass(frozen=True)
class ChangeService:
    """The service becomes `after`, but for its state, which becomes `to` where one is given."""

    after: Service
    reason: str
    to: ServiceState | None = None


ServingAction = AddReplica | MoveReplica | LeaveNode | StopReplica | ChangeService
