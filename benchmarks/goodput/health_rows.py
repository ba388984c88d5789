"""The tables of health in memory: findings, incidents, orders and cordons, kept as far back as the view reads them."""

from collections import deque
from dataclasses import replace

from godwit.domain import lifecycle
from godwit.domain.health import Finding, HealthRecord, Incident, IncidentState, Remedy
from godwit.domain.ids import FindingId, IncidentId, JobId, NodeId
from godwit.scheduler.health.view import ORDERS, Cordon, HealthView, TestResult
from godwit.scheduler.plan import MoveIncident

from benchmarks.goodput.inputs import DAY_S

ACTOR = "planner"
FINDINGS_S, PAST_S, CORDONS_S = DAY_S, 28 * DAY_S, 900.0
"""How far back the snapshot reads, as its view says."""

TELLING_S = 900.0
"""Longer than anything that looks at what the nodes of a job told lately (`attribution_s`, `combine_s`, `doubt_s`)."""


class HealthRows:
    """What is remembered of health. `now` is set by whoever writes."""

    def __init__(self) -> None:
        self.now = 0.0
        self.findings: dict[FindingId, Finding] = {}
        self.incidents: dict[IncidentId, Incident] = {}
        self.records: dict[str, HealthRecord] = {}
        self.orders: dict[tuple[str, str], TestResult] = {}
        self.cordons: list[Cordon] = []
        self.tripped_at: float | None = None
        # What was closed lies in the order in which it was, so that what is too old lies in front.
        self._past, self._passed = deque[Incident](), deque[Incident]()

    def view(self) -> HealthView:
        """What is remembered of health, as far back as the store reads."""
        self._forget()
        return HealthView(
            tuple(self.findings.values()), self.records, tuple(self.incidents.values()),
            (*self._past, *self._passed), tuple(self.orders.values()), tuple(self.cordons), self.tripped_at,
        )  # fmt: skip

    def telling(self) -> set[NodeId]:
        """Nodes of which something was found lately."""
        nodes: set[NodeId] = set()
        for one in reversed(self.findings.values()):
            if one.at < self.now - TELLING_S:
                break
            nodes.add(one.node_id)
        return nodes

    def _forget(self) -> None:
        oldest = next(iter(self.findings.values()), None)
        if oldest is not None and oldest.at <= self.now - FINDINGS_S:
            self.findings = {
                key: one for key, one in self.findings.items() if not one.decided or one.at > self.now - FINDINGS_S
            }
        for closed, kept_s in ((self._past, PAST_S), (self._passed, DAY_S)):
            while closed and closed[0].state_since <= self.now - kept_s:
                closed.popleft()
        while self.cordons and self.cordons[0].at <= self.now - CORDONS_S:
            self.cordons.pop(0)

    def found(self, finding: Finding) -> None:
        """A finding came."""
        self.findings[finding.id] = finding

    def decided(self, finding_id: FindingId) -> None:
        """It was answered."""
        self.findings[finding_id] = replace(self.findings[finding_id], decided=True)

    def open(self, incident: Incident) -> None:
        """An incident begins."""
        self.incidents[incident.id] = incident

    def move(self, action: MoveIncident) -> Incident:
        """It goes on; what was being done and is not any more was tried."""
        incident = self.incidents[action.incident_id]
        if action.remedy is not None and action.remedy is not incident.remedy:
            was_tried = incident.state in {IncidentState.REPAIRING, IncidentState.TESTING}
            tried = (*incident.tried, incident.remedy) if was_tried else incident.tried
            incident = replace(incident, remedy=action.remedy, tried=tried)
        incident = replace(incident, detail=action.reason)
        if action.to is not incident.state:
            incident, _ = lifecycle.advance(incident, action.to, reason=action.reason, actor=ACTOR, now=self.now)
        if incident.state is IncidentState.CLOSED:
            del self.incidents[incident.id]
            for kind in ORDERS:
                self.orders.pop((incident.id, kind), None)
            (self._passed if _only_tested(incident) else self._past).append(incident)
        else:
            self.incidents[incident.id] = incident
        return incident

    def left_for(self, incident_id: IncidentId, job_id: JobId) -> None:
        """A job left because of it."""
        incident = self.incidents.get(incident_id)
        if incident is not None and job_id not in incident.job_ids:
            self.incidents[incident_id] = replace(incident, job_ids=(*incident.job_ids, job_id))

    def ordered(self, order: TestResult) -> None:
        """A repair or a test is under way, or over."""
        self.orders[(order.incident_id or order.node_id, order.kind)] = order


def _only_tested(incident: Incident) -> bool:
    """Whether a node was tested with all others of its job and is well: after a day no rule looks at it any more."""
    return incident.cause is not None and incident.remedy is Remedy.NONE and not incident.tried
