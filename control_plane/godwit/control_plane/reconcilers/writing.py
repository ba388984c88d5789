"""One plan being written down, in one transaction: what its actions share."""

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from godwit.control_plane import hints
from godwit.control_plane.store import entities, queries
from godwit.control_plane.store.database import Transaction
from godwit.domain.errors import InvariantBroken
from godwit.domain.health import HealthRecord, Incident
from godwit.domain.ids import AttemptId, IdSource, IncidentId, IntentId, JobId, NodeId
from godwit.domain.intents import Intent, IntentKind, IntentState
from godwit.domain.jobs import Attempt, Job, JobState, Slot
from godwit.domain.nodes import Health, Node, NodeState
from godwit.domain.resources import WHOLE_GPU_MILLI
from godwit.scheduler.snapshot import Snapshot

ACTOR = "planner"


class Writing:
    """One plan being written. Rows that one action changed are seen by the next as changed."""

    def __init__(self, tx: Transaction, snapshot: Snapshot, ids: IdSource, now: float) -> None:
        self.tx, self.ids, self.now, self.policy, self.snapshot = tx, ids, now, snapshot.policy, snapshot
        self.nodes: dict[NodeId, Node] = dict(snapshot.node_by_id)
        self.jobs: dict[JobId, Job] = dict(snapshot.job_by_id)
        self.attempts: dict[AttemptId, Attempt] = {attempt.id: attempt for attempt in snapshot.attempts}
        self.incidents: dict[IncidentId, Incident] = {incident.id: incident for incident in snapshot.health.incidents}
        self.records: dict[str, HealthRecord] = dict(snapshot.health.records)

    @cached_property
    def held(self) -> Counter[tuple[NodeId, int]]:
        """Thousandths that attempts hold of each GPU: read in this transaction, and once, since it reads all that runs.

        Starts of this plan are added; what one frees meanwhile is not given away before the next.
        """
        held = Counter[tuple[NodeId, int]]()
        for attempt in queries.live_attempts(self.tx.conn):
            for slot in attempt.slots:
                if not slot.released:
                    held.update({(slot.node_id, gpu): slot.gpu_milli for gpu in slot.gpus})
        return held

    def provider_of(self, node_id: NodeId) -> str:
        """Where a node is or was rented."""
        node = self.nodes.get(node_id) or queries.node(self.tx.conn, node_id)
        return node.offer.provider

    def save_node(self, node: Node) -> None:
        """Write a node that stays in its state."""
        self.nodes[node.id] = entities.save(self.tx, node)

    def move_node(self, node: Node, to: NodeState, reason: str) -> None:
        """Move a node along its table."""
        self.nodes[node.id] = entities.advance(self.tx, node, to, reason=reason, actor=ACTOR, now=self.now)

    def move_job(self, job: Job, to: JobState, reason: str) -> None:
        """Move a job along its table."""
        self.jobs[job.id] = entities.advance(self.tx, job, to, reason=reason, actor=ACTOR, now=self.now)

    def owe(
        self,
        kind: IntentKind,
        node_id: NodeId,
        reason: str,
        attempt: Attempt | None = None,
        payload: Mapping[str, Any] | None = None,
    ) -> IntentId:
        """Write down an intent."""
        intent = Intent(
            IntentId(self.ids.new("intent")), kind, IntentState.PENDING, node_id, self.now, self.now, reason,
            attempt_id=None if attempt is None else attempt.id, job_id=None if attempt is None else attempt.job_id,
            payload=payload or {},
        )  # fmt: skip
        entities.insert(self.tx, intent)
        self.tx.hint(hints.INTENTS, hints.commands_of(node_id))
        return intent.id


def refuse_double_use(held: Counter[tuple[NodeId, int]], new: Iterable[Slot]) -> None:
    """The last gate before GPUs are given away: checked in the writing transaction, whatever the planner thought.

    Raises `InvariantBroken`, and books what it lets pass.
    """
    for slot in new:
        twice = [gpu for gpu in slot.gpus if held[slot.node_id, gpu] + slot.gpu_milli > WHOLE_GPU_MILLI]
        if twice:
            raise InvariantBroken(f"GPUs {twice} of node {slot.node_id} are held already")
        held.update({(slot.node_id, gpu): slot.gpu_milli for gpu in slot.gpus})


def refuse_unfit(known: Mapping[NodeId, Node], new: Iterable[Slot]) -> None:
    """The same for what is out of the fleet: no attempt starts on a cordoned node or on a GPU that is not healthy."""
    for slot in new:
        node = known[slot.node_id]
        unfit = [gpu.index for gpu in node.gpus if gpu.index in slot.gpus and gpu.health is not Health.HEALTHY]
        if node.state is not NodeState.READY or unfit:
            what = f"GPUs {unfit} of it are not healthy" if unfit else f"it is {node.state}"
            raise InvariantBroken(f"node {node.id} may not be used: {what}")
