"""Placement that keeps what is free usable: each ask goes where it takes the least from those that may come next.

After Weng et al., "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient Descent"
(USENIX ATC'23, sections 3 and 4): place where the GPUs that typical asks cannot use grow least. What is counted
differently here, and why, is in docs/scheduling/fragmentation.md: CPU and memory bound how many of the free GPUs an ask
can use, what an ask loses counts the more, the less of it there is, and fuller nodes come first among near equals.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from godwit.scheduler.asks import WHOLE, Ask
from godwit.scheduler.cluster import Cluster
from godwit.scheduler.fits import Rows
from numpy.typing import NDArray

Floats = NDArray[np.float64]
"""Whole numbers below 2**53 held as floats: sums of them are exact in any order, and NumPy is fastest with them."""

Free = tuple[Floats, NDArray[np.int64], NDArray[np.int64]]
"""What is free on some nodes: usable devices (`_Usable`), thousandths of CPUs, MiB."""

MEMORY = 65_536
"""Asks that are remembered in full. At so many all counts are halved: the old fade, and what is kept stays bounded."""

MOST_TYPICAL = 512
"""Typical asks that are weighed at most. The lists of the paper have up to 422; time grows with their number."""

PACKING = 2.0**-11
"""Of nodes that lose the same the fuller is taken: a GPU left free on it counts as this much of one lost.

No more than a tie-break: at 0.02 whole nodes are safer, but asks that could go elsewhere crowd into small nodes, which
others must have (gpuspec33 places 2.5% of all GPUs less).
"""

DEVICES = 1 / 3
"""The power of its number of devices that an ask counts with: whole nodes are rarely asked for, and lost at one stroke.

