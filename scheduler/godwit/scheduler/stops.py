"""Running attempts that are told to stop so that a waiting job can start: the actions, and what people are told."""

from math import inf

from godwit.domain.ids import JobId, NodeId
from godwit.domain.jobs import Attempt
from godwit.scheduler import departures
from godwit.scheduler.demands import Decision, Demand, Yield
from godwit.scheduler.engine import NO_ROOM, Engine
from godwit.scheduler.giving_way import GivesWay
from godwit.scheduler.plan import Action, AskToLeave, Preempt, ReserveNode, ShrinkAttempt
from godwit.scheduler.quotas import Quotas
from godwit.scheduler.reasons import Code, Refusal
from godwit.scheduler.resizing import bending
from godwit.scheduler.snapshot import Snapshot


class Stops:
    """Who is asked to give way in one plan."""

    def __init__(self, snapshot: Snapshot, engine: Engine, gate: Quotas, now: float) -> None:
        self._snapshot, self._engine, self._gate, self._now = snapshot, engine, gate, now
        self._has_begun = False
        running = (one.demand for one in engine.running.values())
        self._lowest = min((demand.priority for demand in running if demand.may_yield), default=inf)

    def make_room(self, demand: Demand, why: str) -> list[Action]:
        """What it takes to make room for a demand that was refused; empty when nobody may be asked, or not enough.

        The nodes that it gets are kept for it from now on, so that nobody else takes them before it starts.
        """
        # A replica may take from elastic jobs of its own priority.
        is_last = demand.priority < self._lowest + (not demand.serves)
        is_last = is_last and not self._snapshot.policy.preemption.time_sharing
        if why == NO_ROOM and is_last and not self._gate.borrowers(demand):
            return []  # looking at all that runs costs most of a plan, and mostly nobody may be asked
        engine, decision = self._engine, Decision()
        if not self._has_begun:
            engine.yielding.may_help_anybody(engine, self._now)
            self._has_begun = True
        before = set(engine.kept_for(demand.job_id))
        engine.make_room(demand, why, self._now, decision)
        actions: list[Action] = [self._shrunk(one, demand) or self._preempt(one, demand) for one in decision.yields]
        shrunk = {action.attempt_id for action in actions if isinstance(action, ShrinkAttempt)}
        to = JobId(demand.job_id)
        for node_id in engine.kept_for(demand.job_id):
            if node_id not in before:
                actions.append(ReserveNode(NodeId(node_id), to, f"others give way on it to job {to}"))
        stopped = (one.job_id for one in decision.yields if self._attempt_of(one).id not in shrunk)
        return actions + [action for job_id in stopped for action in self._kept_by(JobId(job_id))]

    def told(self, job_id: JobId) -> list[Refusal]:
        """What a job is told for which others stop."""
        message = "gives way to it, and has its time to save"
        names = self._engine.who_yields_to(job_id)
        return [Refusal(Code.YIELDING, f"job {name}", message, "wait until it has stopped") for name in names]

    def _attempt_of(self, one: Yield) -> Attempt:
        return self._snapshot.attempt_by_job[JobId(one.job_id)]

    def _shrunk(self, one: Yield, demand: Demand) -> ShrinkAttempt | None:
        """One that bends in place, and is left its head and enough besides, goes on with what it is left."""
        attempt, job = self._attempt_of(one), self._snapshot.job_by_id[JobId(one.job_id)]
        kept = set(self._engine.kept_for(one.job_id))
        leaving = tuple(slot.node_id for slot in attempt.staying if slot.node_id not in kept)
        if not kept or not leaving or attempt.is_changing or not bending.may_lose(job, attempt, leaving):
            return None
        left = len(attempt.staying) - len(leaving)
        reason = f"gives {len(leaving)} nodes to job {demand.job_id}: {self._claim(one.job_id, demand)}; {left} stay"
        return ShrinkAttempt(attempt.id, leaving, reason, to=JobId(demand.job_id))

    def _kept_by(self, job_id: JobId) -> list[Action]:
        """What one that gives way is left, where it may go on with that."""
        reason = f"job {job_id} gives way with a part of its nodes, and goes on with these"
        return [ReserveNode(NodeId(node_id), job_id, reason) for node_id in self._engine.kept_for(job_id)]

    def _preempt(self, one: Yield, demand: Demand) -> Preempt | AskToLeave:
        attempt = self._attempt_of(one)
        claim = self._claim(one.job_id, demand)
        if departures.asks_first(self._snapshot.job_by_id.get(attempt.job_id), attempt):
            reason = f"gives way to job {demand.job_id}: {claim}"
            by = self._now + departures.GIVES_WAY_WITHIN_S
            return AskToLeave(attempt.id, attempt.job_id, by, reason, to=JobId(demand.job_id))
        lost = f"{one.lost_gpu_s:.0f} GPU-seconds since its last checkpoint are lost unless it saves"
        left = len(self._engine.kept_for(one.job_id))
        shrinks = f"; it goes on with {left} of its nodes" if left else ""
        reason = f"gives way to job {demand.job_id}: {claim}; {lost}{shrinks}"
        return Preempt(attempt.id, JobId(one.job_id), JobId(demand.job_id), one.lost_gpu_s, reason)

    def _claim(self, job_id: str, demand: Demand) -> str:
        """Why just this one gives way."""
        running, policy = self._engine.running[job_id], self._snapshot.policy.preemption
        mine = running.demand
        if mine.priority < demand.priority and policy.by is GivesWay.PRIORITY:
            return f"its priority is {demand.priority}, this one's {mine.priority}"
        if demand.serves and mine.project not in self._gate.borrowers(demand) and self._engine.kept_for(job_id):
            return "it serves, and this one can do with fewer nodes"
        if not policy.time_sharing or mine.project in self._gate.borrowers(demand):
            return f"project {mine.project} borrowed what project {demand.project} needs"
        got, its = running.served_gpu_s(self._now) / 3600, demand.served_gpu_s / 3600
        return f"it got {its:.1f} GPU-hours so far, this one {got:.1f}"
