"""A migration is the move of a healthy running job to other nodes: wished, weighed, prepared, and then done at once.

Until it is `switching` the job runs on where it is, and nothing that happens to the migration happens to the job.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from godwit.domain.ids import IntentId, JobId, MigrationId, NodeId
from godwit.domain.resources import Infra


class MigrationState(StrEnum):
    """Where a migration stands; edges are in `lifecycle`.

    `preparing`: its nodes are bought or kept, and the newest checkpoint is copied ahead. `switching`: the job was told
    to save and stop, and starts there. `failed`: it did not come about; the job runs where it ran, or recovers.
    """

    PLANNED = "planned"
    PREPARING = "preparing"
    SWITCHING = "switching"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


_M = MigrationState

EDGES: Mapping[StrEnum, Mapping[StrEnum, str]] = {
    _M.PLANNED: {
        _M.PREPARING: "its nodes were chosen; they are kept or bought while the job runs on",
        _M.FAILED: "there is nowhere to go",
        _M.CANCELLED: "somebody changed their mind, or the job does not run any more",
    },
    _M.PREPARING: {
        _M.SWITCHING: "its nodes are ready and hold a copy of the newest checkpoint; the job is told to save and stop",
        _M.FAILED: "a node of it was lost, or it took too long; the job runs on where it is",
        _M.CANCELLED: "somebody changed their mind, or the job does not run any more",
    },
    _M.SWITCHING: {
        _M.DONE: "the job works on its new nodes",
        _M.FAILED: "its nodes were lost before the job worked there; it goes on from its checkpoint like any other",
        _M.CANCELLED: "the job ended before it moved",
    },
    _M.DONE: {},
    _M.FAILED: {},
    _M.CANCELLED: {},
}

WAITS_S: Mapping[StrEnum, tuple[float, str]] = {
    # The next plan chooses, and plans are made within seconds.
    _M.PLANNED: (600, "failed: nothing could be bought"),
    # A node boots in ten minutes, its agent comes up in five; at the least speed of copies the rest is half a terabyte.
    _M.PREPARING: (7_200, "failed; the job runs on where it is"),
    # A minute to stop, ten to start, and as long again until a large program makes its first step.
    _M.SWITCHING: (1_800, "done if it runs there, else failed; the job goes on like any other"),
}
"""How long each state may last, in seconds, and what is done then."""


@dataclass(frozen=True)
class Sum:
    """The inequality behind a migration: `saving_usd_per_hour` x `left_h` against what moving costs.

    Dollars an hour are of all nodes that the job holds, those that it leaves (`from_`) and the others (`to_`). `left_h`
    is how long it still runs, by `left_by`. `overlap_usd` is for nodes that are paid twice while it prepares and until
    the old ones go back, `standstill_usd` for the time in which it does not work and what it does again, `egress_usd`
    for what leaves a cloud.
    """

    from_usd_per_hour: float = 0.0
    to_usd_per_hour: float = 0.0
    left_h: float = 0.0
    left_by: str = ""
    overlap_usd: float = 0.0
    standstill_usd: float = 0.0
    egress_usd: float = 0.0
    egress_usd_per_gb: float = 0.0
    checkpoint_bytes: int = 0

    @property
    def saving_usd_per_hour(self) -> float:
        """What an hour there costs less than one here; below 0 where it costs more."""
        return self.from_usd_per_hour - self.to_usd_per_hour

    @property
    def saving_usd(self) -> float:
        """What is saved until the job ends, before the cost of moving."""
        return self.saving_usd_per_hour * self.left_h

    @property
    def cost_usd(self) -> float:
        """What moving costs."""
        return self.overlap_usd + self.standstill_usd + self.egress_usd

    def __str__(self) -> str:
        """The arithmetic, as people read it."""
        weighs = ">" if self.saving_usd > self.cost_usd else "<="
        sign = "-" if self.saving_usd < 0 else ""
        return (
            f"(${self.from_usd_per_hour:.2f}/h - ${self.to_usd_per_hour:.2f}/h) x {self.left_h:.2f} h ({self.left_by}) "
            f"= {sign}${abs(self.saving_usd):.2f} {weighs} ${self.cost_usd:.2f} = ${self.overlap_usd:.2f} paid twice + "
            f"${self.standstill_usd:.2f} standing still + ${self.egress_usd:.2f} egress of "
            f"{self.checkpoint_bytes / 1e9:.3g} GB"
        )


@dataclass(frozen=True)
class Copy:
    """A copy of the newest checkpoint that one of the nodes was told to make; `worked` is None until it says so.

    `step` is that of the checkpoint, None where there was none yet. `moved_bytes` came over the network for it.
    """

    intent_id: IntentId
    worked: bool | None = None
    step: int | None = None
    moved_bytes: int = 0
    took_s: float = 0.0
    detail: str = ""


@dataclass(frozen=True)
class Migration:
    """One migration of one job. `actor` is who wished it: a person, or "planner".

    `to` is where, as wished; None: wherever it costs least. `store` is a new home for its checkpoints (fsspec URL),
    None to leave them where they are. `from_epoch` is the attempt that is left. `nodes` are those that it goes to, once
    all are ready, and `copies` what was copied ahead, by node. `prepared_at` is when the first node was asked for,
    `switched_at` when the job was told to stop, `stopped_at` when its last step was made there, and `working_at` when
    the first one was made here: between these two lies the downtime.
    """

    id: MigrationId
    job_id: JobId
    state: MigrationState
    created_at: float
    state_since: float
    actor: str
    reason: str
    from_epoch: int
    to: Infra | None = None
    store: str | None = None
    sum: Sum = field(default_factory=Sum)
    nodes: tuple[NodeId, ...] = ()
    copies: Mapping[NodeId, Copy] = field(default_factory=dict)
    prepared_at: float | None = None
    switched_at: float | None = None
    stopped_at: float | None = None
    working_at: float | None = None
    detail: str = ""
    version: int = 1

    @property
    def downtime_s(self) -> float | None:
        """Seconds from the last step there to the first step here; None while it is not known."""
        if self.stopped_at is None or self.working_at is None:
            return None
        return max(0.0, self.working_at - self.stopped_at)

    def to_paid_s(self, until: float) -> float:
        """Seconds for which nodes were paid, or on their way, for this migration until an instant."""
        return 0.0 if self.prepared_at is None else max(0.0, until - self.prepared_at)

    @property
    def moved_bytes(self) -> int:
        """Bytes that were copied ahead, over all nodes."""
        return sum(copy.moved_bytes for copy in self.copies.values())
