"""How hard GPUs work, as agents last told it: the newest of each GPU, and sums of the minutes that are not written yet.

All of it is memory: after a restart agents tell it anew within ten seconds. Of several control planes each writes what
its own agents told, and shows also what others heard (`telling`). Bounded by the nodes that tell, and by `MINUTES_MAX`.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from godwit.domain.wire.loads import GpuLoad, NodeLoad

MINUTE_S = 60.0
FRESH_S = 45.0
"""What was told longer ago is not known any more: agents tell each ten seconds, so four in a row were missed."""

SHOWN_EVERY_S = 10.0
"""Screens learn of other figures this often: agents do not tell more."""

MINUTES_MAX = 5
"""Minutes that wait to be written; older ones are dropped where nobody can, as while there is no database."""


@dataclass
class Mean:
    """A mean and a maximum in the making; `mean` and `most` are None of nothing."""

    count: int = 0
    total: float = 0.0
    most: float | None = None

    def add(self, values: Iterable[float | None]) -> None:
        """Count values, but for those that are none."""
        told = [value for value in values if value is not None]
        if told:
            self.count, self.total = self.count + len(told), self.total + sum(told)
            self.most = max(told) if self.most is None else max(self.most, *told)

    def merge(self, other: "Mean") -> None:
        """Count what another one counted."""
        self.count, self.total = self.count + other.count, self.total + other.total
        if other.most is not None:
            self.most = other.most if self.most is None else max(self.most, other.most)

    @property
    def mean(self) -> float | None:
        """What it is on average."""
        return self.total / self.count if self.count else None


@dataclass
class Sums:
    """What the GPUs that one attempt holds on one node did in a minute; `gpus` is the most that were told at once."""

    gpus: int = 0
    busy: Mean = field(default_factory=Mean)
    memory: Mean = field(default_factory=Mean)
    watts: Mean = field(default_factory=Mean)

    def add(self, told: Sequence[GpuLoad]) -> None:
        """Count one reading."""
        self.busy.add(gpu.busy_percent for gpu in told)
        self.memory.add(gpu.memory_percent for gpu in told)
        self.watts.add(gpu.power_watts for gpu in told)
        self.gpus = max(self.gpus, len(told))

    def merge(self, other: "Sums") -> None:
        """Count what another one counted: one attempt after another of the same job."""
        self.gpus = max(self.gpus, other.gpus)
        for mine, others in ((self.busy, other.busy), (self.memory, other.memory), (self.watts, other.watts)):
            mine.merge(others)


NodeLoads = Mapping[str, Mapping[int, GpuLoad]]
"""By node and index of GPU how hard it works."""

Key = tuple[str, str]
"""A node and an attempt."""


class Loads:
    """Callable from any thread. Instants are seconds since the epoch."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._newest: dict[str, tuple[float, NodeLoad]] = {}
        self._elsewhere: dict[str, dict[str, tuple[float, NodeLoad]]] = {}
        self.heard_at = 0.0
        self._minutes: dict[float, dict[Key, Sums]] = {}

    def hear(self, node_id: str, load: NodeLoad, now: float) -> None:
        """A node tells; the same reading told twice counts once."""
        with self._lock:
            known = self._newest.get(node_id)
            if known is not None and known[1].read_at == load.read_at:
                return
            self._newest[node_id] = now, load
            self.heard_at = max(self.heard_at, now)
            minute = self._minutes.setdefault(now // MINUTE_S * MINUTE_S, {})
            for attempt_id in {gpu.attempt_id for gpu in load.gpus} - {None}:
                held = [gpu for gpu in load.gpus if gpu.attempt_id == attempt_id]
                minute.setdefault((node_id, str(attempt_id)), Sums()).add(held)
            while len(self._minutes) > MINUTES_MAX:
                del self._minutes[min(self._minutes)]

    def newest(self, now: float) -> NodeLoads:
        """By node and index of GPU what was told lately; a node that is silent is forgotten."""
        with self._lock:
            for told in (self._newest, *self._elsewhere.values()):
                for node_id in [node_id for node_id, (at, _) in told.items() if now - at > FRESH_S]:
                    del told[node_id]
            self._elsewhere = {one: told for one, told in self._elsewhere.items() if told}
            newest: dict[str, tuple[float, NodeLoad]] = {}
            for told in (*self._elsewhere.values(), self._newest):  # a node that went on to another is told of by both
                for node_id, one in told.items():
                    if node_id not in newest or newest[node_id][0] <= one[0]:
                        newest[node_id] = one
            return {node_id: {gpu.index: gpu for gpu in load.gpus} for node_id, (_, load) in newest.items()}

    def here(self, now: float) -> dict[str, tuple[float, NodeLoad]]:
        """By node how many seconds ago it told this process what, if that was lately."""
        with self._lock:
            return {id_: (now - at, load) for id_, (at, load) in self._newest.items() if now - at <= FRESH_S}

    def learn(self, teller: str, told: Mapping[str, tuple[float, NodeLoad]], now: float) -> None:
        """All that another control plane was told, in the place of what it was told before; it is shown, not summed."""
        with self._lock:
            self._elsewhere[teller] = {id_: (now - age_s, load) for id_, (age_s, load) in told.items()}

    def stamp(self, now: float) -> int:
        """Differs whenever screens should show other figures; 0 as long as nobody tells any."""
        with self._lock:
            return int(now // SHOWN_EVERY_S) if self._newest or self._elsewhere else 0

    def closed(self, now: float) -> list[tuple[float, Mapping[Key, Sums]]]:
        """The minutes that are over, oldest first; they stay until they are `written`."""
        with self._lock:
            over = sorted(minute for minute in self._minutes if minute + MINUTE_S <= now)
            return [(minute, dict(self._minutes[minute])) for minute in over]

    def written(self, minute: float) -> None:
        """This minute is in the database."""
        with self._lock:
            self._minutes.pop(minute, None)
