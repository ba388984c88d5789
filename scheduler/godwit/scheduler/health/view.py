"""What the planner may know of the fleet's health."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from godwit.domain.health import Finding, HealthRecord, Incident
from godwit.domain.ids import NodeId

REPAIR, CHECKS, SWEEP = "repair", "checks", "sweep"
ORDERS = (REPAIR, CHECKS, SWEEP)
"""What a node's agent is told to do."""


@dataclass(frozen=True)
class Cordon:
    """Automation took a node out of the fleet at `at`."""

    at: float
    node_id: NodeId
    provider: str
    fabric_domain: str | None


@dataclass(frozen=True)
class TestResult:
    """How ordered checks or an ordered repair ended at `at` (`passed` None: they are under way since `at`).

    `kind` is one of `ORDERS`: a sweep is of no incident, and the others are.
    """

    node_id: NodeId
    incident_id: str | None
    kind: str
    at: float
    passed: bool | None
    detail: str = ""


@dataclass(frozen=True)
class HealthView:
    """One consistent reading of the health tables.

    `findings`: those of the last 24 hours of nodes that are not final, oldest first, and any that is not decided yet.
    `records`: of every GPU and node of the fleet that has one, by UUID or node id. `incidents`: those not closed.
    `past`: those closed within 28 days. `orders`: the newest repair and the newest checks of each incident that is
    not closed, and the newest sweep of each node. `cordons`: by automation, within the breaker's window.
    `tripped_at`: since when the breaker holds everything; only a person resets it. `beside`: how many nodes are there
    and well that the snapshot leaves out, for each scope of the breaker; whole snapshots leave out none.
    """

    findings: tuple[Finding, ...] = ()
    records: Mapping[str, HealthRecord] = field(default_factory=dict)
    incidents: tuple[Incident, ...] = ()
    past: tuple[Incident, ...] = ()
    orders: tuple[TestResult, ...] = ()
    cordons: tuple[Cordon, ...] = ()
    tripped_at: float | None = None
    beside: Mapping[tuple[str, str], int] = field(default_factory=dict)
