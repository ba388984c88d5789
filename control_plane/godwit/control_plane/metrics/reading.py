"""Turns what the tables hold, what providers said and what loops did into metrics, when somebody asks for them."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from godwit.control_plane.contacts import Contact
from godwit.control_plane.context import Context
from godwit.control_plane.metrics import described
from godwit.control_plane.store import figures, outbox
from godwit.control_plane.version import VERSION
from godwit.domain.intents import IntentKind
from godwit.domain.metrics import Described
from godwit.providers.layers import CallMetrics
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Connection

CACHE_S = 2.0
"""Figures this old are shown again: two scrapers, or one in a hurry, do not read the tables twice."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Samples = Mapping[Any, float]
"""Label values, as many texts as labels -> value. (The keys of a Mapping allow no longer tuples, hence Any.)"""


class Exposition:
    """The text that Prometheus reads. `text` blocks for a reading of the database; callable from several threads.

    Of several control planes on one database the one that leads shows the fleet: sums over all of them are right.
    """

    def __init__(
        self,
        context: Context,
        calls: CallMetrics,
        contacts: Callable[[], Mapping[str, Contact]],
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        self._context, self._calls, self._contacts, self._leads = context, calls, contacts, leads
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Shown(self._families))
        self._registry.register(_Shown(context.instruments.registry.collect))
        self._lock = threading.Lock()
        self._shown: tuple[float, bytes] = (-CACHE_S, b"")
        self._seen: int | None = None
        self._events: Counter[tuple[str, ...]] = Counter()
        self._ended: Counter[tuple[str, ...]] = Counter()

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        with self._lock:
            now = time.monotonic()
            if now - self._shown[0] >= CACHE_S:
                self._shown = now, generate_latest(self._registry)
            return self._shown[1]

    def _families(self) -> Iterator[Metric]:
        leads = self._leads()
        yield family(described.BUILD, {(VERSION,): 1})
        yield family(described.LEADS, {(): leads})
        yield from self._of_calls()
        if leads:
            yield from self._of_fleet()
        else:
            self._seen = None

    def _of_fleet(self) -> Iterator[Metric]:
        began = time.perf_counter()
        now = self._context.now()
        with self._context.db.read() as conn:
            self._follow(conn)
            read = [*_work(conn, now), *_machines(conn, now), *_standing(conn, now)]
        took_s = time.perf_counter() - began
        yield from read
        yield family(described.EVENTS, self._events)
        yield family(described.INTENTS_ENDED, self._ended)
        yield from self._of_contacts()
        yield family(described.SCRAPE_SECONDS, {(): took_s})

    def _follow(self, conn: Connection) -> None:
        """Count the events that came since the last reading."""
        newest = figures.last_event(conn)
        if self._seen is None:
            self._seen = newest
        to = min(newest, self._seen + figures.EVENTS_MAX)
        self._events.update(figures.events_between(conn, self._seen, to))
        self._ended.update(figures.intents_ended_between(conn, self._seen, to))
        self._seen = to

    def _of_calls(self) -> Iterator[Metric]:
        known = set(self._context.providers)
        calls, seconds = self._calls.calls(), self._calls.seconds()
        yield family(described.CALLS, {key: n for key, n in calls.items() if key[0] in known})
        yield family(described.CALL_SECONDS, {key: s for key, s in seconds.items() if key[0] in known})

    def _of_contacts(self) -> Iterator[Metric]:
        known = set(self._context.providers)
        contacts = {name: contact for name, contact in self._contacts().items() if name in known}
        listed = {(name,): of.listed_at for name, of in contacts.items() if of.listed_at is not None}
        offers = {(name,): of.offers_at for name, of in contacts.items() if of.offers_at is not None}
        yield family(described.LISTED_AT, listed)
        yield family(described.OFFERS_AT, offers)
        yield family(described.FOREIGN, {(name,): of.foreign for name, of in contacts.items()})


class _Shown(Collector):
    """A function as a collector."""

    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterator[Metric]:
        return iter(self._collect())


def family(of: Described, samples: Samples) -> Metric:
    """A metric with its samples: label values in the order of the description, and the value."""
    kind = CounterMetricFamily if of.kind == "counter" else GaugeMetricFamily
    found = kind(of.name, of.help, labels=of.labels)
    for labels, value in samples.items():
        found.add_metric(labels, value)
    return found


def _work(conn: Connection, now: float) -> Iterator[Metric]:
    yield family(described.JOBS, figures.jobs(conn))
    queue = figures.queue(conn)
    yield family(described.QUEUE, {(project,): count for project, count, _ in queue})
    yield family(described.QUEUE_WAIT, {(project,): max(0.0, now - since) for project, _, since in queue})
    owed = {kind.value: (0, now) for kind in IntentKind} | dict(figures.intents(conn))
    yield family(described.INTENTS, {(kind,): count for kind, (count, _) in owed.items()})
    yield family(described.INTENT_AGE, {(kind,): max(0.0, now - since) for kind, (_, since) in owed.items()})


def _machines(conn: Connection, now: float) -> Iterator[Metric]:
    fleet = figures.fleet(conn, now)
    yield family(described.NODES, fleet.nodes)
    yield family(described.NODE_AGE, fleet.in_state_s)
    yield family(described.GPUS, fleet.gpus)
    yield family(described.COST, fleet.usd_per_hour)
    yield family(described.SILENCE, {(name,): age_s for name, age_s in fleet.silence_s.items()})
    yield family(described.LEASES, {(state,): count for state, count in fleet.leases.items()})
    yield family(described.LEASE_LEFT, {(): fleet.lease_left_s or 0.0})


def _standing(conn: Connection, now: float) -> Iterator[Metric]:
    yield family(described.INCIDENTS, {(state,): count for state, count in figures.incidents(conn).items()})
    yield family(described.BREAKER, {(): figures.is_breaker_tripped(conn)})
    yield family(described.REPLICAS, {(state,): count for state, count in figures.replicas(conn).items()})
    owed = outbox.standing(conn)
    yield family(described.NOTIFY, {(target,): count for target, (count, _) in owed.items()})
    yield family(described.GATEWAYS, {(): figures.gateways_heard(conn, now)})
