"""What health checks say (findings), what is done about it (incidents), and what is remembered of each device."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from godwit.domain.ids import AttemptId, FindingId, GpuUuid, IncidentId, JobId, NodeId
from godwit.domain.nodes import Health


class Grade(StrEnum):
    """How bad a check finds what it looked at. A healthy finding is sent when what was found before is over."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


class Remedy(StrEnum):
    """What helps, from the weakest to the strongest; a stronger one that is pending absorbs the weaker.

    `drain_and_reset`: no new work, what runs may end, then a reset. `replace_node`: give the machine back and take
    another. `contact_support`: only the vendor can help; the machine is given back and its devices are retired.
    """

    NONE = "none"
    RESTART_JOB = "restart_job"
    DRAIN_AND_RESET = "drain_and_reset"
    RESET_GPU = "reset_gpu"
    REBOOT = "reboot"
    REPLACE_NODE = "replace_node"
    CONTACT_SUPPORT = "contact_support"

    @property
    def strength(self) -> int:
        """Its place in the ladder."""
        return list(Remedy).index(self)


@dataclass(frozen=True)
class Finding:
    """What one check says of one GPU, of its node (`gpu` None), or of a job on it (`attempt_id`).

    `check` is the name of the check; `code` is what repeats are counted by, such as "xid:79" or "row-remap:pending".
    `suggested` is what the check itself would do: the policy decides. `evidence` is what it saw: numbers and lines.
    `boot_id` tells one boot of the machine from the next: faults of the node end with it. `job_id` is the job of the
    attempt, or the one that held the GPU when it was found; the control plane fills it in.
    """

    id: FindingId
    node_id: NodeId
    at: float
    check: str
    grade: Grade
    reason: str
    code: str = ""
    suggested: Remedy = Remedy.NONE
    gpu: GpuUuid | None = None
    attempt_id: AttemptId | None = None
    boot_id: str = ""
    evidence: Mapping[str, str | int | float] = field(default_factory=dict)
    decided: bool = False
    job_id: JobId | None = None


class IncidentState(StrEnum):
    """Where an incident stands; edges are in `lifecycle`.

    `held`: the breaker forbids to act; a person is asked. `escalated`: automation is at its end; a person is asked.
    """

    OPEN = "open"
    HELD = "held"
    REPAIRING = "repairing"
    TESTING = "testing"
    ESCALATED = "escalated"
    CLOSED = "closed"


@dataclass(frozen=True)
class Incident:
    """Something that is wrong with a node or with GPUs of it (`gpus`; empty: the whole node), and what is done.

    `check` and `code` are those of its first finding, `rule` is what decided, `remedy` what is being done and
    `tried` what was done before, in order. `cause` is the incident that began a burst of the same cause, if this is
    a later one of it. `job_ids` were evicted. Its timeline is its events.
    """

    id: IncidentId
    node_id: NodeId
    provider: str
    state: IncidentState
    opened_at: float
    state_since: float
    check: str
    code: str
    rule: str
    reason: str
    remedy: Remedy
    gpus: tuple[GpuUuid, ...] = ()
    tried: tuple[Remedy, ...] = ()
    cause: IncidentId | None = None
    job_ids: tuple[JobId, ...] = ()
    detail: str = ""
    version: int = 1


@dataclass(frozen=True)
class HealthRecord:
    """What is remembered of one device, wherever it turns up: a GPU by its UUID, a machine by its node's id.

    `faults` counts incidents, `since` is when it was first seen. `node_id` and `provider` are where it was last.
    """

    id: str
    state: Health
    state_since: float
    since: float
    node_id: NodeId
    provider: str
    faults: int = 0
    reason: str = ""
    version: int = 1
