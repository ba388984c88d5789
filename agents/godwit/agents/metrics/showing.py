"""Serves an agent's metrics over HTTP, on loopback unless told otherwise, and only where it was asked to."""

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from godwit.agents.metrics import dcgm, described
from godwit.agents.metrics.seen import Seen
from godwit.domain.metrics import Described
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

log = structlog.get_logger()

Samples = dict[tuple[str, ...], float]


@dataclass
class Beats:
    """What became of heartbeats; one thread writes it. `answered_at` is in seconds since the epoch."""

    counts: Counter[str] = field(default_factory=lambda: Counter(answered=0, unanswered=0))
    answered_at: float | None = None

    def answered(self) -> None:
        """The control plane answered."""
        self.counts["answered"] += 1
        self.answered_at = time.time()

    def unanswered(self) -> None:
        """It did not, or not as it should."""
        self.counts["unanswered"] += 1


@dataclass(frozen=True)
class Facts:
    """Where an agent's figures come from. `count`: attempts that live, observations that wait; `lease_s`: what is left
    of the lease; `grades`: of the findings that stand.
    """

    version: str
    hostname: str
    node_dir: Path
    beats: Beats
    seen: Seen
    count: Callable[[], tuple[int, int]]
    lease_s: Callable[[], float]
    grades: Callable[[], list[str]]


class Showing(Collector):
    """Reads everything when it is asked."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def collect(self) -> Iterator[Metric]:
        """The agent's own metrics, then those of GPUs."""
        facts, of = self._facts, described
        poll, polled_at, xids = facts.seen.now()
        attempts, waiting = facts.count()
        disk = shutil.disk_usage(facts.node_dir)
        yield _family(of.BUILD, {(facts.version,): 1})
        yield _family(of.HEARTBEATS, {(outcome,): n for outcome, n in facts.beats.counts.items()})
        yield _family(of.ANSWERED_AT, _known(facts.beats.answered_at))
        yield _family(of.LEASE_LEFT, {(): max(0.0, facts.lease_s())})
        yield _family(of.ATTEMPTS, {(): attempts})
        yield _family(of.WAITING, {(): waiting})
        yield _family(of.SPOOL, {(): spool_bytes(facts.node_dir)})
        yield _family(of.DISK_FREE, {(): disk.free})
        yield _family(of.DISK_SIZE, {(): disk.total})
        yield _family(of.FINDINGS, {(grade,): n for grade, n in Counter(facts.grades()).items()})
        yield _family(of.POLLED_AT, _known(polled_at))
        # "unknown": the library would add _total to a counter's name, and DCGM's counters have none.
        families = {name: Metric(name, one.help, "unknown") for name, one in of.GPU.items()}
        for name, labels, value in dcgm.samples(poll, xids, facts.hostname):
            families[name].add_sample(name, dict(zip(of.OF_GPU, labels, strict=True)), value)
        yield from (one for one in families.values() if one.samples)


def spool_bytes(node_dir: Path) -> int:
    """How much output of attempts the control plane does not have yet."""
    total = 0
    for output in node_dir.glob("attempts/*/output.log"):
        try:
            size = output.stat().st_size
            total += max(0, size - int(json.loads(output.with_name("output.sent").read_text())["file"]))
        except FileNotFoundError:
            continue  # of an attempt that was just cleared away, or that nobody ships
        except (ValueError, KeyError):
            total += size
    return total


def serve(facts: Facts, address: tuple[str, int]) -> tuple[str, int] | None:
    """Serve /metrics from a thread of its own; returns where, or None where the port is taken: the agent works on."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Showing(facts))
    host, port = address
    try:
        server, _thread = start_http_server(port, host, registry)
    except OSError as exc:
        log.warning("metrics are not served; set GODWIT_METRICS to another port", host=host, port=port, reason=str(exc))
        return None
    served = host, int(server.server_port)
    log.info("metrics", url=f"http://{host}:{served[1]}/metrics")
    return served


def _family(of: Described, samples: Samples) -> Metric:
    kind = CounterMetricFamily if of.kind == "counter" else GaugeMetricFamily
    found = kind(of.name, of.help, labels=of.labels)
    for labels, value in samples.items():
        found.add_metric(labels, value)
    return found


def _known(value: float | None) -> Samples:
    return {} if value is None else {(): value}
