"""What the API shows of jobs, nodes, offers and events. Instants are seconds since the epoch, UTC."""

from typing import Annotated, Any, Literal

from godwit.domain.wire.pages import Message
from godwit.domain.wire.specs import NAME_PATTERN, JobSpecIn
from pydantic import Field, JsonValue


class ProgressView(Message):
    """What the program last said of itself."""

    step: int
    total_steps: int | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    at: float


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


class SlotView(Message):
    """One node's part in an attempt."""

    node_id: str
    rank: int
    gpus: list[int]
    released: bool


class AttemptView(Message):
    """One placement of a job."""

    id: str
    epoch: int
    state: str
    outcome: str | None
    detail: str
    created_at: float
    state_since: float
    slots: list[SlotView]


class CheckpointView(Message):
    """A committed checkpoint of a job."""

    step: int
    epoch: int
    at: float
    size_bytes: int
    files: int
    manifest_url: str


class JobDetail(JobView):
    """A job with its specification, attempts and checkpoints (oldest first)."""

    spec: JobSpecIn
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
    """An action of a plan, for a person: what, and why."""

    action: str
    reason: str
    offer: str | None = None
    node_id: str | None = None
    price_usd_per_hour: float | None = None


class PlanView(Message):
    """What the planner would do for a job now. `feasible` is False while it would only wait."""

    feasible: bool
    actions: list[ActionView]
    refusals: list[RefusalView]
    price_usd_per_hour: float


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
    """Why a job is where it is: its refusals while it waits, its exit code and last lines when it failed, its story."""

    job: JobView
    headline: str
    refusals: list[RefusalView]
    last_lines: list[str]
    events: list[EventView]


class GpuView(Message):
    """A GPU of a node; `attempt_id` is what holds it."""

    index: int
    uuid: str
    model: str
    memory_gib: float
    health: str
    attempt_id: str | None = None
    job_id: str | None = None


class NodeView(Message):
    """A node of the fleet."""

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
    detail: str = ""


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


class CallsView(Message):
    """Calls to a provider within the last `window_s`: how many, errors by class, seconds that a call took."""

    window_s: float
    calls: int = 0
    errors: dict[str, int] = Field(default_factory=dict)
    median_s: float | None = None
    p99_s: float | None = None


class ProviderView(Message):
    """A configured provider, how its last contact went, and how the calls to it go.

    `offers_at` is when its offers were last read well; `offers_trouble` is why they cannot be read now, since
    `offers_trouble_since`. `foreign` counts the account's living instances that this control plane did not launch;
    `foreign_ids` are the newest, 20 at the most. `calls` is over all methods, `calls_by_method` of each.
    """

    name: str
    reachable: bool
    offers: int
    nodes: int
    last_contact_at: float | None
    detail: str
    offers_at: float | None = None
    offers_trouble: str = ""
    offers_trouble_since: float | None = None
    foreign: int = 0
    foreign_ids: list[str] = Field(default_factory=list)
    calls: CallsView | None = None
    calls_by_method: dict[str, CallsView] = Field(default_factory=dict)


class ProviderKindView(Message):
    """A kind of provider: what may be told of it, and which credentials it needs (key: where a person finds it)."""

    kind: str
    title: str
    options: dict[str, str]
    secrets: dict[str, str]


class ProviderIn(Message):
    """An account to add; it is called like its kind unless it is named."""

    kind: Annotated[str, Field(min_length=1, max_length=32)]
    name: Annotated[str, Field(pattern=NAME_PATTERN)] | None = None
    options: Annotated[dict[str, JsonValue], Field(max_length=64)] = Field(default_factory=dict)
    secrets: Annotated[dict[str, Annotated[str, Field(max_length=16_384)]], Field(max_length=16, repr=False)] = Field(
        default_factory=dict
    )


class QuotaView(Message):
    """What is left of one of an account's limits; None where the provider does not say."""

    name: str
    limit: float | None
    left: float | None


class StandingView(Message):
    """How an account stands."""

    name: str
    reachable: bool
    account: str = ""
    permitted: list[str] = Field(default_factory=list)
    quotas: list[QuotaView] = Field(default_factory=list)
    detail: str = ""


class LedgerView(Message):
    """Where the GPU-seconds of a job's nodes went, and the dollars: by reason, and by provider."""

    gpu_seconds_by_reason: dict[str, float]
    usd_by_provider: dict[str, float]
    usd_total: float


class DrillRequest(Message):
    """Inject a fault on purpose. `node-loss`: the node dies at once, as if its power were cut."""

    kind: Literal["node-loss"]
    node_id: Annotated[str, Field(max_length=64)]


class DrillView(Message):
    """The drill was ordered; follow it with the node's events."""

    intent_id: str
    node_id: str
    kind: str


class ArchiveView(Message):
    """An uploaded workdir."""

    digest: str
    size_bytes: int


class ServerView(Message):
    """Which control plane this is."""

    identity: str
    version: str
    now: float