With 0 they are broken too early, with 1 the rest is crowded onto nodes without the CPUs for it; 1/4 to 1/2 do as well.
"""

_WEIGHTS = 2**20
"""What the weights of all typical asks add up to, nearly: each is rounded to a whole number."""

_UNITS = 2**12
"""Units of the score in a thousandth of a GPU."""

_MOST = 2**29 - 1
"""Scores beyond this are not told apart; that is 131 GPUs of one node, lost to everybody."""


class Workload:
    """How often which ask came: all that is known of those to come. Asks without GPUs are not counted."""

    def __init__(self, asked: Iterable[Ask] = ()) -> None:
        self._times = Counter[Ask]()
        self._kept = self.total = 0
        for ask in asked:
            self.asked(ask)

    def asked(self, ask: Ask) -> None:
        """One more came."""
        if not ask.gpus:
            return
        self._times[ask] += 1
        self.total += 1
        self._kept += 1
        if self._kept >= MEMORY:
            self._times = Counter({ask: times // 2 for ask, times in self._times.items() if times > 1})
            self._kept = self._times.total()

    def typical(self) -> dict[Ask, int]:
        """How often each ask came; of more than `MOST_TYPICAL`, those that asked for the most devices together.

        In an order that does not depend on the order in which they came.
        """
        ordered = sorted(self._times.items(), key=lambda item: (-item[1] * item[0].gpus, repr(item[0])))
        return dict(ordered[:MOST_TYPICAL])


class Fragmentation:
    """A `Scorer`: what typical asks lose of a node by a placement, and a little for what stays free of it.

    Made for one cluster, its nodes, and a workload. It follows what is taken and given back; when nodes or workload
    have changed much, make a new one (`Adapting`): all scores that were kept are void then.
    """

    def __init__(self, cluster: Cluster, workload: Workload) -> None:
        typical = workload.typical()
        self._usable = _Usable(cluster, list(typical))
        rows = self._usable.refresh()
        self._weights = _weights(typical, self._usable.room())
        self._unit = max(1.0, float(self._weights.sum())) / _UNITS
        now = self._usable.of(cluster.kind[rows], self._usable.now(rows))
        self._worth = _longer(now @ self._weights, len(cluster.cpu))

    def __call__(self, cluster: Cluster, rows: Rows, ask: Ask) -> NDArray[np.int64]:
        """See `fits.Scorer`. In units of 1/4096 of a thousandth of a GPU."""
        # What changed since the last call and what would be after a placement are looked at in one go.
        changed = self._usable.refresh()
        kind = cluster.kind[np.concatenate((changed, rows))]
        now, after = self._usable.now(changed), self._usable.after(rows, ask)
        devices, cpu, memory = (np.concatenate(pair) for pair in zip(now, after, strict=True))
        worth = self._usable.of(kind, (devices, cpu, memory)) @ self._weights
        self._worth = _longer(self._worth, len(cluster.cpu))
        self._worth[changed] = worth[: len(changed)]
        loss = np.rint((self._worth[rows] - worth[len(changed) :]) / self._unit).astype(np.int64)
        left = cluster.free[rows].sum(axis=1, dtype=np.int64) - ask.total_milli
        # Then the cheaper and those with fewer CPUs left, which is all there is to tell nodes without GPUs apart.
        last = cluster.price[cluster.kind[rows]] + (cluster.cpu[rows] - ask.cpu_milli) // 1000
        score: NDArray[np.int64] = loss + left * round(PACKING * _UNITS) + last
        return np.minimum(np.maximum(score, -_MOST), _MOST)


class _Usable:
    """How many thousandths of the GPUs of each node each of some asks could use, at most.

    Asks of one *shape* want the same of a node's devices. `_table[free]` says of a device with so much free, for every
    shape, how much of it is usable and, after these, how many times the shape goes in; `_devices[row]` is the sum over
    the devices of a node.
    """

    def __init__(self, cluster: Cluster, asks: Sequence[Ask]) -> None:
        self._cluster, self._asks, self._read = cluster, asks, -1
        shapes = list(dict.fromkeys((ask.gpus, ask.gpu_milli) for ask in asks))
        free, milli = np.arange(WHOLE + 1)[:, None], np.array([milli for _, milli in shapes], np.int64)
        self._table = np.concatenate((np.where(free >= milli, free, 0), free // milli), axis=1).astype(np.float64)
        self._gpus = np.array([gpus for gpus, _ in shapes], np.float64)
        self._shape = np.array([shapes.index((ask.gpus, ask.gpu_milli)) for ask in asks], np.int64)
        # An ask without CPU or memory is bound by neither: any node has enough of them for all of its GPUs.
        self._cpu = np.array([max(ask.cpu_milli, 1e-3) for ask in asks])
        self._memory = np.array([max(ask.memory_mib, 1e-3) for ask in asks])
        self._suits = np.zeros((0, len(asks)))
        self._devices = np.zeros((0, 2 * len(shapes)))

    def refresh(self) -> Rows:
        """Look at what changed since the last time; returns these rows."""
        cluster = self._cluster
        rows, self._read = cluster.changed_since(self._read)
        if len(self._suits) < len(cluster.kinds):
            more = [[float(ask.suits(kind)) for ask in self._asks] for kind in cluster.kinds[len(self._suits) :]]
            self._suits = np.concatenate((self._suits, np.array(more).reshape(len(more), len(self._asks))))
        if len(rows):
            self._devices = _longer(self._devices, len(cluster.cpu))
            self._devices[rows] = self._table[cluster.free[rows]].sum(axis=1)
        return rows

    def now(self, rows: Rows) -> Free:
        """These nodes as they are."""
        return self._devices[rows], self._cluster.cpu[rows], self._cluster.memory[rows]

    def after(self, rows: Rows, ask: Ask) -> Free:
        """These nodes if `ask`, which fits them, were placed on the devices that `Cluster.share` would choose."""
        devices, cpu, memory = self.now(rows)
        if ask.gpus and ask.gpu_milli == WHOLE:
            devices += ask.gpus * (self._table[0] - self._table[WHOLE])
        elif ask.gpus:
            free = self._cluster.free[rows]
            fullest = np.sort(np.where(free >= ask.gpu_milli, free, WHOLE + 1), axis=1)[:, : ask.gpus]
            devices += (self._table[fullest - ask.gpu_milli] - self._table[fullest]).sum(axis=1)
        return devices, cpu - ask.cpu_milli, memory - ask.memory_mib

    def room(self) -> Floats:
        """Of all nodes of the cluster together, if they were empty: one number per ask."""
        kinds = self._cluster.kinds
        gpus = np.array([kind.gpus for kind in kinds], np.float64)
        cpu = np.array([kind.cpu_milli for kind in kinds], np.int64)
        memory = np.array([kind.memory_mib for kind in kinds], np.int64)
        present = np.array(list(self._cluster.row_of.values()), np.int64)
        nodes = np.bincount(self._cluster.kind[present], minlength=len(kinds)).astype(np.float64)
        empty: Floats = self.of(np.arange(len(kinds)), (self._table[WHOLE] * gpus[:, None], cpu, memory))
        room: Floats = nodes @ empty
        return room

    def of(self, kind: NDArray[np.integer], free: Free) -> Floats:
        """Of nodes of these kinds, with so much free: one row each, one column per ask.

        What is free on devices that the ask fits, times the square root of the share of its copies there that CPU and
        memory are enough for; nothing where they are not enough for one.
        """
        devices, cpu, memory = free
        shapes = len(self._gpus)
        copies = devices[:, shapes:] / self._gpus
        milli = devices[:, :shapes] * (copies >= 1)
        np.maximum(copies, 1, out=copies)
        # In place from here on, the name follows the meaning: as large as nodes x asks, this is where the time goes.
        bound = np.minimum(cpu[:, None] / self._cpu, memory[:, None] / self._memory)
        fits = bound >= 1
        bound /= copies.take(self._shape, axis=1)
        usable: Floats = np.sqrt(np.clip(bound, 0, 1, out=bound), out=bound)  # below 0: promised beyond what is there
        usable *= milli.take(self._shape, axis=1)
        np.floor(usable, out=usable)
        usable *= fits
        usable *= self._suits.take(kind, axis=0)
        return usable


def _longer(array: Floats, rows: int) -> Floats:
    more = rows - len(array)
    return array if more <= 0 else np.concatenate((array, np.zeros((more, *array.shape[1:]))))


def _weights(typical: dict[Ask, int], room: Floats) -> Floats:
    """What a thousandth of a GPU is worth to each ask: how often it comes and how many devices it takes, by its room.

    This is the slope of the sum over asks of (how often x devices^1/3) x log(room), with the room of the empty fleet:
    what few nodes can do is dear. An ask that no node suits is worth nothing.
    """
    often = np.array([times * ask.gpus**DEVICES for ask, times in typical.items()])
    worth = np.where(room > 0, often / np.maximum(room, 1), 0.0)
    total = worth.sum()
    return np.rint(worth * (_WEIGHTS / total)) if total else worth


class Adapting:
    """When to judge anew: a scorer for the asks and nodes known so far, made again only in steps.

    Each makes all scores of the one before void, so there is one when twice as many asks are known (or half of what is
    remembered is new), and when a quarter more or fewer nodes are there.
    """

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self._asks, self._nodes = -1, 0

    def scorer(self, cluster: Cluster) -> Fragmentation | None:
        """The scorer from now on; None while the one before will do."""
        asks, nodes = self.workload.total, len(cluster.row_of)
        fewer, more = sorted((nodes, self._nodes))
        news = min(max(1, self._asks), MEMORY // 2)
        if self._asks >= 0 and asks < self._asks + news and 4 * fewer >= 3 * more:
            return None
        self._asks, self._nodes = asks, nodes
        return Fragmentation(cluster, self.workload)
