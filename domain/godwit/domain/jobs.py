"""A job is what a user asked for; an attempt is one placement of it, with an epoch that only grows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from godwit.domain.ids import AttemptId, JobId, NodeId, ProjectId
from godwit.domain.resources import GpuAsk, Infra


class JobKind(StrEnum):
    """`train` is finite and placed as a gang; `service` does not end; `dev` is an interactive workspace."""

    TRAIN = "train"
    SERVICE = "service"
    DEV = "dev"


class JobState(StrEnum):
    """Where a job stands; edges and their reasons are in `lifecycle`."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    RECOVERING = "recovering"
    MIGRATING = "migrating"
    RESIZING = "resizing"
    STOPPING = "stopping"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class AttemptState(StrEnum):
    """Where an attempt stands. `stopping` has an outcome but still holds GPUs; `ended` holds none."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    ENDED = "ended"


class Outcome(StrEnum):
    """How an attempt came out. Only `failed` is the program's own doing; `interrupted` is the platform's."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"


class Spot(StrEnum):
    """Whether machines that the provider may take back will do."""

    AUTO = "auto"
    NEVER = "never"
    ONLY = "only"


class Fabric(StrEnum):
    """Whether a gang needs one fabric domain under it, or is content with any network."""

    ONE = "one"
    ANY = "any"


@dataclass(frozen=True)
class Resources:
    """What a gang needs: `nodes_min` to `nodes_max` nodes with `gpus`, `cpus` and `memory_gib` on each."""

    gpus: GpuAsk = field(default_factory=GpuAsk)
    nodes_min: int = 1
    nodes_max: int = 1
    cpus: int = 0
    memory_gib: float = 0.0
    infra: tuple[Infra, ...] = ()
    spot: Spot = Spot.AUTO
    fabric: Fabric = Fabric.ONE


@dataclass(frozen=True)
class CheckpointPolicy:
    """Where committed checkpoints go: an fsspec URL, None for the control plane's default store."""

    store: str | None = None


@dataclass(frozen=True)
class Retries:
    """How many interruptions a job survives before it fails. A program that fails by itself is never retried."""

    max: int = 5


@dataclass(frozen=True)
class JobSpec:
    """The desired job, as its owner wrote it. `workdir_digest` names an uploaded archive by its SHA-256."""

    name: str
    run: str
    kind: JobKind = JobKind.TRAIN
    setup: str | None = None
    workdir_digest: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    resources: Resources = Resources()
    checkpoint: CheckpointPolicy = CheckpointPolicy()
    retries: Retries = Retries()
    priority: int = 0


@dataclass(frozen=True)
class Progress:
    """What a running job last said of itself; `at` is when it said so."""

    step: int
    at: float
    total_steps: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """A job: what is wanted (`spec`, `cancel_requested`) and what is so (`state`, `epoch`, `progress`).

    `epoch` is that of the newest attempt, 0 before the first. `interruptions` counts attempts that ended through
    no fault of the program. `exit_code` and `detail` are set once the job is final.
    """

    id: JobId
    project: ProjectId
    spec: JobSpec
    state: JobState
    created_at: float
    state_since: float
    epoch: int = 0
    interruptions: int = 0
    cancel_requested: bool = False
    progress: Progress | None = None
    exit_code: int | None = None
    detail: str = ""
    version: int = 1


@dataclass(frozen=True)
class Slot:
    """One node's part in an attempt: its rank and the GPUs it holds there (by index on the node).

    `released` is set when it is certain that the attempt no longer runs there: the agent said so, the provider said
    that the machine is gone, or the lease ran out. Only then may the GPUs serve another attempt.
    """

    node_id: NodeId
    rank: int
    gpus: tuple[int, ...]
    address: str
    released: bool = False


@dataclass(frozen=True)
class Attempt:
    """One placement of a job. Slots are in rank order; rank 0 is the head of the attempt's own Ray cluster.

    `port` is the first of the four consecutive ports that the head uses (GCS, dashboard, client, spare).
    `outcome` is known from `stopping` on. `failed_at` is when the program reported a failure of its own that is not
    yet believed: a dying node makes programs fail too, so the verdict waits until every node has been heard since.
    """

    id: AttemptId
    job_id: JobId
    epoch: int
    state: AttemptState
    slots: tuple[Slot, ...]
    port: int
    created_at: float
    state_since: float
    outcome: Outcome | None = None
    exit_code: int | None = None
    failed_at: float | None = None
    detail: str = ""
    version: int = 1

    @property
    def head(self) -> Slot:
        """The slot of rank 0."""
        return self.slots[0]

    @property
    def released(self) -> bool:
        """Whether no node can be running this attempt any more."""
        return all(slot.released for slot in self.slots)
