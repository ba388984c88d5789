"""What a control plane counts and times while it works; reading them costs nobody anything."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from godwit.control_plane.metrics import described
from godwit.domain.metrics import Described
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

REQUEST_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
STEP_BUCKETS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""A heartbeat takes milliseconds; a plan for 5,000 nodes may take seconds; polls for commands wait for 20 s."""


# A series beside each counter that says when it began: nothing here reads it.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Instruments:
    """The counters and histograms of one process. Callable from any thread."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self._request_seconds = self._histogram(described.REQUEST_SECONDS, REQUEST_BUCKETS_S)
        self._requests = self._counter(described.REQUESTS)
        self._answered: dict[tuple[str, str, int], tuple[Histogram, Counter]] = {}
        self._connections = Gauge(*_of(described.CONNECTIONS), registry=self.registry)
        self._connections_ended = self._counter(described.CONNECTIONS_ENDED)
        self._phase_seconds = self._histogram(described.PHASE_SECONDS, STEP_BUCKETS_S)
        self._actions = self._counter(described.ACTIONS)
        self._step_seconds = self._histogram(described.STEP_SECONDS, STEP_BUCKETS_S)
        self._step_failures = self._counter(described.STEP_FAILURES)
        self._notified = self._counter(described.NOTIFIED)
        self._step_at = Gauge(*_of(described.STEP_AT), registry=self.registry)
        self._tasks = self._counter(described.TASKS)
        self._tasks_sent = self._counter(described.TASKS_SENT)
        self._broker = Gauge(*_of(described.BROKER), registry=self.registry)
        self._waiting = Gauge(*_of(described.TASKS_WAITING), registry=self.registry)

    def answered(self, route: str, method: str, code: int, seconds: float) -> None:
        """A request was answered; `route` is the template of its path."""
        key = route, method, code
        series = self._answered.get(key)
        if series is None:  # looking them up takes longer than counting, a thousand times a second
            labelled = self._request_seconds.labels(route, method), self._requests.labels(route, method, str(code))
            series = self._answered[key] = labelled
        series[0].observe(seconds)
        series[1].inc()

    def connections(self, count: Callable[[], int]) -> None:
        """How many connections are open is asked when it is to be told."""
        self._connections.set_function(count)
        for outcome in ("closed", "refused"):  # so that the series are there before the first
            self._connections_ended.labels(outcome)

    def connection_ended(self, outcome: str) -> None:
        """A connection was closed to make room, or refused."""
        self._connections_ended.labels(outcome).inc()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """A part of a plan takes as long as this block."""
        began = time.perf_counter()
        yield
        self._phase_seconds.labels(name).observe(time.perf_counter() - began)

    def acted(self, action: str) -> None:
        """An action of a plan was written down."""
        self._actions.labels(action).inc()

    @contextmanager
    def step(self, loop: str) -> Iterator[None]:
        """A step of a loop takes as long as this block; what it raises is counted and goes on."""
        began = time.perf_counter()
        failures = self._step_failures.labels(loop)  # so that the series is there before the first failure
        try:
            yield
        except Exception:
            failures.inc()
            raise
        finally:
            self._step_seconds.labels(loop).observe(time.perf_counter() - began)
        self._step_at.labels(loop).set(time.time())

    def notified(self, target: str, outcome: str) -> None:
        """A receiver was told, or not: delivered, failed, given-up."""
        self._notified.labels(target, outcome).inc()

    def broker(self, where: str, *, is_up: bool, waiting: int = 0) -> None:
        """The broker took what was sent, or did not; `waiting` messages were in the queue."""
        self._broker.labels(where).set(is_up)
        self._waiting.labels(where).set(waiting)

    def sent(self) -> None:
        """A message went to workers."""
        self._tasks_sent.inc()

    def took(self, outcome: str) -> None:
        """A worker took a message: carried, nothing, failed."""
        self._tasks.labels(outcome).inc()

    def ended(self, loop: str) -> None:
        """A loop ended on purpose: another process leads now, or what it looked at is not configured any more."""
        for metric in (self._step_seconds, self._step_failures, self._step_at):
            with suppress(KeyError):  # it never ended a step
                metric.remove(loop)

    def all_ended(self) -> None:
        """Every loop ended on purpose: another control plane runs them now."""
        for metric in (self._step_seconds, self._step_failures, self._step_at, self._broker, self._waiting):
            metric.clear()

    def _histogram(self, of: Described, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(*_of(of), buckets=buckets, registry=self.registry)

    def _counter(self, of: Described) -> Counter:
        return Counter(*_of(of), registry=self.registry)


def _of(metric: Described) -> tuple[str, str, tuple[str, ...]]:
    return metric.name, metric.help, metric.labels
