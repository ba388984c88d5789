"""A world that also carries out what is decided about health: agents repair and test as they are told to."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from godwit.domain import lifecycle
from godwit.domain.health import Finding, Grade, HealthRecord, Incident, IncidentState
from godwit.domain.ids import AttemptId, FindingId, GpuUuid, IncidentId, JobId, NodeId
from godwit.domain.jobs import Outcome
from godwit.domain.nodes import Health, Node, NodeState
from godwit.scheduler.health.view import CHECKS, REPAIR, SWEEP, Cordon, HealthView, TestResult
from godwit.scheduler.plan import (
    Action,
    CordonNode,
    DecideFinding,
    Evict,
    MarkHealth,
    MoveIncident,
    OpenIncident,
    RepairNode,
    TerminateNode,
    TestNode,
    TripBreaker,
)

from tests.scheduler.rounds import Rounds

BY_TABLE = "tests"


def finding(
    name: str, node: str, code: str = "", gpu: int | None = 0, at: float = 1_000.0, check: str = "xid", **fields: Any
) -> Finding:
    """What a check says of a GPU of a node, or of the node (`gpu` None)."""
    uuid = None if gpu is None else GpuUuid(f"GPU-{node}-{gpu}")
    base = Finding(
        FindingId(f"finding-{name}"), NodeId(node), at, check, Grade.UNHEALTHY, code or check, code, gpu=uuid
    )
    return replace(base, **fields)


@dataclass
class Care(Rounds):
    """`works` says whether a repair of this remedy works and `passes` whether a test is passed; None: no answer yet."""

    works: Callable[[RepairNode], bool | None] = lambda _order: True
    passes: Callable[[TestNode], bool | None] = lambda _order: True
    taken: list[tuple[float, str]] = field(default_factory=list)
    told: list[Action] = field(default_factory=list)

    @property
    def view(self) -> HealthView:
        """What is known of health now."""
        return self.snapshot.health

    def hear(self, *found: Finding) -> None:
        """Checks say something new."""
        self._view(findings=(*self.view.findings, *found))

    def incident(self, name: str) -> Incident:
        """An incident, open or closed."""
        return next(one for one in (*self.view.incidents, *self.view.past) if one.id == f"incident-{name}")

    def gpu(self, node: str, index: int = 0) -> Health:
        """What is believed of a GPU."""
        return self.node(node).gpus[index].health

    def node(self, name: str) -> Node:
        """A node that is there."""
        return self.snapshot.node_by_id[NodeId(name)]

    def of(self, kind: type[Action]) -> list[Any]:
        """What was decided so far, of one kind."""
        return [action for action in self.told if isinstance(action, kind)]

    def _apply(self, action: Action) -> None:
        self.told.append(action)
        match action:
            case DecideFinding():
                self._decided(action.finding_id)
            case OpenIncident(incident=incident):
                assert all(one.id != incident.id for one in (*self.view.incidents, *self.view.past)), "opened twice"
                self._view(incidents=(*self.view.incidents, incident))
            case MoveIncident():
                self._move(action)
            case MarkHealth(record_id=record_id, node_id=node_id, to=to):
                self._mark(record_id, node_id, to)
            case CordonNode(node_id=node_id, lifted=lifted):
                self._cordon(node_id, lifted=lifted)
            case Evict(attempt_id=attempt_id, job_id=job_id, incident_id=incident_id):
                self._evict(attempt_id, job_id, incident_id)
            case RepairNode():
                self._order(action.node_id, action.incident_id, REPAIR, self.works(action))
            case TestNode():
                kind = SWEEP if action.incident_id is None else CHECKS
                self._order(action.node_id, action.incident_id, kind, self.passes(action))
            case TripBreaker():
                assert self.view.tripped_at is None, "it is tripped already"
                self._view(tripped_at=self.now)
            case TerminateNode() if action.node_id not in self.snapshot.node_by_id:
                pass
            case _:
                super()._apply(action)

    def _decided(self, finding_id: FindingId) -> None:
        (mine,) = [one for one in self.view.findings if one.id == finding_id]
        assert not mine.decided, "decided twice"
        self._view(findings=tuple(replace(one, decided=one.decided or one is mine) for one in self.view.findings))

    def _move(self, action: MoveIncident) -> None:
        (mine,) = [one for one in self.view.incidents if one.id == action.incident_id]
        moved = mine
        if action.remedy is not None and action.remedy is not mine.remedy:
            was_tried = mine.state in {IncidentState.REPAIRING, IncidentState.TESTING}
            moved = replace(mine, remedy=action.remedy, tried=(*mine.tried, mine.remedy) if was_tried else mine.tried)
        moved = replace(moved, detail=action.reason)
        if action.to is not mine.state:
            moved, _ = lifecycle.advance(moved, action.to, reason=action.reason, actor=BY_TABLE, now=self.now)
        if moved.state is IncidentState.CLOSED:
            self._view(incidents=_without(self.view.incidents, mine), past=(*self.view.past, moved))
        else:
            self._view(incidents=tuple(moved if one is mine else one for one in self.view.incidents))

    def _mark(self, record_id: str, node_id: NodeId, to: Health) -> None:
        before = self.view.records.get(record_id)
        if before is None:
            before = HealthRecord(record_id, Health.HEALTHY, self.now, self.now, node_id, "lambda")
        record, _ = lifecycle.advance(before, to, reason="", actor=BY_TABLE, now=self.now)
        self._view(records={**self.view.records, record_id: record})

        def marked(node: Node) -> Node:
            gpus = (replace(gpu, health=to) if gpu.uuid == record_id else gpu for gpu in node.gpus)
            return replace(node, gpus=tuple(gpus))

        if before.state is Health.HEALTHY:
            self.taken.append((self.now, node_id))
        self._nodes(marked, node_id)

    def _cordon(self, node_id: NodeId, *, lifted: bool) -> None:
        node = self.node(node_id)
        if not lifted and node.state is NodeState.READY:
            cordon = Cordon(self.now, node_id, node.offer.provider, node.offer.fabric_domain)
            self._view(cordons=(*self.view.cordons, cordon))
            self.taken.append((self.now, node_id))
        to = NodeState.READY if lifted else NodeState.CORDONED
        self._nodes(lambda one: replace(one, state=to, state_since=self.now, reserved_for=None), node_id)

    def _evict(self, attempt_id: AttemptId, job_id: JobId, incident_id: IncidentId) -> None:
        def with_job(one: Incident) -> Incident:
            if one.id != incident_id or job_id in one.job_ids:
                return one
            return replace(one, job_ids=(*one.job_ids, job_id))

        self._view(incidents=tuple(with_job(one) for one in self.view.incidents))
        if next(one for one in self.snapshot.attempts if one.id == attempt_id).outcome is None:
            self._stop(attempt_id, Outcome.EVICTED)

    def _order(self, node_id: NodeId, incident_id: IncidentId | None, kind: str, passed: bool | None) -> None:
        kept = (one for one in self.view.orders if (one.incident_id or one.node_id, one.kind) != (incident_id, kind))
        self._view(orders=(*kept, TestResult(node_id, incident_id, kind, self.now, passed)))

    def answer(self, incident: str, *, passed: bool) -> None:
        """What was ordered last for an incident is over."""
        orders = [one for one in self.view.orders if one.incident_id == f"incident-{incident}" and one.passed is None]
        mine = max(orders, key=lambda one: one.at)
        done = replace(mine, at=self.now, passed=passed)
        self._view(orders=tuple(done if one is mine else one for one in self.view.orders))

    def answer_oldest(self, *, passed: bool) -> None:
        """The order that waits longest is over."""
        waiting = [one for one in self.view.orders if one.passed is None and one.incident_id is not None]
        if waiting:
            self.answer(str(waiting[0].incident_id).removeprefix("incident-"), passed=passed)

    def save(self, job: str) -> None:
        """A job commits a checkpoint."""
        self._set(saved_at={**self.snapshot.saved_at, JobId(job): self.now})

    def join(self, node: Node) -> None:
        """A machine that was bought is ready; its GPUs are recognised."""
        node = replace(node, last_seen_at=self.now, lease_until=self.now + 15, state_since=self.now)
        self._set(nodes=(*self.snapshot.nodes, node))

    def reset_breaker(self) -> None:
        """A person resets it."""
        self._view(tripped_at=None, cordons=())

    def _view(self, **fields: Any) -> None:
        self._set(health=replace(self.view, **fields))


def _without(incidents: tuple[Incident, ...], mine: Incident) -> tuple[Incident, ...]:
    return tuple(one for one in incidents if one is not mine)
