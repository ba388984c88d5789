"""What gateways are told of services, and what they tell back; a gateway dials, always.

    GET  /v1/routes?version=7&wait_s=20&gateway=g-1   (long poll)   -> RouteTable, or 304 while 7 is still the newest
    POST /v1/routes/signals                                         GatewaySignals -> 204

A gateway that asks with a version serves by it: nothing it starts from then on goes where that version does not lead.
Any other version than the one asked with is sent, an older one too: a database may have been restored. Both take a
token of the kind that gateways have.

Keys that are not known are left alone here, unlike elsewhere: a gateway of an older release must not be cut off from
a newer control plane's routes.
"""

from typing import Annotated, Literal

from godwit.domain.wire.specs import Digest, Name
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

SERVICES_MAX = 10_000
REPLICAS_MAX = 1_000
KEYS_MAX = 100_000

Id = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Label = Annotated[str, StringConstraints(max_length=128)]
ModelName = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^/?#\s]+$", max_length=512)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Figure = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Concurrency = Annotated[int, Field(ge=1, le=100_000)]


class RouteMessage(BaseModel):
    """Base of these messages: unknown keys are left alone, values do not change after parsing."""

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)


class ReplicaRoute(RouteMessage):
    """One process that serves. `url` has neither path nor slash at its end.

    `version` names one of its service's versions. `draining`: it takes no new requests and finishes those it has.
    `since` is when it came to its state, in seconds since the epoch.
    """

    id: Id
    url: Url
    version: Id
    zone: Label = ""
    state: Literal["ready", "draining"] = "ready"
    since: Figure = 0.0


class VersionRoute(RouteMessage):
    """A version of a service: `weight` is its part of the requests, beside the other versions' weights.

    A `shadow` gets copies instead, of `weight` (0 to 1) of the requests; nobody is shown what it answers.
    """

    name: Id
    weight: Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)] = 1.0
    shadow: bool = False


class Regulation(RouteMessage):
    """How a service is kept from being overrun.

    `start_concurrency` is how many requests a new or returned replica is given at once at first; it earns more, up to
    `concurrency_max`. A request waits `queue_wait_s` at most for its turn, and at most `queue_max` wait.
    """

    start_concurrency: Concurrency = 4
    concurrency_max: Concurrency = 1_000
    queue_max: Annotated[int, Field(ge=0, le=100_000)] = 1_000
    queue_wait_s: Seconds = 10.0


class Limits(RouteMessage):
    """What one request may take: sizes in bytes, times in seconds.

    `first_byte_s` is the time to the answer's head, `idle_s` the longest silence within a body, either way.
    `retries` is how often a request that has not been answered yet may be sent to another replica.
    """

    body_bytes_max: Annotated[int, Field(ge=1, le=2**40)] = 64 * 1024 * 1024
    connect_s: Seconds = 3.0
    first_byte_s: Seconds = 120.0
    idle_s: Seconds = 60.0
    retries: Annotated[int, Field(ge=0, le=10)] = 2


class ServiceRoute(RouteMessage):
    """A service: its name is unique in its project.

    `models` are the names under which the OpenAI-compatible routes find it; unique in a project as well. `hosts` are
    the host names whose requests are all for it. `keyless`: it is open to whoever reaches the gateway. `affinity` sends
    requests of one session (a header) or with the same beginning of a prompt to one replica while it has room.

    `priority` is the class of all its requests; a key may be of a lower one. `hedge`: which requests may be sent to a
    second replica once the first one takes longer than most.
    """

    name: Name
    project: Name
    models: Annotated[list[ModelName], Field(max_length=1_000)] = Field(default_factory=list)
    hosts: Annotated[list[Label], Field(max_length=64)] = Field(default_factory=list)
    versions: Annotated[list[VersionRoute], Field(max_length=16)] = Field(default_factory=list)
    replicas: Annotated[list[ReplicaRoute], Field(max_length=REPLICAS_MAX)] = Field(default_factory=list)
    affinity: Literal["none", "session", "prefix"] = "none"
    priority: Literal["interactive", "batch"] = "interactive"
    hedge: Literal["never", "idempotent", "always"] = "never"
    keyless: bool = False
    limits: Limits = Field(default_factory=Limits)
    regulation: Regulation = Field(default_factory=Regulation)


class KeyRoute(RouteMessage):
    """An API key, as the SHA-256 of its text in hex. `id` is what logs and counters call it.

    It opens the services of its project: those named, or all of them. Limits are per minute and per gateway; None: as
    many as come. Requests of class "interactive" go before those of class "batch". `expires_at`: seconds since the
    epoch.
    """

    id: Id
    sha256: Digest
    project: Name
    services: Annotated[list[Name], Field(max_length=1_000)] = Field(default_factory=list)
    requests_per_min: Annotated[int, Field(ge=1, le=2**31)] | None = None
    tokens_per_min: Annotated[int, Field(ge=1, le=2**53)] | None = None
    priority: Literal["interactive", "batch"] = "interactive"
    expires_at: Figure | None = None


class RouteTable(RouteMessage):
    """All that a gateway needs to serve, as of `version`; `made_at` is in seconds since the epoch."""

    version: Count
    made_at: Figure = 0.0
    services: Annotated[list[ServiceRoute], Field(max_length=SERVICES_MAX)] = Field(default_factory=list)
    keys: Annotated[list[KeyRoute], Field(max_length=KEYS_MAX)] = Field(default_factory=list)


class ReplicaSignals(RouteMessage):
    """Of one replica, in the window: requests answered and failed; how many it has now, of `limit` at most."""

    id: Id
    version: Id
    in_flight: Count
    limit: Count
    answered: Count
    failed: Count
    latency_s: Figure | None = None
    """Middle of the times to the answer's head, None where nothing was answered."""


class ServiceSignals(RouteMessage):
    """Of one service, in the window: what autoscaling and rollouts go by. Times in seconds; None: none to measure."""

    name: Name
    project: Name
    in_flight: Count
    queued: Count
    requests: Count
    shed: Count
    failed: Count
    tokens_in: Count = 0
    tokens_out: Count = 0
    queue_delay_p90_s: Figure | None = None
    latency_p50_s: Figure | None = None
    latency_p99_s: Figure | None = None
    replicas: Annotated[list[ReplicaSignals], Field(max_length=REPLICAS_MAX)] = Field(default_factory=list)


class GatewaySignals(RouteMessage):
    """What one gateway saw in the last `window_s`, up to `at` (seconds since the epoch), serving by `version`.

    `draining`: it is about to leave, and its requests with it.
    """

    gateway: Id
    version: Count
    at: Figure
    window_s: Seconds
    draining: bool = False
    services: Annotated[list[ServiceSignals], Field(max_length=SERVICES_MAX)] = Field(default_factory=list)
