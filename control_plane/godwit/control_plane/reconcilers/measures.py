"""What the queries of services give: asked in a loop of its own, so that a slow Prometheus holds up nothing else."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from godwit.control_plane import prometheus
from godwit.control_plane.context import Context
from godwit.control_plane.services.traffic import FRESH_S
from godwit.control_plane.store import entities
from godwit.control_plane.store import services as stored
from godwit.domain.errors import InvalidRequest
from godwit.domain.events import Event
from godwit.domain.ids import ServiceId
from godwit.domain.services import Service
from godwit.domain.serving import Autoscale, Signal

ASK_EVERY_S = 5.0
"""A third of the 15 s between two scrapes of a common Prometheus."""

ASKED_AT_ONCE = 8
ACTOR = "services"


@dataclass(frozen=True)
class Reading:
    """What a query gave, or why it gave nothing (`trouble`)."""

    at: float
    value: float | None
    trouble: str = ""


class Measures:
    """The newest reading of each service that has a query. `step` is safe to repeat."""

    def __init__(self, context: Context, ask: Callable[[str, str], float] = prometheus.ask) -> None:
        self._context, self._ask = context, ask
        self._readings: dict[ServiceId, Reading] = {}

    def latest(self, service_id: ServiceId, now: float) -> float | None:
        """What its query gave lately; None where it gave nothing for half a minute."""
        reading = self._readings.get(service_id)
        return None if reading is None or now - reading.at > FRESH_S else reading.value

    def step(self) -> None:
        """Ask for every service that has a query; what begins and ends to be in the way is told as an event."""
        with self._context.db.read() as conn:
            found = stored.alive(conn)
        asking = [(one, scale) for one in found if (scale := _scale(one)) is not None]
        with ThreadPoolExecutor(ASKED_AT_ONCE, thread_name_prefix="query") as pool:
            readings = list(pool.map(lambda pair: self._one(pair[1]), asking))
        before, self._readings = self._readings, dict(zip((one.id for one, _ in asking), readings, strict=True))
        for service, _ in asking:
            self._tell(service, before.get(service.id), self._readings[service.id])

    def _one(self, scale: Autoscale) -> Reading:
        try:
            value = self._ask(prometheus.address(scale.url, self._context.prometheus), scale.query)
        except (prometheus.NoNumber, InvalidRequest) as failure:
            return Reading(self._context.now(), None, failure.message)
        return Reading(self._context.now(), value)

    def _tell(self, service: Service, before: Reading | None, after: Reading) -> None:
        had = "" if before is None else before.trouble
        if bool(had) is bool(after.trouble):
            return
        trouble = f"its query gives nothing to scale by: {after.trouble}"
        reason = trouble if after.trouble else "its query gives a number"
        told = Event(after.at, "service.signal", "service", service.id, reason, ACTOR)
        with self._context.db.write() as tx:
            entities.append(tx, told)


def _scale(service: Service) -> Autoscale | None:
    scale = service.newest.serving.autoscale
    return scale if scale is not None and scale.signal is Signal.PROMETHEUS else None
