"""One reading of the snapshot for one round of decisions: who stands where, indexed as the rules ask."""

from collections.abc import Iterable, Iterator
from functools import cached_property

from godwit.domain.health import Finding, Incident, IncidentState, Remedy
from godwit.domain.ids import AttemptId, GpuUuid, NodeId
from godwit.domain.jobs import Attempt, AttemptState
from godwit.domain.nodes import Health, Node
from godwit.scheduler.health.view import TestResult
from godwit.scheduler.snapshot import Snapshot

Device = tuple[NodeId, GpuUuid | None]


def takes_out(incident: Incident) -> bool:
    """Whether devices are out of the fleet because of it: not for a restart in place, nor for a mere question."""
    asks = incident.state is IncidentState.ESCALATED and incident.remedy is Remedy.NONE and not incident.tried
    return not asks and incident.remedy is not Remedy.RESTART_JOB


def is_whole(incident: Incident) -> bool:
    """Whether it takes the whole node: no GPU is named, or the remedy is the machine's."""
    return not incident.gpus or incident.remedy.strength >= Remedy.REBOOT.strength


def done(incident: Incident) -> tuple[Remedy, ...]:
    """What was done because of it, in order, and what is being done."""
    return (*incident.tried, incident.remedy)


class Casebook:
    """The snapshot's health, indexed. Incidents that a round opens are added, so that its later findings join them."""

    def __init__(self, snapshot: Snapshot, now: float) -> None:
        self.snapshot, self.now = snapshot, now
        self.view, self.policy = snapshot.health, snapshot.policy.health
        self.active: dict[NodeId, list[Incident]] = {}
        for incident in sorted(self.view.incidents, key=lambda one: (one.opened_at, one.id)):
            self.active.setdefault(incident.node_id, []).append(incident)
        self.has_tripped = self.view.tripped_at is not None

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """All of them, the oldest first."""
        return tuple(sorted(self.view.findings, key=lambda one: (one.at, one.id)))

    @cached_property
    def by_node(self) -> dict[NodeId, list[Finding]]:
        """Findings by their node."""
        found: dict[NodeId, list[Finding]] = {}
        for finding in self.findings:
            found.setdefault(finding.node_id, []).append(finding)
        return found

    @cached_property
    def by_check(self) -> dict[str, list[Finding]]:
        """Findings by their check."""
        found: dict[str, list[Finding]] = {}
        for finding in self.findings:
            found.setdefault(finding.check, []).append(finding)
        return found

    @cached_property
    def by_code(self) -> dict[str, list[Finding]]:
        """Findings by their code, or by their check where they have none."""
        found: dict[str, list[Finding]] = {}
        for finding in self.findings:
            found.setdefault(finding.code or finding.check, []).append(finding)
        return found

    @cached_property
    def orders(self) -> dict[tuple[str | None, str], TestResult]:
        """The newest order of each kind by its incident."""
        return {(order.incident_id, order.kind): order for order in sorted(self.view.orders, key=lambda one: one.at)}

    @cached_property
    def sweeps(self) -> dict[NodeId, TestResult]:
        """The newest sweep of each node that had one."""
        return {one.node_id: one for one in sorted(self.view.orders, key=lambda one: one.at) if one.incident_id is None}

    def open(self, incident: Incident) -> None:
        """A round opens this one."""
        self.active.setdefault(incident.node_id, []).append(incident)

    def close(self, incident: Incident) -> None:
        """A round closes this one."""
        self.active[incident.node_id].remove(incident)

    def replace(self, incident: Incident, by: Incident) -> None:
        """A round changes this one."""
        ours = self.active[incident.node_id]
        ours[ours.index(incident)] = by

    def incidents_on(self, node_id: NodeId) -> list[Incident]:
        """Incidents of a node that are not closed."""
        return self.active.get(node_id, [])

    @property
    def all_active(self) -> list[Incident]:
        """Incidents that are not closed, wherever they are."""
        return [one for active in self.active.values() for one in active]

    def is_known(self, incident_id: str) -> bool:
        """Whether there is or was an incident of this id."""
        return any(one.id == incident_id for one in (*self.view.past, *self.all_active))

    def covering(self, finding: Finding) -> Incident | None:
        """The incident that takes out what a finding is about; the strongest of several."""
        found = [
            one
            for one in self.incidents_on(finding.node_id)
            if takes_out(one) and (is_whole(one) or finding.gpu in one.gpus)
        ]
        return max(found, key=lambda one: one.remedy.strength, default=None)

    def history(self, device: Device, since: float) -> Iterator[Incident]:
        """Incidents that took out a GPU wherever it was, or a node as a whole, and that were not over at `since`."""
        node_id, gpu = device
        for one in self._past_of.get(gpu or node_id, []):
            if one.state is not IncidentState.CLOSED or one.state_since >= since:
                yield one

    @cached_property
    def _past_of(self) -> dict[str, list[Incident]]:
        found: dict[str, list[Incident]] = {}
        for one in sorted([*self.view.past, *self.view.incidents], key=lambda one: (one.opened_at, one.id)):
            for name in (one.node_id, *one.gpus):
                found.setdefault(name, []).append(one)
        return found

    def node(self, node_id: NodeId) -> Node | None:
        """A node that is not final; None when it is gone."""
        return self.snapshot.node_by_id.get(node_id)

    def health_of(self, record_id: str) -> Health:
        """What is believed of a device: what its record says, or its GPU; healthy when nothing is known."""
        record = self.view.records.get(record_id)
        return self._gpu_health.get(record_id, Health.HEALTHY) if record is None else record.state

    @cached_property
    def _gpu_health(self) -> dict[str, Health]:
        return {gpu.uuid: gpu.health for node in self.snapshot.nodes for gpu in node.gpus}

    @cached_property
    def _attempts_on(self) -> dict[NodeId, list[Attempt]]:
        found: dict[NodeId, list[Attempt]] = {}
        for attempt in self.snapshot.attempts:
            for slot in attempt.slots:
                if not slot.released:
                    found.setdefault(slot.node_id, []).append(attempt)
        return found

    def holders(self, node_id: NodeId, gpus: Iterable[GpuUuid]) -> list[Attempt]:
        """Attempts that hold one of these GPUs of a node; of no GPUs in particular, anything of the node."""
        node, wanted = self.node(node_id), set(gpus)
        indexes = set() if node is None else {gpu.index for gpu in node.gpus if gpu.uuid in wanted}
        return [
            attempt
            for attempt in self._attempts_on.get(node_id, [])
            if not wanted
            or any(
                slot.node_id == node_id and not slot.released and indexes.intersection(slot.gpus)
                for slot in attempt.slots
            )
        ]

    @cached_property
    def by_attempt(self) -> dict[AttemptId, Attempt]:
        """Attempts that have not ended."""
        return {attempt.id: attempt for attempt in self.snapshot.attempts}


def goes_on(attempt: Attempt) -> bool:
    """Whether nothing told it to stop yet."""
    return attempt.outcome is None and attempt.state is not AttemptState.STOPPING
