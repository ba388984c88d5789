"""What the API shows of services, and what is wished of them."""

from typing import Annotated, Literal

from godwit.domain.wire.pages import Message
from godwit.domain.wire.serving import REPLICAS_MAX
from godwit.domain.wire.specs import JobSpecIn
from pydantic import Field, StringConstraints


class ReplicaView(Message):
    """One replica: `job_id` is the job that it is, `job_state` where that stands. `url` is where it last served.

    `in_flight` is what gateways said last that it has; None: none of them speaks of it.
    """

    job_id: str
    name: str
    version: int
    state: Literal["starting", "ready", "draining", "gone"]
    state_since: float
    job_state: str
    created_at: float
    url: str = ""
    zone: str = ""
    spot: bool | None = None
    in_flight: int | None = None
    detail: str = ""


class VersionView(Message):
    """A version of a service: its part of the requests, and how many replicas of it there are and take requests."""

    version: int
    share: float
    created_at: float
    replicas: int
    ready: int


class RolloutView(Message):
    """A change of versions that is under way; `backwards` says why it is taken back, and is empty while it is not.

    `paused` says who holds it where it is. `step` counts from 0, of `steps` of a canary (0 for others).
    """

    version: int
    before: int
    strategy: Literal["rolling", "blue-green", "canary"]
    began_at: float
    step: int
    share: float
    backwards: str = ""
    steps: int = 0
    paused: str = ""
    promoted: bool = False


class TrafficView(Message):
    """What gateways measured of a service lately, all of them together; None where nobody measured."""

    gateways: int
    in_flight: int
    queued: int
    requests_per_s: float
    shed_per_s: float
    failed_per_s: float
    tokens_per_s: float
    queue_delay_p90_s: float | None = None
    latency_p50_s: float | None = None
    latency_p99_s: float | None = None


class ServiceView(Message):
    """A service: how many replicas are wanted now, within which bounds, and how many there are and take requests."""

    kind: Literal["service"] = "service"
    id: str
    name: str
    project: str
    state: Literal["serving", "deleting", "deleted"]
    created_at: float
    version: int
    replicas: int
    replicas_min: int
    replicas_max: int
    ready: int
    starting: int
    draining: int
    rollout: RolloutView | None = None
    why: str = ""
    """What keeps it from being as wanted, if anything does."""


class ServiceDetail(ServiceView):
    """A service with its replicas, versions and traffic."""

    spec: JobSpecIn
    versions: list[VersionView]
    replica_list: list[ReplicaView]
    traffic: TrafficView | None = None


class ScaleWanted(Message):
    """How many replicas a service should have, within its own bounds; autoscaling goes on from there."""

    replicas: Annotated[int, Field(strict=True, ge=0, le=REPLICAS_MAX)]


class RolloutWanted(Message):
    """What should be done with a change of versions that is under way.

    `pause` holds it where it is, `resume` lets it go on. `promote`: the new version takes all requests as soon as it
    has replicas for them, without waiting. `undo` takes it back; where none is under way it goes back to the version
    before, or to version `to`, as a new one.
    """

    action: Literal["pause", "resume", "promote", "undo"]
    to: Annotated[int, Field(strict=True, ge=1, le=2**31)] | None = None


class MoveWanted(Message):
    """Where a service or a replica should go, as provider[/region[/zone]]; None: anywhere else it costs least."""

    to: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = None
