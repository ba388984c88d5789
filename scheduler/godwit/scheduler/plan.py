"""A plan: actions with reasons, and refusals with reasons. What the shell writes down, and nothing else decides."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from godwit.domain.health import Incident, IncidentState, Remedy
from godwit.domain.ids import AttemptId, FindingId, GpuUuid, IncidentId, JobId, NodeId
from godwit.domain.jobs import Outcome, Slot
from godwit.domain.nodes import Health
from godwit.domain.offers import Offer
from godwit.scheduler.migration.actions import MigrationAction
from godwit.scheduler.outlook import Outlook
from godwit.scheduler.reasons import Refusal


@dataclass(frozen=True)
class BuyNode:
    """Buy one machine for a job, or for nobody in particular (None). `arithmetic` is behind the reason, in full."""

    offer: Offer
    job_id: JobId | None
    reason: str
    arithmetic: str = ""


@dataclass(frozen=True)
class ReserveNode:
    """Keep a node for a job (`job_id`), or for nobody in particular any more (None)."""

    node_id: NodeId
    job_id: JobId | None
    reason: str


@dataclass(frozen=True)
class StartAttempt:
    """Place a job: `slots` in rank order, `port` the first of the head's four ports."""

    job_id: JobId
    epoch: int
    slots: tuple[Slot, ...]
    port: int
    reason: str


@dataclass(frozen=True)
class EndAttempt:
    """The attempt's outcome is settled; its nodes are told to stop it, within `grace_s` (None: as is usual)."""

    attempt_id: AttemptId
    outcome: Outcome
    reason: str
    grace_s: float | None = None


@dataclass(frozen=True)
class Preempt:
    """A running attempt gives way to a waiting job: it is told to stop, with time to save, and goes on later.

    `lost_gpu_s` are the GPU-seconds since its last committed checkpoint, if it does not save once more.
    """

    attempt_id: AttemptId
    job_id: JobId
    to: JobId
    lost_gpu_s: float
    reason: str


@dataclass(frozen=True)
class AskToLeave:
    """A replica is to be off its nodes by an instant, when it is told to stop; until then it is replaced, and drains.

    For a waiting job (`to`), or because of an incident.
    """

    attempt_id: AttemptId
    job_id: JobId
    by: float
    reason: str
    to: JobId | None = None
    incident_id: IncidentId | None = None


@dataclass(frozen=True)
class GrowAttempt:
    """A running attempt gets these nodes besides; it goes on."""

    attempt_id: AttemptId
    slots: tuple[Slot, ...]
    reason: str


@dataclass(frozen=True)
class ShrinkAttempt:
    """A running attempt gives these nodes back, or has lost them; it goes on. `to` is who waits for them, if any."""

    attempt_id: AttemptId
    node_ids: tuple[NodeId, ...]
    reason: str
    to: JobId | None = None


@dataclass(frozen=True)
class ReleaseSlot:
    """It is certain that this node does not run the attempt any more."""

    attempt_id: AttemptId
    node_id: NodeId
    reason: str


@dataclass(frozen=True)
class FinishAttempt:
    """Every slot is released: nothing of the attempt runs anywhere."""

    attempt_id: AttemptId
    reason: str


@dataclass(frozen=True)
class MarkNodeLost:
    """The node's agent is not heard."""

    node_id: NodeId
    reason: str


@dataclass(frozen=True)
class TerminateNode:
    """Give the machine back. `blame` passes its offer over for a while."""

    node_id: NodeId
    reason: str
    blame: bool = False


@dataclass(frozen=True)
class FinishJob:
    """The job is over without an attempt that would say so: cancelled, or interrupted too often."""

    job_id: JobId
    cancelled: bool
    reason: str


@dataclass(frozen=True)
class DecideFinding:
    """What is done about a finding, and by which rule; `incident_id` is None when nothing is."""

    finding_id: FindingId
    remedy: Remedy
    rule: str
    reason: str
    incident_id: IncidentId | None = None


@dataclass(frozen=True)
class OpenIncident:
    """Something is wrong; `incident` is as it begins: open, held, or escalated where only a person can help.

    Its id is made from that of its first finding, so that a plan made twice opens it once. Its `detail` stays as it is:
    the policy reads there what it must not undo.
    """

    incident: Incident
    reason: str


@dataclass(frozen=True)
class MoveIncident:
    """An incident goes on to `to`; `remedy`, where given, is tried next. One before it that was begun joins `tried`."""

    incident_id: IncidentId
    to: IncidentState
    reason: str
    remedy: Remedy | None = None


@dataclass(frozen=True)
class MarkHealth:
    """What is believed of a GPU (its UUID) or of a machine (its node's id) changes; a record is made where none is.

    A record that becomes faulty or suspect from healthy has one fault more.
    """

    record_id: str
    node_id: NodeId
    to: Health
    reason: str


@dataclass(frozen=True)
class CordonNode:
    """No new work starts on a node, or may again (`lifted`)."""

    node_id: NodeId
    reason: str
    lifted: bool = False


@dataclass(frozen=True)
class Evict:
    """An attempt leaves nodes that are suspect; it is given time to save where what it computes can be trusted."""

    attempt_id: AttemptId
    job_id: JobId
    incident_id: IncidentId
    saves: bool
    reason: str


@dataclass(frozen=True)
class RepairNode:
    """The node's agent is told to reset these GPUs (none: all), or to reboot the machine."""

    node_id: NodeId
    incident_id: IncidentId
    remedy: Remedy
    gpus: tuple[GpuUuid, ...]
    reason: str


@dataclass(frozen=True)
class TestNode:
    """The node's agent is told to run its active checks on these GPUs (by index); `incident_id` None: a sweep."""

    node_id: NodeId
    incident_id: IncidentId | None
    gpus: tuple[int, ...]
    reason: str


@dataclass(frozen=True)
class TripBreaker:
    """Automation stops taking nodes out of the fleet until a person resets the breaker."""

    reason: str


Action = (
    BuyNode
    | ReserveNode
    | StartAttempt
    | EndAttempt
    | Preempt
    | AskToLeave
    | GrowAttempt
    | ShrinkAttempt
    | ReleaseSlot
    | FinishAttempt
    | MarkNodeLost
    | TerminateNode
    | FinishJob
    | DecideFinding
    | OpenIncident
    | MoveIncident
    | MarkHealth
    | CordonNode
    | Evict
    | RepairNode
    | TestNode
    | TripBreaker
    | MigrationAction
)


@dataclass(frozen=True)
class Plan:
    """What to do now, in this order, and why each waiting job gets nothing.

    `wake_at` is the next instant at which time alone may change the answer; None when only news can. `outlooks` are
    told by a preview only.
    """

    actions: tuple[Action, ...] = ()
    refusals: Mapping[JobId, tuple[Refusal, ...]] = field(default_factory=dict)
    wake_at: float | None = None
    outlooks: Mapping[JobId, Outlook] = field(default_factory=dict)
