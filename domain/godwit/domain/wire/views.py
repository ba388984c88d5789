"""What the API shows of jobs, nodes, offers and events. Instants are seconds since the epoch, UTC."""

from typing import Annotated, Any

from godwit.domain.drills import Drill
from godwit.domain.wire.arrays import ArrayView, DependencyView, EstimateView, FeasibilityView
from godwit.domain.wire.migrations import MigrationView
from godwit.domain.wire.pages import Message
from godwit.domain.wire.sizes import SizeView
from godwit.domain.wire.specs import JobSpecIn
from pydantic import Field


class ProgressView(Message):
    """What the program last said of itself."""

    step: int
    total_steps: int | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    at: float


class MemberView(Message):
    """A job's place in its array: the array's id, its number there from 0, and how many there are."""

    id: str
    index: int
    size: int


class JobView(Message):
    """A job in a list."""

    id: str
    name: str
    project: str
    kind: str
    state: str
    gpus: str
    nodes: str
    priority: int
    created_at: float
    state_since: float
    epoch: int
    interruptions: int
    progress: ProgressView | None = None
    exit_code: int | None = None
    detail: str = ""
    array: MemberView | None = None
    deadline_at: float | None = None
    budget_usd: float | None = None
    nodes_wanted: int | None = None


class SlotView(Message):
    """One node's part in an attempt."""

    node_id: str
    rank: int
    gpus: list[int]
    released: bool


class AttemptView(Message):
    """One placement of a job. Its program began to run at `started_at`; nothing of it ran any more at `ended_at`."""

    id: str
    epoch: int
    state: str
    outcome: str | None
    detail: str
    created_at: float
    state_since: float
    slots: list[SlotView]
    started_at: float | None = None
    ended_at: float | None = None


class CheckpointView(Message):
    """A committed checkpoint of a job."""

    step: int
    epoch: int
    at: float
    size_bytes: int
    files: int
    manifest_url: str


class JobDetail(JobView):
    """A job with its specification, what it waits for, its attempts and checkpoints (oldest first)."""

    spec: JobSpecIn
    after: list[DependencyView] = Field(default_factory=list)
    attempts: list[AttemptView]
    checkpoints: list[CheckpointView]


class RefusalView(Message):
    """Why something cannot be used now. `subject` is a provider, offer or node; `retry_at` is the next look at it."""

    code: str
    subject: str
    message: str
    would_help: str = ""
    retry_at: float | None = None


class ActionView(Message):
    """An action of a plan, for a person: what, and why. `job_id` is the job that gives way, where one does.

    `arithmetic` is behind the reason of a purchase: what it is expected to cost, and what is bought if it is refused.
    """

    action: str
    reason: str
    offer: str | None = None
    node_id: str | None = None
    job_id: str | None = None
    price_usd_per_hour: float | None = None
    arithmetic: str = ""


class OutlookView(Message):
    """Where a waiting job stands in the queue, from 1, and between which instants it may start; None where unknown."""

    position: int
    earliest: float | None = None
    latest: float | None = None
    because: str = ""


class PlanView(Message):
    """What the planner would do for a job now. `feasible` is False while it would only wait.

    Of an array it is the plan of one of its `count` jobs, planned alone.
    """

    feasible: bool
    actions: list[ActionView]
    refusals: list[RefusalView]
    price_usd_per_hour: float
    count: int = 1
    outlook: OutlookView | None = None
    feasibility: FeasibilityView | None = None


class EventView(Message):
    """Something that happened."""

    seq: int
    at: float
    kind: str
    subject: str
    subject_id: str
    reason: str
    actor: str
    old: str | None = None
    new: str | None = None
    job_id: str | None = None
    node_id: str | None = None
    data: dict[str, Any] = Field(default_factory=dict)


class ExplainView(Message):
    """Why a job is where it is: its refusals while it waits, its exit code and last lines when it failed, its story.

    `migrations` are the last ones of it, the newest first.
    Of an array it is one job that stands for the others: the first that waits, or else the first that failed.
    """

    job: JobView
    headline: str
    refusals: list[RefusalView]
    last_lines: list[str]
    events: list[EventView]
    outlook: OutlookView | None = None
    estimate: EstimateView | None = None
    array: ArrayView | None = None
    size: SizeView | None = None
    migrations: list[MigrationView] = Field(default_factory=list)


class GpuView(Message):
    """A GPU of a node; `attempt_id` is what holds it, `busy_percent` how hard it works, where its agent told lately."""

    index: int
    uuid: str
    model: str
    memory_gib: float
    health: str
    attempt_id: str | None = None
    job_id: str | None = None
    busy_percent: float | None = None


class NodeView(Message):
    """A node of the fleet. `leaves_at` is when its provider takes it back, where that was announced.

    `confinement` says whether programs have a user and a cgroup of their own there, and else why not; empty where its
    agent said nothing.
    """

    id: str
    state: str
    provider: str
    region: str
    instance_type: str
    instance_id: str | None
    address: str | None
    spot: bool
    price_usd_per_hour: float
    created_at: float
    state_since: float
    last_seen_at: float | None
    gpus: list[GpuView]
    leaves_at: float | None = None
    detail: str = ""
    confinement: str = ""


class OfferView(Message):
    """Something one can buy. `held_until` is set while the planner passes it over, `held_because` says why.

    `trust` is the share of what is paid for it that becomes work, learned from what happened; 0.9 before it was tried.
    """

    key: str
    provider: str
    region: str
    zone: str | None
    instance_type: str
    gpu_model: str | None
    gpu_count: int
    gpu_memory_gib: float
    cpus: int
    memory_gib: float
    price_usd_per_hour: float
    price_usd_per_gpu_hour: float
    spot: bool
    capacity: int | None
    seen_at: float
    source: str
    held_until: float | None = None
    held_because: str | None = None
    trust: float | None = None


class LedgerView(Message):
    """Where the GPU-seconds of a job's nodes went, and the dollars: by reason, and by provider."""

    gpu_seconds_by_reason: dict[str, float]
    usd_by_provider: dict[str, float]
    usd_total: float


class DrillRequest(Message):
    """Inject a fault on purpose: into a node, one GPU of it, or the program there.

    `gpu` is the index of the GPU, or of the program's process on the node. Either `node_id` or `job` (id or name)
    says where; a job stands for the first node of its attempt.
    """

    kind: Drill
    node_id: Annotated[str, Field(max_length=64)] | None = None
    job: Annotated[str, Field(max_length=128)] | None = None
    gpu: Annotated[int, Field(ge=0, le=1_023)] | None = None


class DrillView(Message):
    """The drill was ordered; follow it with the node's events."""

    intent_id: str
    node_id: str
    kind: Drill
    gpu: int | None = None


class ArchiveView(Message):
    """An uploaded workdir."""

    digest: str
    size_bytes: int


class ServerView(Message):
    """Which control plane this is."""

    identity: str
    version: str
    now: float
