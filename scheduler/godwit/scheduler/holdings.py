"""What running jobs hold and would lose, as arrays: what a choice among all of them reads at once.

Follows an engine by its news, as `fits.Fits` follows a cluster by its changes.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from godwit.scheduler.demands import Running
from numpy.typing import NDArray

if TYPE_CHECKING:
    from godwit.scheduler.engine import Engine

Mask = NDArray[np.bool_]

NOBODY = 0
"""The slot that no job has: shares that are given back point to it."""

_FLOATS = ("started_at", "saved_at", "saves_every_s", "served_gpu_s")
_INTEGERS = ("gpu_milli", "priority", "spare_nodes")


class Holdings:
    """Jobs by slot, and their shares by slot of their own. Read only after `refresh`.

    `may_yield` is false for empty slots too. `saves_every_s` is 0 where each checkpoint is told. `served_gpu_s` is what
    a job got before it started. `spare_nodes` are those beyond the fewest that it takes. `gpu_milli` is of the whole
    gang, `share_milli` of one share; `share_row` is a row of the cluster, `share_job` a job's slot.
    """

    def __init__(self, engine: "Engine") -> None:
        self.engine = engine
        self.ids: list[str] = [""]
        self.slot_of: dict[str, int] = {}
        self.started_at, self.saved_at = np.zeros(1), np.zeros(1)
        self.saves_every_s, self.served_gpu_s = np.zeros(1), np.zeros(1)
        self.gpu_milli, self.priority = np.zeros(1, np.int64), np.zeros(1, np.int64)
        self.spare_nodes, self.may_yield = np.zeros(1, np.int64), np.zeros(1, np.bool_)
        self.share_job, self.share_row = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self.share_milli = np.zeros(0, np.int64)
        self._slots_free: list[int] = []
        self._shares_free: list[int] = []
        self._shares_of: dict[str, list[int]] = {}
        self._read = -1

    def refresh(self) -> "Holdings":
        """Look at what changed since the last time."""
        engine = self.engine
        end = engine.dropped_news + len(engine.news)
        if self._read < engine.dropped_news:
            changed = {*engine.running, *self.slot_of}
        else:
            changed = set(engine.news[self._read - engine.dropped_news :])
        self._read = end
        for job_id in sorted(changed):
            self._drop(job_id)
            running = engine.running.get(job_id)
            if running is not None:
                self._write(running)
        return self

    def told_to_yield(self, job_ids: Iterable[str]) -> None:
        """Nobody may take them any more; the engine's news says so only when it is read again."""
        for job_id in job_ids:
            self.may_yield[self.slot_of[job_id]] = False

    def lost_milli_s(self, now: float, restart_s: float) -> NDArray[np.int64]:
        """For each job, thousandths of GPU x seconds that stopping it now costs: work not saved, and starting again."""
        age_s = np.maximum(0.0, now - self.saved_at)
        np.mod(age_s, self.saves_every_s, out=age_s, where=self.saves_every_s > 0)
        return self.gpu_milli * np.rint(age_s + restart_s).astype(np.int64)

    def all_served_gpu_s(self, now: float) -> NDArray[np.float64]:
        """For each job, the GPU-seconds that it got over all attempts."""
        return self.served_gpu_s + self.gpu_milli * np.maximum(0.0, now - self.started_at) / 1000

    def _drop(self, job_id: str) -> None:
        slot = self.slot_of.pop(job_id, None)
        if slot is None:
            return
        self.may_yield[slot] = False
        self._slots_free.append(slot)
        shares = self._shares_of.pop(job_id)
        self.share_job[shares] = NOBODY
        self._shares_free += shares

    def _write(self, running: Running) -> None:
        demand, row_of = running.demand, self.engine.cluster.row_of
        slot = self._slot()
        self.ids[slot], self.slot_of[demand.job_id] = demand.job_id, slot
        self.started_at[slot], self.saved_at[slot] = running.started_at, running.saved_at
        self.saves_every_s[slot] = demand.saves_every_s or 0.0
        self.served_gpu_s[slot], self.priority[slot] = demand.served_gpu_s, demand.priority
        self.may_yield[slot] = demand.may_yield and running.yields_to is None
        self.spare_nodes[slot], self.gpu_milli[slot] = len(running.shares) - demand.nodes_min, 0
        held = self._shares_of[demand.job_id] = []
        for share in running.shares:
            milli = len(share.gpus) * share.gpu_milli
            self.gpu_milli[slot] += milli
            if share.node_id in row_of:
                number = self._share()
                held.append(number)
                self.share_job[number], self.share_row[number] = slot, row_of[share.node_id]
                self.share_milli[number] = milli

    def _slot(self) -> int:
        if not self._slots_free:
            more = len(self.ids)
            for name in (*_FLOATS, *_INTEGERS, "may_yield"):
                setattr(self, name, np.pad(getattr(self, name), (0, more)))
            self.ids += [""] * more
            self._slots_free = list(range(2 * more - 1, more - 1, -1))
        return self._slots_free.pop()

    def _share(self) -> int:
        if not self._shares_free:
            there = len(self.share_job)
            more = max(64, there)
            for name in ("share_job", "share_row", "share_milli"):
                setattr(self, name, np.pad(getattr(self, name), (0, more)))
            self._shares_free = list(range(there + more - 1, there - 1, -1))
        return self._shares_free.pop()
