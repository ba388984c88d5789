"""What `service.yaml` says besides what every specification does, and the way from there to domain values."""

import re
from typing import Annotated, Literal

from godwit.domain.errors import InvalidRequest, Problem
from godwit.domain.serving import (
    Affinity,
    Autoscale,
    Change,
    Hedge,
    Priority,
    Probe,
    Requests,
    Serving,
    Signal,
    Strategy,
)
from godwit.domain.wire.pages import Message
from pydantic import Field, StringConstraints

REPLICAS_MAX = 1_000
_RANGE = re.compile(r"^\s*(\d{1,4})\s*\.\.\s*(\d{1,4})\s*$")
_WAIT = r"^[0-9]{1,6}(ms|s|m|h)$"
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

Wait = Annotated[str, StringConstraints(pattern=_WAIT)]
HttpPath = Annotated[str, StringConstraints(pattern=r"^/[!-~]*$", max_length=1024)]
Share = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$", max_length=256)]


def seconds(wait: str) -> float:
    """`500ms`, `2s`, `5m` or `1h` in seconds."""
    unit = "ms" if wait.endswith("ms") else wait[-1]
    return float(wait.removesuffix(unit)) * _UNITS_S[unit]


def wait_text(wait_s: float) -> str:
    """Seconds as their owner would write them."""
    whole_ms = round(wait_s * 1000)
    unit, size_ms = next((u, round(s * 1000)) for u, s in reversed(_UNITS_S.items()) if whole_ms % round(s * 1000) == 0)
    return f"{whole_ms // size_ms}{unit}"


class ProbeSpec(Message):
    """A question to a replica: an HTTP GET of `path` (2xx or 3xx is a yes), or without one a connection to its port."""

    path: HttpPath | None = None
    period: Wait = "1s"
    timeout: Wait = "1s"
    failures: Annotated[int, Field(ge=1, le=100)] = 3

    def to_domain(self, path: tuple[str, ...]) -> Probe:
        """The same as a domain value; raises `InvalidRequest` for times that are none."""
        period_s, timeout_s = seconds(self.period), seconds(self.timeout)
        if not 0.05 <= period_s <= 3600 or not 0.01 <= timeout_s <= 600:
            message = "a probe comes every 50ms to 1h, and waits 10ms to 10m for its answer"
            raise InvalidRequest(problems=[Problem(path, message, ("{path: /health, period: 1s, timeout: 1s}",))])
        return Probe(self.path, period_s, timeout_s, self.failures)


class AutoscaleSpec(Message):
    """By what the number of replicas follows its users: `target` is for one replica; of delays (seconds) a bound.

    `query` (one number, for all replicas) is asked of the Prometheus at `url`, one that the operator allows.
    """

    on: Literal["in-flight", "queue-delay", "tokens", "latency", "prometheus"] = "in-flight"
    target: Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)] = 8.0
    window: Wait = "30s"
    down_after: Wait = "5m"
    idle_after: Wait = "15m"
    query: Annotated[str, StringConstraints(strip_whitespace=True, max_length=2_048)] = ""
    url: Annotated[str, StringConstraints(pattern=r"^(https?://[^?#\s]+)?$", max_length=512)] = ""
    predict: bool = False

    def to_domain(self) -> Autoscale:
        """The same as a domain value; raises `InvalidRequest` for a query that nothing asks, or none where one is."""
        is_asked = self.on == Signal.PROMETHEUS.value
        if is_asked != bool(self.query) or (self.url and not is_asked):
            message = "`query` goes with `on: prometheus`, and `url` with both"
            accepted = ("{on: prometheus, query: 'sum(rate(requests_total[1m]))', target: 20}",)
            raise InvalidRequest(problems=[Problem(("autoscale", "query"), message, accepted)])
        waits = (max(1.0, seconds(self.window)), seconds(self.down_after), seconds(self.idle_after))
        return Autoscale(Signal(self.on), self.target, *waits, self.query, self.url.rstrip("/"), self.predict)


class ChangeSpec(Message):
    """How a new version comes, and what takes it back by itself."""

    strategy: Literal["rolling", "blue-green", "canary"] = "rolling"
    steps: Annotated[list[Share], Field(min_length=1, max_length=20)] = Field(
        default_factory=lambda: list(Change().steps)
    )
    bake: Wait = "1m"
    ready_within: Wait = "15m"
    errors_max: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.05
    slower_max: Annotated[float, Field(ge=1, le=1_000, allow_inf_nan=False)] = 3.0
    shadow: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.0

    def to_domain(self) -> Change:
        """The same as a domain value; raises `InvalidRequest` for steps that go back, or a shadow of nothing."""
        if self.shadow and self.strategy != "blue-green":
            message = "only a blue-green change has a time in which the new version gets copies and nothing else"
            accepted = ("{strategy: blue-green, shadow: 0.1}",)
            raise InvalidRequest(problems=[Problem(("rollout", "shadow"), message, accepted)])
        if list(self.steps) != sorted(set(self.steps)):
            message = "each step of a canary takes more of the requests than the one before"
            raise InvalidRequest(problems=[Problem(("rollout", "steps"), message, ("[0.05, 0.25, 0.5]",))])
        return Change(
            Strategy(self.strategy), tuple(self.steps), seconds(self.bake), seconds(self.ready_within),
            self.errors_max, self.slower_max, self.shadow,
        )  # fmt: skip


