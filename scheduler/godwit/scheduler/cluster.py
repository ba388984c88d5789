"""The free capacity of a fleet as arrays, one row per node: what every placement reads and few change.

Vectorised over nodes, because a question ("where does this fit, and how well?") touches all of them and an answer
changes one or a few. Readers that keep something per row (`fits.Fits`) follow `changes`.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from godwit.scheduler.asks import WHOLE, Ask, NodeKind
from numpy.typing import NDArray

LEVELS = ("nvlink", "rack", "fabric", "region", "anywhere")
"""How far apart the nodes of a gang may be, nearest first. At every level a gang is of one GPU model."""

ANYWHERE = len(LEVELS) - 1
FABRIC = LEVELS.index("fabric")

NOBODYS, SEVERALS = -1, -2
"""Numbers of no tenant: of a node that is empty, and of one with jobs that may not be together any more."""

_MOST_CHANGES = 65_536
"""Changes kept for readers; one that is further behind reads all rows again."""


@dataclass(frozen=True, slots=True)
class Share:
    """What a job holds of one node: GPUs by their index, and of each `gpu_milli`."""

    node_id: str
    gpus: tuple[int, ...]
    gpu_milli: int
    cpu_milli: int
    memory_mib: int
    tenant: str = ""


class Cluster:
    """Free capacity by node. Mutable; `take` and `give` undo each other.

    Arrays have one row per node ever added; rows of removed nodes stay closed, so that readers need not ask which node
    a row was (whoever keeps a cluster for days makes a new one when half of its rows are closed). `free[row, gpu]` are
    thousandths of each device, 0 where there is none or it may not be used. `domain[level][row]` numbers the place of a
    node at each of `LEVELS`: nodes with equal numbers are near enough for a gang that stays within that level.
    `price[kind]` is in tenths of dollars an hour. `jobs[row]` counts the shares that are taken,
    and `tenant[row]` numbers whose they are, `NOBODYS` where there are none.
    """

    def __init__(self, most_gpus: int = 8) -> None:
        self.size = 0
        self.ids: list[str] = []
        self.row_of: dict[str, int] = {}
        self.kinds: list[NodeKind] = []
        self.price = np.zeros(0, np.int64)
        self.free = np.zeros((0, most_gpus), np.int32)
        self.cpu, self.memory = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self.kind, self.tie = np.zeros(0, np.int32), np.zeros(0, np.int64)
        self.open = np.zeros(0, np.bool_)
        self.tenant, self.jobs = np.zeros(0, np.int32), np.zeros(0, np.int32)
        self._number_of: dict[str, int] = {"": 0}
        self.domain = np.zeros((len(LEVELS), 0), np.int32)
        self.held: dict[int, str] = {}
        self.changes: list[int] = []
        self.dropped_changes = 0
        self._kind_of: dict[NodeKind, int] = {}
        self._domain_of: list[dict[tuple[str, ...], int]] = [{} for _ in LEVELS]

    def add(
        self,
        node_id: str,
        kind: NodeKind,
        place: Mapping[str, str] | None = None,
        *,
        gpus: Sequence[int] | None = None,
        is_open: bool = True,
    ) -> int:
        """A node joins; returns its row. `place` names its domain at levels that it has one at; `gpus` are the usable.

        A level that `place` does not name is taken to be the node alone up to the fabric, and its kind's region there.
        """
        usable = range(kind.gpus) if gpus is None else gpus
        row = self._grow(max(usable, default=-1) + 1)
        self.ids.append(node_id)
        self.row_of[node_id] = row
        number = self._kind_of.setdefault(kind, len(self.kinds))
        if number == len(self.kinds):
            self.kinds.append(kind)
            self.price = np.append(self.price, _tenths(kind.price_usd_per_hour))
        self.kind[row], self.tie[row] = number, zlib.crc32(node_id.encode())
        self.free[row, list(usable)] = WHOLE
        self.cpu[row] = kind.cpu_milli
        self.memory[row] = kind.memory_mib
        self.open[row] = is_open
        self.tenant[row] = NOBODYS
        for level, names in enumerate(self._domain_of):
            where = _place(node_id, kind, place or {}, level)
            self.domain[level, row] = names.setdefault(where, len(names))
        self._changed(row)
        return row

    def remove(self, node_id: str) -> None:
        """A node leaves; whatever was taken of it leaves with it."""
        row = self.row_of.pop(node_id)
        self.open[row] = False
        self.held.pop(row, None)
        self._changed(row)

    def set_open(self, node_id: str, is_open: bool) -> None:
        """Whether anything new may be placed on the node."""
        row = self.row_of[node_id]
        self.open[row] = is_open
        self._changed(row)

    def hold(self, node_id: str, job_id: str | None) -> None:
        """Keep a node for one job; None for all again."""
        row = self.row_of[node_id]
        if job_id is None:
            self.held.pop(row, None)
        else:
            self.held[row] = job_id
        self._changed(row)

    def take(self, share: Share) -> None:
        """Book a share. The caller found it by `fits`; nothing is checked here."""
        self._book(share, -1)

    def give(self, share: Share) -> None:
        """Give a share back. A node that left meanwhile is passed over."""
        if share.node_id in self.row_of:
            self._book(share, 1)

    def share(self, row: int, ask: Ask) -> Share:
        """What `ask` would hold of a node that fits it: of several fitting devices the fullest, then the first."""
        devices = self.free[row]
        if ask.gpu_milli == WHOLE:
            gpus = np.flatnonzero(devices == WHOLE)[: ask.gpus]
        else:
            gpus = np.flatnonzero(devices >= ask.gpu_milli)
            gpus = gpus[np.argsort(devices[gpus], kind="stable")][: ask.gpus]
        return Share(self.ids[row], tuple(gpus.tolist()), ask.gpu_milli, ask.cpu_milli, ask.memory_mib, ask.tenant)

    def suited(self, ask: Ask) -> NDArray[np.bool_]:
        """For every kind, whether its empty nodes would do."""
        return np.fromiter((ask.suits(kind) for kind in self.kinds), np.bool_, len(self.kinds))

    def may_be_of(self, rows: NDArray[np.int64], tenant: str) -> NDArray[np.bool_] | bool:
        """By row, whether nobody of another tenant is on it."""
        if len(self._number_of) == 1 and not tenant:
            return True  # nobody is kept apart from anybody
        there = self.tenant[rows]
        found: NDArray[np.bool_] = (there == NOBODYS) | (there == self._number_of.get(tenant, NOBODYS))
        return found

    def tenant_of(self, row: int) -> str | None:
        """Who is on a node; None for nobody, and for several."""
        number = int(self.tenant[row])
        return next((name for name, one in self._number_of.items() if one == number), None)

    def changed_since(self, read: int) -> tuple[NDArray[np.int64], int]:
        """The rows that changed since a reader looked, each once, and what to ask with next time; -1 asks for all."""
        end = self.dropped_changes + len(self.changes)
        if read < self.dropped_changes or end - read > max(64, self.size // 2):
            return np.arange(self.size), end
        return np.array(sorted(set(self.changes[read - self.dropped_changes :])), np.int64), end

    def domains(self, level: int) -> int:
        """How many domains there are at a level."""
        return len(self._domain_of[level])

    def _book(self, share: Share, sign: int) -> None:
        row = self.row_of[share.node_id]
        for gpu in share.gpus:
            self.free[row, gpu] += sign * share.gpu_milli
        self.cpu[row] += sign * share.cpu_milli
        self.memory[row] += sign * share.memory_mib
        self._note_tenant(row, share.tenant, -sign)
        self._changed(row)

    def _note_tenant(self, row: int, tenant: str, more: int) -> None:
        before = int(self.jobs[row])
        self.jobs[row] = before + more
        if before + more == 0:
            self.tenant[row] = NOBODYS
        elif more > 0:
            number = self._number_of.setdefault(tenant, len(self._number_of))
            if before == 0:
                self.tenant[row] = number
            elif self.tenant[row] != number:
                self.tenant[row] = SEVERALS  # since before they were to be kept apart; nobody else comes to it

    def _changed(self, row: int) -> None:
        self.changes.append(row)
        if len(self.changes) > 2 * _MOST_CHANGES:
            del self.changes[:_MOST_CHANGES]
            self.dropped_changes += _MOST_CHANGES

    def _grow(self, gpus: int) -> int:
        row, room = self.size, len(self.cpu)
        self.size += 1
        wider, more = max(0, gpus - self.free.shape[1]), max(64, room) if row == room else 0
        if wider or more:
            self.free = np.pad(self.free, ((0, more), (0, wider)))
        if more:
            self.domain = np.pad(self.domain, ((0, 0), (0, more)))
            for name in ("cpu", "memory", "kind", "tie", "open", "tenant", "jobs"):
                setattr(self, name, np.pad(getattr(self, name), (0, more)))
        return row


def _tenths(price_usd_per_hour: float) -> int:
    # Only an order among nodes that are there anyway: one without a usable price comes last.
    return round(10 * min(price_usd_per_hour, 1e6)) if price_usd_per_hour >= 0 else 10**7


def _place(node_id: str, kind: NodeKind, place: Mapping[str, str], level: int) -> tuple[str, ...]:
    name, model = LEVELS[level], kind.model or ""
    if level == ANYWHERE:
        return (model,)
    region = (model, kind.provider, kind.region)
    if name == "region":
        return region
    return (*region, place.get(name) or (place.get("nvlink") if name == "rack" else None) or f"node {node_id}")
