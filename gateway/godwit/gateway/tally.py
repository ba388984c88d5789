"""What happened at one service: plain numbers, read by metrics and sent to the control plane as signals."""

from collections import Counter, deque
from dataclasses import dataclass, field

from godwit.domain.wire.routes import ReplicaSignals, ServiceRoute, ServiceSignals
from godwit.gateway.regulator.service import Regulator

SAMPLES = 2_000
"""Latencies and delays that are kept for percentiles; of a busier window, the last ones."""


@dataclass
class Tally:
    """Counted since the start. Times in seconds."""

    requests: int = 0
    shed: int = 0
    failed: int = 0
    retried: int = 0
    abandoned: int = 0
    hedged: int = 0
    hedges_won: int = 0
    copied: int = 0
    tokens_in: Counter[str] = field(default_factory=Counter)
    tokens_out: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    latency_sum_s: float = 0.0
    latencies_s: deque[float] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    delays_s: deque[float] = field(default_factory=lambda: deque(maxlen=SAMPLES))

    def answered(self, status: int, latency_s: float, delay_s: float) -> None:
        """A replica's answer began; `delay_s` is how long the request had waited here before it was sent."""
        self.statuses[status] += 1
        self.latency_sum_s += latency_s
        self.latencies_s.append(latency_s)
        self.delays_s.append(delay_s)


@dataclass
class Window:
    """Turns what is counted since the start into what happened since it was asked last."""

    before: Counter[str] = field(default_factory=Counter)

    def signals(self, route: ServiceRoute, tally: Tally, regulator: Regulator) -> ServiceSignals:
        """Of one service, since the last time."""
        found = ServiceSignals(
            name=route.name,
            project=route.project,
            in_flight=regulator.in_flight,
            queued=len(regulator.queue),
            requests=self._since("requests", tally.requests),
            shed=self._since("shed", tally.shed),
            failed=self._since("failed", tally.failed),
            tokens_in=self._since("in", tally.tokens_in.total()),
            tokens_out=self._since("out", tally.tokens_out.total()),
            queue_delay_p90_s=percentile(tally.delays_s, 0.9),
            latency_p50_s=percentile(tally.latencies_s, 0.5),
            latency_p99_s=percentile(tally.latencies_s, 0.99),
            replicas=[
                ReplicaSignals(
                    id=one.id,
                    version=one.version,
                    in_flight=max(0, one.in_flight),
                    limit=one.limit,
                    answered=self._since(f"answered {one.id}", one.answered),
                    failed=self._since(f"failed {one.id}", one.failed),
                    latency_s=one.latency_s,
                )
                for one in regulator.everyone
            ],
        )
        tally.latencies_s.clear()
        tally.delays_s.clear()
        return found

    def _since(self, what: str, count: int) -> int:
        since, self.before[what] = count - self.before[what], count
        return max(0, since)  # a replica that left and came back counts from nothing again


def percentile(values: deque[float], part: float) -> float | None:
    """The value that `part` of them do not exceed; None of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else None