class RequestsSpec(Message):
    """How gateways treat a service's requests: who goes first, what is sent twice, how many at once, for how long."""

    priority: Literal["interactive", "batch"] = "interactive"
    hedge: Literal["never", "idempotent", "always"] = "never"
    affinity: Literal["none", "session", "prefix"] = "none"
    start_concurrency: Annotated[int, Field(ge=1, le=100_000)] = 4
    concurrency_max: Annotated[int, Field(ge=1, le=100_000)] = 1_000
    queue_max: Annotated[int, Field(ge=0, le=100_000)] = 1_000
    queue_wait: Wait = "10s"
    first_byte: Wait = "2m"
    idle: Wait = "1m"
    retries: Annotated[int, Field(ge=0, le=10)] = 2

    def to_domain(self) -> Requests:
        """The same as a domain value; raises `InvalidRequest` for times that are none."""
        for key, wait in {"queue_wait": self.queue_wait, "first_byte": self.first_byte, "idle": self.idle}.items():
            if not 0.001 <= seconds(wait) <= 86_400:
                problem = Problem(("requests", key), f"{wait} is not within 1ms to 24h", ("10s",))
                raise InvalidRequest(problems=[problem])
        return Requests(
            Priority(self.priority), Hedge(self.hedge), Affinity(self.affinity), self.start_concurrency,
            self.concurrency_max, self.queue_max, seconds(self.queue_wait), seconds(self.first_byte),
            seconds(self.idle), self.retries,
        )  # fmt: skip


class ServingSpec(Message):
    """The keys of a specification that only `kind: service` has.

    `port` is where the program listens; without it, it is given one as PORT. `ray`: each replica has a Ray of its own.
    `keyless`: it takes requests without an API key. `spare`: so many replicas more than wanted are on spot, spread over
    zones, and on demand only what spot lacks.
    """

    replicas: Annotated[int, Field(ge=0, le=REPLICAS_MAX)] | Annotated[str, StringConstraints(max_length=16)] = 1
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    readiness: ProbeSpec = Field(default_factory=ProbeSpec)
    liveness: ProbeSpec | None = None
    drain: Wait = "1m"
    ray: bool = False
    models: Annotated[list[ModelName], Field(max_length=1_000)] = Field(default_factory=list)
    keyless: bool = False
    spare: Annotated[int, Field(ge=0, le=100)] | None = None
    autoscale: AutoscaleSpec | None = None
    rollout: ChangeSpec = Field(default_factory=ChangeSpec)
    requests: RequestsSpec = Field(default_factory=RequestsSpec)

    def to_serving(self, *, nodes: int) -> Serving:
        """The same as a domain value, of replicas with so many nodes; raises `InvalidRequest` with the path."""
        low, high = self._replicas()
        if low != high and self.autoscale is None:
            scale: Autoscale | None = Autoscale()
        else:
            scale = None if self.autoscale is None else self.autoscale.to_domain()
        return Serving(
            replicas_min=low,
            replicas_max=high,
            port=self.port,
            readiness=self.readiness.to_domain(("readiness",)),
            liveness=None if self.liveness is None else self.liveness.to_domain(("liveness",)),
            drain_s=seconds(self.drain),
            ray=self.ray or nodes > 1,
            models=tuple(self.models),
            keyless=self.keyless,
            spare=self.spare,
            autoscale=scale,
            change=self.rollout.to_domain(),
            requests=self.requests.to_domain(),
        )

    def _replicas(self) -> tuple[int, int]:
        if isinstance(self.replicas, int):
            return self.replicas, self.replicas
        match = _RANGE.match(self.replicas)
        low, high = (int(match[1]), int(match[2])) if match else (1, 0)
        if not low <= high or not 1 <= high <= REPLICAS_MAX:
            message = f"cannot read {self.replicas!r} as replicas, from low to high within 0..{REPLICAS_MAX}"
            raise InvalidRequest(problems=[Problem(("replicas",), message, ("3", "1..10", "0..4"))])
        return low, high


def shown(of: Serving) -> dict[str, object]:
    """What a specification said of it, as the fields of a `ServingSpec`."""
    low, high = of.replicas_min, of.replicas_max
    return {
        "replicas": low if low == high else f"{low}..{high}",
        "port": of.port,
        "readiness": _probe(of.readiness),
        "liveness": None if of.liveness is None else _probe(of.liveness),
        "drain": wait_text(of.drain_s),
        "ray": of.ray,
        "models": list(of.models),
        "keyless": of.keyless,
        "spare": of.spare,
        "autoscale": None if of.autoscale is None else _autoscale(of.autoscale),
        "rollout": _change(of.change),
        "requests": _requests(of.requests),
    }


def _probe(of: Probe) -> ProbeSpec:
    period, timeout = wait_text(of.period_s), wait_text(of.timeout_s)
    return ProbeSpec(path=of.path, period=period, timeout=timeout, failures=of.failures)


def _autoscale(of: Autoscale) -> AutoscaleSpec:
    return AutoscaleSpec(
        on=of.signal.value, target=of.target, window=wait_text(of.window_s), down_after=wait_text(of.down_after_s),
        idle_after=wait_text(of.idle_after_s), query=of.query, url=of.url, predict=of.predict,
    )  # fmt: skip


def _change(of: Change) -> ChangeSpec:
    return ChangeSpec(
        strategy=of.strategy.value, steps=list(of.steps), bake=wait_text(of.bake_s),
        ready_within=wait_text(of.ready_within_s), errors_max=of.errors_max, slower_max=of.slower_max,
        shadow=of.shadow,
    )  # fmt: skip


def _requests(of: Requests) -> RequestsSpec:
    return RequestsSpec(
        priority=of.priority.value, hedge=of.hedge.value, affinity=of.affinity.value,
        start_concurrency=of.start_concurrency, concurrency_max=of.concurrency_max, queue_max=of.queue_max,
        queue_wait=wait_text(of.queue_wait_s), first_byte=wait_text(of.first_byte_s), idle=wait_text(of.idle_s),
        retries=of.retries,
    )  # fmt: skip
