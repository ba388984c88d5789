"""Figures over time, in columns, and devices that are remembered. Instants are seconds since the epoch, UTC."""

from godwit.domain.nodes import Health
from godwit.domain.wire.pages import Message
from pydantic import Field


class PointsView(Message):
    """What a job said of its progress, the oldest first: a value of each column for each instant.

    `epoch` is the number of the attempt: where it grows, the job began again at a checkpoint. Older points lie further
    apart. A metric that was not told with a point is None there.
    """

    at: list[float]
    step: list[int]
    epoch: list[int]
    metrics: dict[str, list[float | None]] = Field(default_factory=dict)


class PriceSeries(Message):
    """What one place asked for a kind of GPU over time: its cheapest offer of that kind, in USD per GPU and hour."""

    provider: str
    region: str
    gpu_model: str
    spot: bool
    at: list[float]
    usd_per_gpu_hour: list[float]


class TrafficHistory(Message):
    """What a service took over time, of all gateways together; None where nobody measured."""

    at: list[float]
    requests_per_s: list[float | None]
    shed_per_s: list[float | None]
    failed_per_s: list[float | None]
    queued: list[float | None]
    in_flight: list[float | None]
    latency_p50_s: list[float | None]
    latency_p99_s: list[float | None]
    replicas: list[float | None]
    ready: list[float | None]


class KnownDevice(Message):
    """What is remembered of a GPU (its UUID) or of a machine (its node's id), wherever it turns up.

    `faults` counts its incidents, `since` is when it was first seen. `is_here` says whether its node is in the fleet.
    """

    id: str
    health: Health
    health_since: float
    since: float
    faults: int
    reason: str
    node_id: str
    provider: str
    is_here: bool
