"""What the API tells of incidents: what is wrong, what was found, what is done, and the evidence for a vendor."""

from typing import Any

from godwit.domain.health import Grade, IncidentState, Remedy
from godwit.domain.wire.pages import Message
from godwit.domain.wire.views import EventView
from pydantic import Field


class IncidentView(Message):
    """An incident in short. `gpus` are UUIDs; without any it is about the whole node.

    `cause` is the incident that began a burst of the same cause, `jobs` had to leave.
    """

    id: str
    node_id: str
    provider: str
    state: IncidentState
    opened_at: float
    state_since: float
    check: str
    code: str
    rule: str
    reason: str
    remedy: Remedy
    tried: list[Remedy]
    gpus: list[str]
    jobs: list[str]
    cause: str | None = None
    detail: str = ""


class FindingView(Message):
    """What a check found, and what was decided about it by which rule. `suggested` is what the check would have done.

    `evidence` holds numbers and lines as the check saw them.
    """

    id: str
    node_id: str
    at: float
    check: str
    grade: Grade
    reason: str
    code: str
    suggested: Remedy
    gpu: str | None
    job_id: str | None
    attempt_id: str | None
    boot_id: str
    evidence: dict[str, Any]
    remedy: Remedy | None = None
    rule: str | None = None
    decision: str | None = None


class OrderView(Message):
    """A repair or tests that the node's agent was told to carry out; `passed` is None while they are under way."""

    kind: str
    ordered_at: float
    ended_at: float | None
    passed: bool | None
    detail: str
    figures: dict[str, Any] = Field(default_factory=dict)


class EvictionView(Message):
    """A job that had to leave, when it ran again, and when it made its first new step."""

    job_id: str
    attempt_id: str
    at: float
    restarted_at: float | None
    first_step_at: float | None


class IncidentDetail(IncidentView):
    """An incident with everything that belongs to it; lists are in the order in which things happened."""

    findings: list[FindingView]
    orders: list[OrderView]
    evictions: list[EvictionView]
    timeline: list[EventView]


class DeviceView(Message):
    """What is remembered of a GPU (its UUID) or of a machine (its node's id), wherever it turns up."""

    id: str
    health: str
    since: float
    faults: int
    reason: str
    index: int | None = None
    model: str | None = None
    memory_gib: float | None = None
    serial: str | None = None


class MachineView(Message):
    """The machine of an incident, by the names that its provider knows it by."""

    node_id: str
    provider: str
    region: str
    zone: str | None
    instance_type: str
    instance_id: str | None
    fabric_domain: str | None
    boot_ids: list[str]


class EvidenceView(Message):
    """All that a vendor or provider needs to act on an incident, in one document; it holds no secrets.

    `summary` says in words what happened; serial numbers are those that the checks have read.
    """

    godwit: str
    made_at: float
    summary: str
    machine: MachineView
    devices: list[DeviceView]
    incident: IncidentDetail


class CordonView(Message):
    """A node that automation took out of the fleet."""

    node_id: str
    at: float
    provider: str
    fabric_domain: str | None


class BreakerView(Message):
    """The breaker: since when and why automation takes no more nodes out (None: it may), and what it took lately."""

    tripped_at: float | None
    reason: str
    cordons: list[CordonView]
