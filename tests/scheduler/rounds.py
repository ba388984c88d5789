"""A world in which every plan is carried out at once: what the planner says next then depends on itself alone."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from godwit.domain.ids import AttemptId, JobId, NodeId
from godwit.domain.jobs import Attempt, AttemptState, Job, JobState, Outcome
from godwit.domain.nodes import Node, NodeState
from godwit.domain.offers import Offer
from godwit.domain.resources import WHOLE_GPU_MILLI
from godwit.scheduler import market, planner, repair
from godwit.scheduler.asks import Ask
from godwit.scheduler.averages import Average, gpu_s, held_by
from godwit.scheduler.plan import (
    Action,
    BuyNode,
    EndAttempt,
    FinishAttempt,
    FinishJob,
    MarkNodeLost,
    Plan,
    Preempt,
    ReleaseSlot,
    ReserveNode,
    StartAttempt,
    TerminateNode,
)
from godwit.scheduler.snapshot import Snapshot

from tests.scheduler.fleets import node as made_node

MOST_ROUNDS = 20
"""A node's death settles in about six rounds; more means that two rules undo each other."""


@dataclass
class Rounds:
    """A snapshot that plans change. Machines come as their offers say, and agents do at once what they are told."""

    snapshot: Snapshot
    now: float
    bought: Counter[str] = field(default_factory=Counter)
    bought_since: Counter[str] = field(default_factory=Counter)  # for each job, since it last started
    started: Counter[str] = field(default_factory=Counter)
    log: list[str] = field(default_factory=list)
    _made: int = 0

    def rest(self) -> Plan:
        """Plan and apply until nothing is to be done now."""
        for _ in range(MOST_ROUNDS):
            plan = self.plan()
            if not plan.actions:
                return plan
            for action in plan.actions:
                self.log.append(f"{self.now:.0f} {type(action).__name__} {getattr(action, 'reason', '')}")
                self._apply(action)
            self.check()
        raise AssertionError("the planner does not come to rest:\n" + "\n".join(self.log[-MOST_ROUNDS:]))

    def plan(self) -> Plan:
        """What the planner says now."""
        return planner.plan(self.snapshot, self.now, 1)

    def check(self) -> None:
        """No GPU is held beyond the whole of it."""
        held = Counter[tuple[str, int]]()
        for attempt in self.snapshot.attempts:
            for slot in attempt.slots:
                if not slot.released:
                    held.update({(slot.node_id, gpu): slot.gpu_milli for gpu in slot.gpus})
        assert all(milli <= WHOLE_GPU_MILLI for milli in held.values())

    def pass_s(self, seconds: float) -> None:
        """Time passes; every agent is heard meanwhile."""
        self.now += seconds
        self._nodes(lambda one: replace(one, last_seen_at=self.now, lease_until=self.now + 15))

    def boot(self) -> None:
        """What was bought is ready."""
        self._nodes(lambda one: self._ready(one) if one.state in market.COMING else one)

    def save(self, job_id: str) -> None:
        """A running job commits a checkpoint."""
        self._set(saved_at={**self.snapshot.saved_at, JobId(job_id): self.now})

    def end(self, job_id: str) -> None:
        """A running job succeeds, and its agents have said so."""
        (mine,) = [attempt for attempt in self.snapshot.attempts if attempt.job_id == job_id]
        self._job(mine.job_id, JobState.SUCCEEDED)
        self._leave(mine)

    def _ready(self, one: Node) -> Node:
        return made_node(
            one.id, one.offer, state_since=self.now, created_at=one.created_at, idle_since=self.now,
            last_seen_at=self.now, lease_until=self.now + 15, reserved_for=one.reserved_for,
        )  # fmt: skip

    def _apply(self, action: Action) -> None:
        match action:
            case BuyNode(offer=offer, job_id=job_id):
                self._buy(offer, job_id)
            case ReserveNode(node_id=node_id, job_id=job_id):
                self._reserve(node_id, job_id)
            case StartAttempt():
                self._start(action)
            case Preempt(attempt_id=attempt_id, to=to):
                self._stop(attempt_id, Outcome.PREEMPTED, to)
            case EndAttempt(attempt_id=attempt_id, outcome=outcome):
                self._stop(attempt_id, outcome)
            case ReleaseSlot(attempt_id=attempt_id, node_id=node_id):
                self._release(attempt_id, node_id)
            case FinishAttempt(attempt_id=attempt_id):
                self._leave(next(one for one in self.snapshot.attempts if one.id == attempt_id))
            case TerminateNode(node_id=node_id):
                self._gone(node_id, is_sold_again=True)
            case MarkNodeLost(node_id=node_id):
                self._nodes(lambda one: replace(one, state=NodeState.LOST, state_since=self.now), node_id)
            case FinishJob(job_id=job_id, cancelled=cancelled):
                self._job(job_id, JobState.CANCELLED if cancelled else JobState.FAILED)

    def fail(self, node_id: str) -> None:
        """A launch comes to nothing, and its provider has one machine less."""
        self._gone(node_id, is_sold_again=False)

    def _gone(self, node_id: str, *, is_sold_again: bool) -> None:
        (node,) = [one for one in self.snapshot.nodes if one.id == node_id]
        back = (
            replace(one, capacity=one.capacity + is_sold_again)
            if one.key == node.offer.key and one.capacity is not None
            else one
            for one in self.snapshot.offers
        )
        self._set(nodes=tuple(one for one in self.snapshot.nodes if one is not node), offers=tuple(back))

    def _buy(self, offer: Offer, job_id: JobId | None) -> None:
        self._made += 1
        self.bought[job_id or ""] += 1
        self.bought_since[job_id or ""] += 1
        name = NodeId(f"bought{self._made:03}")
        node = Node(name, offer, NodeState.REQUESTED, self.now, self.now, reserved_for=job_id)
        left = (
            replace(one, capacity=one.capacity - 1) if one.key == offer.key and one.capacity is not None else one
            for one in self.snapshot.offers
        )
        self._set(nodes=(*self.snapshot.nodes, node), offers=tuple(left))

    def _reserve(self, node_id: NodeId, job_id: JobId | None) -> None:
        def kept(one: Node) -> Node:
            return replace(one, reserved_for=job_id, idle_since=one.idle_since if job_id else self._idle(one))

        self._nodes(kept, node_id)

    def _start(self, action: StartAttempt) -> None:
        self.started[action.job_id] += 1
        del self.bought_since[action.job_id]
        name = AttemptId(f"{action.job_id}-{action.epoch}")
        attempt = Attempt(
            name, action.job_id, action.epoch, AttemptState.RUNNING, action.slots, action.port, self.now, self.now
        )
        assert all(one.job_id != action.job_id for one in self.snapshot.attempts), "a job is placed twice"
        there = {slot.node_id for slot in action.slots}
        waiting = {one.id for one in self.snapshot.jobs if repair.waits(one)}
        for one in self.snapshot.nodes:
            assert one.id not in there or one.reserved_for not in waiting - {action.job_id}, "a kept node is taken"
        saved_at = {job_id: at for job_id, at in self.snapshot.saved_at.items() if job_id != action.job_id}
        self._set(attempts=(*self.snapshot.attempts, attempt), saved_at=saved_at)
        self._job(action.job_id, JobState.RUNNING, action.epoch)
        self._nodes(lambda one: replace(one, reserved_for=None, idle_since=None), *there)

    def _stop(self, attempt_id: AttemptId, outcome: Outcome, to: JobId | None = None) -> None:
        """It is told to stop. Its nodes say at once that it has; the planner hears of it in the next round."""
        mine = next(one for one in self.snapshot.attempts if one.id == attempt_id)
        slots = tuple(replace(slot, released=True) for slot in mine.slots)
        stopping = replace(
            mine, state=AttemptState.STOPPING, state_since=self.now, outcome=outcome, yields_to=to, slots=slots
        )
        self._set(attempts=tuple(stopping if one is mine else one for one in self.snapshot.attempts))
        self._job(mine.job_id, JobState.CANCELLED if outcome is Outcome.CANCELLED else JobState.RECOVERING)
        if to is not None:
            self._set(yielded_at={**self.snapshot.yielded_at, mine.job_id: self.now})
        self._nodes(lambda one: replace(one, idle_since=self._idle(one)), *(slot.node_id for slot in slots))

    def _release(self, attempt_id: AttemptId, node_id: NodeId) -> None:
        def without(one: Attempt) -> Attempt:
            slots = (replace(slot, released=slot.released or slot.node_id == node_id) for slot in one.slots)
            return replace(one, slots=tuple(slots)) if one.id == attempt_id else one

        self._set(attempts=tuple(without(one) for one in self.snapshot.attempts))

    def _leave(self, mine: Attempt) -> None:
        self._remember(mine)
        self._set(attempts=tuple(one for one in self.snapshot.attempts if one is not mine))
        self._nodes(lambda one: replace(one, idle_since=self._idle(one)), *(slot.node_id for slot in mine.slots))

    def _remember(self, mine: Attempt) -> None:
        """What it held is counted, as the store does."""
        job, snapshot = self.snapshot.job_by_id.get(mine.job_id), self.snapshot
        if job is None:
            return
        got = gpu_s(mine.slots, self.now - mine.created_at) + snapshot.served_gpu_s.get(job.id, 0.0)
        held, half_life_s = held_by(Ask.of(job.spec.resources), len(mine.slots)), snapshot.policy.forgetting.half_life_s
        used = snapshot.usage.get(job.project, Average()).plus(held, mine.created_at, self.now, half_life_s)
        self._set(served_gpu_s={**snapshot.served_gpu_s, job.id: got}, usage={**snapshot.usage, job.project: used})

    def _idle(self, one: Node) -> float | None:
        held = (s.node_id for a in self.snapshot.attempts for s in a.slots if not s.released)
        return None if one.id in held or one.state is not NodeState.READY else self.now

    def _job(self, job_id: JobId, state: JobState, epoch: int | None = None) -> None:
        def moved(one: Job) -> Job:
            return replace(one, state=state, state_since=self.now, epoch=one.epoch if epoch is None else epoch)

        final = state in {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}
        jobs = (moved(one) if one.id == job_id else one for one in self.snapshot.jobs)
        self._set(jobs=tuple(one for one in jobs if one.id != job_id or not final))

    def _nodes(self, change: Callable[[Node], Node], *names: str) -> None:
        self._set(nodes=tuple(change(one) if not names or one.id in names else one for one in self.snapshot.nodes))

    def _set(self, **fields: Any) -> None:
        self.snapshot = replace(self.snapshot, **fields)
