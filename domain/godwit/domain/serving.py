"""What a service asks for besides what every job does: replicas, a port, probes, how it scales and how it changes."""

from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True)
class Probe:
    """A question to a replica, asked every `period_s` by the agent beside it.

    With a `path` it is an HTTP GET that must be answered with 2xx or 3xx within `timeout_s`; without one, a connection
    to the port will do. `failures` in a row count as no, one good answer as yes. Defaults are those of Kubernetes
    (kubernetes.io, "Configure Liveness, Readiness and Startup Probes") but for the period: 10 s is long for a queue.
    """

    path: str | None = None
    period_s: float = 1.0
    timeout_s: float = 1.0
    failures: int = 3


class Signal(StrEnum):
    """What a service is scaled by: what its users feel, as its gateways measure it, or a query to a Prometheus."""

    IN_FLIGHT = "in-flight"
    QUEUE_DELAY = "queue-delay"
    TOKENS = "tokens"
    LATENCY = "latency"
    PROMETHEUS = "prometheus"


@dataclass(frozen=True)
class Autoscale:
    """How many replicas there are, between the least and the most, by a signal.

    `target` is what one replica should have of it: requests in flight, tokens a second, or a part of what a query gives
    for all of them; of delays and latencies (seconds) it is the bound. Up at once when the mean over `window_s` asks
    for it, down when it did for `down_after_s` (Kubernetes' own horizontal autoscaler: 0 and 300 s); to none after
    `idle_after_s` without requests. `query` is asked of the Prometheus at `url`. `predict`: also for what was needed
    at this time of past days.
    """

    signal: Signal = Signal.IN_FLIGHT
    target: float = 8.0
    window_s: float = 30.0
    down_after_s: float = 300.0
    idle_after_s: float = 900.0
    query: str = ""
    url: str = ""
    predict: bool = False


class Strategy(StrEnum):
    """How a service comes to a new version.

    `rolling`: replica by replica, one more than wanted at a time. `blue-green`: all new ones beside the old ones, then
    all requests at once. `canary`: all new ones, which get more and more of the requests.
    """

    ROLLING = "rolling"
    BLUE_GREEN = "blue-green"
    CANARY = "canary"


@dataclass(frozen=True)
class Change:
    """How a new version comes, and when it is taken back by itself.

    `steps` are the shares of requests (0 to 1) of a canary, each for `bake_s`; the other strategies bake once, at the
    end. It is rolled back when it is not ready within `ready_within_s`, when more than `errors_max` of its requests
    fail, or when its middle latency is more than `slower_max` times that of the version before. `shadow` is the part of
    the requests (0 to 1) of which a blue-green one gets copies for `bake_s`, before it is given any: nobody is shown
    what it answers.
    """

    strategy: Strategy = Strategy.ROLLING
    steps: tuple[float, ...] = (0.05, 0.25, 0.5)
    bake_s: float = 60.0
    ready_within_s: float = 900.0
    errors_max: float = 0.05
    slower_max: float = 3.0
    shadow: float = 0.0


class Priority(StrEnum):
    """Whose turn it is first where requests wait: interactive ones go before batch ones."""

    INTERACTIVE = "interactive"
    BATCH = "batch"


class Hedge(StrEnum):
    """Which requests may be sent to a second replica while the first one takes long.

    `idempotent`: those whose method or whose Idempotency-Key header says that they may be sent twice. `always`: the
    service says it of all its requests.
    """

    NEVER = "never"
    IDEMPOTENT = "idempotent"
    ALWAYS = "always"


class Affinity(StrEnum):
    """Which requests go to one replica while it has room: of a session (X-Session-Id), or of one beginning."""

    NONE = "none"
    SESSION = "session"
    PREFIX = "prefix"


@dataclass(frozen=True)
class Requests:
    """How gateways treat the requests of a service; `domain/wire/routes` says what each bound means.

    Times in seconds. The defaults are those of a route.
    """

    priority: Priority = Priority.INTERACTIVE
    hedge: Hedge = Hedge.NEVER
    affinity: Affinity = Affinity.NONE
    start_concurrency: int = 4
    concurrency_max: int = 1_000
    queue_max: int = 1_000
    queue_wait_s: float = 10.0
    first_byte_s: float = 120.0
    idle_s: float = 60.0
    retries: int = 2


@dataclass(frozen=True)
class Serving:
    """What a service asks for: between `replicas_min` and `replicas_max` replicas, told apart by nothing.

    `port` is where the program listens, None for one that it is given. `readiness` says whether it takes requests,
    `liveness` whether it is to be started anew. A replica that must go takes no new requests, and has `drain_s` to
    finish those it has. `ray`: each replica has a Ray cluster of its own, as one with several nodes always has.
    `models` are the names under which an OpenAI-compatible client finds it. `keyless`: it is open to whoever reaches a
    gateway; else it takes a key of its project. `spare` replicas more than wanted are kept on spot, and what spot
    lacks on demand; None: each replica is placed like any job.
    """

    replicas_min: int = 1
    replicas_max: int = 1
    port: int | None = None
    readiness: Probe = Probe()
    liveness: Probe | None = None
    drain_s: float = 60.0
    ray: bool = False
    models: tuple[str, ...] = ()
    keyless: bool = False
    spare: int | None = None
    autoscale: Autoscale | None = None
    change: Change = field(default_factory=Change)
    requests: Requests = Requests()
