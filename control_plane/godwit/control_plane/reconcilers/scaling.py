"""What services are scaled by, kept between looks: samples of what was needed, and what past days foresee."""

from collections.abc import Callable
from dataclasses import replace

from godwit.control_plane.context import Context
from godwit.control_plane.store import needs
from godwit.domain.ids import ServiceId
from godwit.domain.services import ReplicaState
from godwit.scheduler.serving import autoscale, foresight
from godwit.scheduler.serving.view import View
from sqlalchemy import Connection

SAMPLE_S = 1.0
"""How often at most a measure is kept for autoscaling: as often as gateways send one."""

REMEMBER_S = 60.0
"""How often what was needed is written down, for services that foresee: a crash costs a minute of it at most."""


class Scaling:
    """Samples are kept in memory: a control plane that was started anew scales nothing down until it has measured for
    long enough. What past days needed is in the database.
    """

    def __init__(self, context: Context, value: Callable[[ServiceId, float], float | None] | None = None) -> None:
        self._context, self._value = context, value
        self._samples: dict[ServiceId, tuple[tuple[float, float], ...]] = {}
        self._idle_since: dict[ServiceId, float] = {}
        self._past: dict[ServiceId, tuple[int, dict[int, float]]] = {}
        self._most: dict[str, tuple[int, float]] = {}
        self._remembered_at = 0.0

    def seen(self, conn: Connection, view: View, now: float) -> View:
        """The view of a service with what it is scaled by; a measure is kept, if there is one."""
        service, scale = view.service, view.service.newest.serving.autoscale
        if scale is None:
            self._idle_since.pop(service.id, None)
            return view
        view = replace(view, foreseen=self._foreseen(conn, view, now)) if scale.predict else view
        ready = sum(one.state is ReplicaState.READY for one in view.replicas)
        need = autoscale.needed(scale, view.traffic, ready, self._value(service.id, now) if self._value else None)
        if need is None:
            self._idle_since.pop(service.id, None)
            return view
        if need > 0:
            self._idle_since.pop(service.id, None)
        samples = self._samples.get(service.id, ())
        if not samples or now - samples[-1][0] >= SAMPLE_S:
            samples = autoscale.kept((*samples, (now, need)), scale, now)
            self._samples[service.id] = samples
        if scale.predict:
            self._note(service.id, need, now)
        idle_since = None if need > 0 else self._idle_since.setdefault(service.id, now)
        return replace(view, samples=samples, idle_since=idle_since)

    def remember(self, now: float) -> None:
        """Write down what was needed, once in a while. Twice is once."""
        if not self._most or 0 <= now - self._remembered_at < REMEMBER_S:
            return
        with self._context.db.write() as tx:
            needs.remember(tx, self._most, foresight.oldest(now))
        self._remembered_at, self._most = now, {}

    def _note(self, service_id: ServiceId, need: float, now: float) -> None:
        bucket = foresight.bucket(now)
        before, most = self._most.get(service_id, (bucket, 0.0))
        self._most[service_id] = (bucket, max(need, most) if before == bucket else need)

    def _foreseen(self, conn: Connection, view: View, now: float) -> float | None:
        service_id, bucket = view.service.id, foresight.bucket(now)
        read_at, past = self._past.get(service_id, (-1, {}))
        if read_at != bucket:
            past = needs.of(conn, service_id, foresight.oldest(now))
            self._past[service_id] = (bucket, past)
        return foresight.foreseen(past, foresight.start_s([*view.replicas, *view.gone]), now)
