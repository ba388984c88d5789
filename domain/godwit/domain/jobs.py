"""A job is what a user asked for; an attempt is one placement of it, with an epoch that only grows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from godwit.domain.afters import After
from godwit.domain.arrays import Member
from godwit.domain.dev import Dev
from godwit.domain.elasticity import Batch, Bends, Pace
from godwit.domain.ids import AttemptId, JobId, NodeId, ProjectId
from godwit.domain.projects import DEFAULT
from godwit.domain.resources import GpuAsk, Infra
from godwit.domain.secrets import SecretRef
from godwit.domain.serving import Serving


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
    """How an attempt came out. Only `failed` is the program's own doing; `interrupted` is the platform's.

    `preempted` is nobody's fault: it gave way to another job, was told first, and its job goes on later. `evicted`: a
    node or a GPU under it is suspect; it was told first where it could still save, and goes on elsewhere. `resized`: it
    starts again with more or fewer nodes.
    """

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    PREEMPTED = "preempted"
    EVICTED = "evicted"
    MIGRATED = "migrated"
    RESIZED = "resized"
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


class Preflight(StrEnum):
    """Whether the GPUs of an attempt are tried before its program starts; `auto`: where they are real."""

    AUTO = "auto"
    NEVER = "never"
    ALWAYS = "always"


@dataclass(frozen=True)
class Data:
    """What a job reads and where that lies; work elsewhere pays for moving it.

    `egress_usd_per_gb` is what its provider takes for a gigabyte that leaves it; None: its list price, where known.
    """

    at: Infra
    size_gb: float
    egress_usd_per_gb: float | None = None


@dataclass(frozen=True)
class Resources:
    """What a gang needs: `nodes_min` to `nodes_max` nodes with `gpus`, `cpus` and `memory_gib` on each.

    `data` is what it reads: it draws the gang to where that lies. `process_saves`: its nodes must be able to save a
    running program from outside, for programs that cannot save themselves.
    """

    gpus: GpuAsk = field(default_factory=GpuAsk)
    nodes_min: int = 1
    nodes_max: int = 1
    cpus: int = 0
    memory_gib: float = 0.0
    infra: tuple[Infra, ...] = ()
    spot: Spot = Spot.AUTO
    fabric: Fabric = Fabric.ONE
    data: tuple[Data, ...] = ()
    process_saves: bool = False


@dataclass(frozen=True)
class CheckpointPolicy:
    """Where committed checkpoints go, how often one is asked for, and how many are kept.

    `store` is an fsspec URL, None for the control plane's default. `shortest_s` and `longest_s` bound the time between
    two saves: None leaves it to godwit, the same number twice fixes it. `keep` committed ones stay in the store.
    """

    store: str | None = None
    shortest_s: float | None = None
    longest_s: float | None = None
    keep: int = 3


@dataclass(frozen=True)
class Retries:
    """How many interruptions a job survives before it fails. A program that fails by itself is never retried."""

    max: int = 5


@dataclass(frozen=True)
class JobSpec:
    """The desired job, as its owner wrote it. `workdir_digest` names an uploaded archive by its SHA-256.

    `run_time_s` is how long its owner thinks that it runs in all, which may be wrong. `deadline_at` and `budget_usd`
    say by when it should be done and for how much. `preemptible`: it may be made to give way to others, and goes on
    later from its last checkpoint. `hang_after_s` is how long it may be without a step until it counts as hanging:
    None for what its own steps suggest, 0 for never. `elastic` and `batch` say how it bends where it may have more or
    fewer nodes. `secrets` are its project's, by the variables that its program finds them in. `serving` is what a
    service asks for besides, `dev` what a dev environment does.
    """

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
    project: ProjectId = DEFAULT
    after: tuple[After, ...] = ()
    run_time_s: float | None = None
    deadline_at: float | None = None
    budget_usd: float | None = None
    preemptible: bool = True
    preflight: Preflight = Preflight.AUTO
    hang_after_s: float | None = None
    elastic: Bends = Bends.RESTART
    batch: Batch = Batch.KEEP
    secrets: Mapping[str, SecretRef] = field(default_factory=dict)
    serving: Serving | None = None
    dev: Dev | None = None


@dataclass(frozen=True)
class Progress:
    """What a running job last said of itself; `at` is when it said so. `paces`, by nodes, are of all its attempts."""

    step: int
    at: float
    total_steps: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    paces: Mapping[int, Pace] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """A job: what is wanted (`spec`, `cancel_requested`) and what is so (`state`, `epoch`, `progress`).

    `epoch` is that of the newest attempt, 0 before the first. `interruptions` counts attempts that ended through
    no fault of the program. `exit_code` and `detail` are set once the job is final. `after_id` names the dependencies
    that it waits for, as they were found when it was submitted; jobs of one array share them. `nodes_wanted` is the
    size that its owner asked for since; None: the planner's choice. `user` is who submitted it, "" where nobody did.
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
    member: Member | None = None
    after_id: str | None = None
    nodes_wanted: int | None = None
    user: str = ""
    version: int = 1

    @property
    def family(self) -> str:
        """The name that it shares with jobs of the same work: its array's, or its own."""
        return self.spec.name if self.member is None else self.spec.name.removesuffix(f"-{self.member.index}")


@dataclass(frozen=True)
class Slot:
    """One node's part in an attempt: its rank and the GPUs it holds there (by index on the node), each by `gpu_milli`
    thousandths.

    `released` is set when it is certain that the attempt no longer runs there: the agent said so, the provider said
    that the machine is gone, or the lease ran out. Only then may the GPUs serve another attempt.
    A running attempt may get and lose nodes: one that came later has `since`, and is `joining` until it takes part;
    one that is `leaving` was told to stop, and has `until` once it is `released`.
    """

    node_id: NodeId
    rank: int
    gpus: tuple[int, ...]
    address: str
    released: bool = False
    gpu_milli: int = 1000
    joining: bool = False
    leaving: bool = False
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True)
class Attempt:
    """One placement of a job. Slots are in rank order; rank 0 is the head of the attempt's own Ray cluster.

    `port` is the first of five consecutive ports: the head uses four (GCS, dashboard, client, spare), and each node the
    last one, for copies of checkpoints.
    `outcome` is known from `stopping` on. `failed_at` is when the program reported a failure of its own that is not
    yet believed: a dying node makes programs fail too, so the verdict waits until every node has been heard since.
    `yields_to` is the waiting job that it gives way to, once it is `preempted`, or with nodes that leave it.
    `left` are the parts of nodes that left it while it went on, and `resized_at` is when its size last changed.
    `leaves_by` is when a replica that was asked to leave its nodes is told to stop; it drains before.
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
    yields_to: JobId | None = None
    left: tuple[Slot, ...] = ()
    resized_at: float | None = None
    leaves_by: float | None = None
    version: int = 1

    @property
    def head(self) -> Slot:
        """The slot of rank 0."""
        return self.slots[0]

    @property
    def staying(self) -> tuple[Slot, ...]:
        """The slots that were not told to leave it: its size."""
        return tuple(slot for slot in self.slots if not slot.leaving)

    @property
    def is_changing(self) -> bool:
        """Whether a node is on its way in or out."""
        return any(slot.joining or slot.leaving for slot in self.slots)

    @property
    def released(self) -> bool:
        """Whether no node can be running this attempt any more."""
        return all(slot.released for slot in self.slots)
