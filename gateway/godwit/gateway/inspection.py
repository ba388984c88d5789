"""What a gateway says of itself, under /-/ and to this machine only: is it well, what does it do, and why."""

import json
from collections.abc import Iterator
from typing import Any

from godwit.gateway.gate import Gate
from godwit.gateway.http import Scope, Send, answer
from godwit.gateway.proxy import Proxy
from godwit.gateway.regulator.replicas import Replica
from godwit.gateway.regulator.sheds import MEANINGS
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

PREFIX = "/-/"
_LOCAL = ("127.", "::1", "::ffff:127.")


class Inspection:
    """Answers /-/live, /-/ready, /-/state and /-/metrics."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(_Gauges(proxy))

    async def serve(self, scope: Scope, send: Send) -> None:
        """Answer one of them; 404 for whatever else, and for strangers."""
        what = scope["path"].removeprefix(PREFIX)
        client = scope.get("client")
        if client is not None and not client[0].startswith(_LOCAL):
            what = ""
        if what == "live":
            await answer(send, 200, b"{}", [])
        elif what == "ready":
            ready = self.proxy.index.table.version > 0 and not self.proxy.leaving
            await answer(send, 200 if ready else 503, b"{}", [])
        elif what == "state":
            await answer(send, 200, json.dumps(self.state(), indent=1).encode(), [])
        elif what == "metrics":
            await answer(send, 200, generate_latest(self.registry), [], b"text/plain; version=0.0.4; charset=utf-8")
        else:
            await answer(send, 404, b"{}", [])

    def state(self) -> dict[str, Any]:
        """The regulators, as they are: limits, queues, and why requests were refused."""
        now = self.proxy.loop.time()
        table = self.proxy.index.table
        services = {f"{project}/{name}": _service(gate, now) for (project, name), gate in self.proxy.gates.items()}
        return {"routes_version": table.version, "leaving": self.proxy.leaving, "services": services}


def _service(gate: Gate, now: float) -> dict[str, Any]:
    regulator = gate.regulator
    restart = regulator.restart.limit
    return {
        "in_flight": regulator.in_flight,
        "queued": len(regulator.queue),
        "may_wait_s": round(regulator.allowed_s(now), 3),
        "latency_s": regulator.latency_s,
        "restart_limit": restart,
        "hedged_after_s": gate.tail.late_s if gate.is_hedged else None,
        "shed": {reason.value: {"count": n, "because": MEANINGS[reason]} for reason, n in regulator.sheds.items()},
        "replicas": {one.id: _replica(one, now) for one in regulator.replicas.values()},
        "shadows": {one.id: _replica(one, now) for one in regulator.shadows.replicas.values()},
    }


def _replica(one: Replica, now: float) -> dict[str, Any]:
    return {
        "version": one.version,
        "in_flight": one.in_flight,
        "limit": one.limit,
        "unloaded_latency_s": one.earned.unloaded_s,
        "latency_s": one.earned.lately_s,
        "answered": one.answered,
        "failed": one.failed,
        "draining": one.draining,
        "left_out_for_s": round(max(0.0, one.out_until - now), 3),
        "left_out_because": one.why_out if now < one.out_until else "",
        "proving": one.proving,
    }


class _Gauges(Collector):
    """Reads the tallies when it is asked: a request itself only adds to plain numbers.

    `docs/metrics.md` is made from it: `python -m tests.deploy.metrics_page`.
    """

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy

    def collect(self) -> Iterator[Metric]:
        by_service = ("project", "service")
        requests = CounterMetricFamily("godwit_gateway_requests", "Requests that came.", labels=by_service)
        answers = CounterMetricFamily(
            "godwit_gateway_answers", "Answers of replicas, by status.", labels=(*by_service, "status")
        )
        shed = CounterMetricFamily(
            "godwit_gateway_shed", "Requests refused, by reason.", labels=(*by_service, "reason")
        )
        failed = CounterMetricFamily("godwit_gateway_failed", "Requests that replicas failed.", labels=by_service)
        retried = CounterMetricFamily("godwit_gateway_retried", "Requests sent once more.", labels=by_service)
        hedged = CounterMetricFamily(
            "godwit_gateway_hedged", "Requests sent to a second replica since the first was late.", labels=by_service
        )
        won = CounterMetricFamily("godwit_gateway_hedges_won", "Those that the second one answered.", labels=by_service)
        copied = CounterMetricFamily(
            "godwit_gateway_copies", "Copies of requests for versions in the shadow.", labels=(*by_service, "what")
        )
        latency = CounterMetricFamily(
            "godwit_gateway_latency_seconds", "Sum of the times to the heads of answers.", labels=by_service
        )
        tokens = CounterMetricFamily(
            "godwit_gateway_tokens", "Tokens that replicas counted.", labels=(*by_service, "model", "direction")
        )
        queued = GaugeMetricFamily("godwit_gateway_queued", "Requests that wait.", labels=by_service)
        limits = GaugeMetricFamily(
            "godwit_gateway_limit", "Requests that a replica may have at once.", labels=(*by_service, "replica")
        )
        in_flight = GaugeMetricFamily(
            "godwit_gateway_in_flight", "Requests that a replica has.", labels=(*by_service, "replica")
        )
        for ref, gate in self._proxy.gates.items():
            labels, tally, regulator = list(ref), gate.tally, gate.regulator
            requests.add_metric(labels, tally.requests)
            failed.add_metric(labels, tally.failed)
            retried.add_metric(labels, tally.retried)
            hedged.add_metric(labels, tally.hedged)
            won.add_metric(labels, tally.hedges_won)
            copied.add_metric([*labels, "sent"], tally.copied)
            copied.add_metric([*labels, "dropped"], regulator.shadows.dropped)
            latency.add_metric(labels, tally.latency_sum_s)
            queued.add_metric(labels, len(regulator.queue))
            for status, count in tally.statuses.items():
                answers.add_metric([*labels, str(status)], count)
            for reason, count in regulator.sheds.items():
                shed.add_metric([*labels, reason.value], count)
            for direction, counted in (("in", tally.tokens_in), ("out", tally.tokens_out)):
                for model, count in counted.items():
                    tokens.add_metric([*labels, model, direction], count)
            for replica in regulator.everyone:
                limits.add_metric([*labels, replica.id], replica.limit)
                in_flight.add_metric([*labels, replica.id], replica.in_flight)
        yield from (requests, answers, shed, failed, retried, hedged, won, copied)
        yield from (latency, tokens, queued, limits, in_flight)
