"""What freeing nodes saves, and what moving the jobs on them costs, in dollars."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from godwit.scheduler import gravity
from godwit.scheduler.asks import WHOLE
from godwit.scheduler.demands import Running
from godwit.scheduler.engine import Engine
from godwit.scheduler.preemption import RESTART_S
from numpy.typing import NDArray


@dataclass(frozen=True)
class Limits:
    """What moves are proposed, and how they are reckoned.

    `moves_per_hour`: at most so many jobs are told to move within an hour, however much pays. Four: whoever watches can
    follow, and a wrong estimate costs little.
    `min_run_s`: a job that started, or moved, less long ago is left alone. Half an hour: with a minute for each start,
    a job that is moved whenever it may be loses 3 % to starts.
    `margin`: how many times its cost a move must save, since both are estimates.
    `horizon_s`: the most that a job is taken to run on where nobody knows how long. Half of what it ran so far, as what
    has run long runs on, but no more than an hour.
    `saves_s`, `restarts_s`: what writing a checkpoint and starting again take.
    `idle_after_s`: how long a freed node is still paid for.
    """

    moves_per_hour: int = 4
    min_run_s: float = 1800.0
    margin: float = 2.0
    horizon_s: float = 3600.0
    saves_s: float = 60.0
    restarts_s: float = RESTART_S
    idle_after_s: float = 300.0


class Arithmetic:
    """Prices, times and costs of one fleet at one instant."""

    def __init__(self, engine: Engine, now: float, limits: Limits) -> None:
        self.cluster, self._now, self._limits = engine.cluster, now, limits

    def price(self, row: int) -> float:
        """Dollars an hour of a node; nothing where its provider tells none, so that nothing is saved there."""
        price = self.cluster.kinds[self.cluster.kind[row]].price_usd_per_hour
        return price if isfinite(price) and price > 0 else 0.0

    def left_s(self, running: Running) -> float:
        """How long a job still runs where it is."""
        if running.yields_to is not None:
            return 0.0
        if isfinite(running.ends_at):
            return max(0.0, running.ends_at - self._now)
        return max(0.0, min(self._limits.horizon_s, (self._now - running.started_at) / 2))

    def stands_s(self, running: Running) -> float:
        """How much longer a job takes if it moves: what it does again, and the time that it does not work."""
        lost_s = self._now - running.saved_at
        if running.gpus:
            lost_s = running.lost_gpu_s(self._now) / running.gpus
        return max(0.0, lost_s) + self._limits.saves_s + self._limits.restarts_s

    def freed_h(self, there: Sequence[Running]) -> float:
        """How long a node is not paid for that these leave now, instead of at their end."""
        left_s = max((self.left_s(running) for running in there), default=0.0)
        return max(0.0, left_s - self._limits.saves_s - self._limits.idle_after_s) / 3600

    def longer_usd(self, running: Running, stays_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """By row, what it costs that a node is in use for longer than the `stays_s` of those there, if it comes."""
        needs_s = self.left_s(running) + self.stands_s(running)
        kinds = [kind.price_usd_per_hour for kind in self.cluster.kinds]
        prices = np.array([price if isfinite(price) and price > 0 else 0.0 for price in kinds])
        usd: NDArray[np.float64] = (
            np.maximum(0.0, needs_s - stays_s) / 3600 * prices[self.cluster.kind[: self.cluster.size]]
        )
        return usd

    def move_usd(self, running: Running, to: Sequence[int]) -> float:
        """What a job's move costs: its GPUs stand still here or there, whichever is dearer; and egress."""
        rows = [self.cluster.row_of[share.node_id] for share in running.shares]
        price = max(self._part_of_price(running, rows), self._part_of_price(running, to))
        data, kinds = running.demand.ask.data, [self.cluster.kinds[self.cluster.kind[row]] for row in to]
        # Between nodes of one place nothing is moved; elsewhere all of it is, once.
        here = {(kind.provider, kind.region) for kind in (self.cluster.kinds[self.cluster.kind[row]] for row in rows)}
        egress = max((gravity.egress_usd(data, kind.provider, kind.region) for kind in kinds
                      if (kind.provider, kind.region) not in here), default=0.0)  # fmt: skip
        return price * self.stands_s(running) / 3600 + egress

    def _part_of_price(self, running: Running, rows: Sequence[int]) -> float:
        """Dollars an hour of what a job holds on these nodes: by GPUs, or the whole node for one without."""
        ask, total = running.demand.ask, 0.0
        for row in rows:
            gpus = self.cluster.kinds[self.cluster.kind[row]].gpus
            part = ask.total_milli / (gpus * WHOLE) if gpus and ask.gpus else 1.0
            total += self.price(row) * min(1.0, part)
        return total
