"""The planner's loop: load a snapshot, decide with pure code, apply in one short transaction; again until it rests."""

import time
from dataclasses import replace

import structlog
from godwit.control_plane.context import Context
from godwit.control_plane.reconcilers import apply
from godwit.control_plane.services import returning
from godwit.control_plane.store import queries, restored
from godwit.control_plane.store.leases import LeaseLost
from godwit.control_plane.tracing import NOWHERE, Recorded
from godwit.domain import tracing
from godwit.domain.errors import StaleWrite
from godwit.scheduler import planner
from godwit.scheduler.plan import Plan, StartAttempt
from godwit.scheduler.snapshot import Snapshot

log = structlog.get_logger()

MAX_ROUNDS = 50
"""Plans per step. A node's death settles in about six rounds; more means that two rules undo each other."""


class Planning:
    """Runs the planner on the database. `step` is safe to repeat and to kill at any point."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def step(self) -> Plan:
        """Plan and apply until there is nothing more to do now; returns the last plan."""
        quiet_until = returning.quiet_until(self._context)
        if quiet_until is not None:
            return Plan(wake_at=quiet_until)
        plan = Plan()
        for _ in range(MAX_ROUNDS):
            plan = self._round()
            if not plan.actions:
                return plan
        log.warning("the planner does not come to rest", actions=[type(a).__name__ for a in plan.actions])
        return plan

    def _round(self) -> Plan:
        context = self._context
        now = context.now()
        instruments, began_at = context.instruments, time.time()
        with instruments.phase("load"), context.db.read() as conn:
            snapshot = queries.snapshot(conn, now, context.hearing_since, context.policy)
        with instruments.phase("decide"):
            plan = planner.plan(snapshot, now, context.seed)
        if not plan.actions:
            return plan
        plan = self._above_lost_epochs(plan, snapshot)
        try:
            with instruments.phase("apply"), context.db.write() as tx:
                apply.apply(tx, plan, snapshot, context.ids, now)
        except LeaseLost as lost:
            log.debug("nothing more is planned here", reason=lost.message)
            return Plan()
        except StaleWrite as stale:
            log.debug("planned on a stale snapshot; planning again", reason=stale.message)
        else:
            for action in plan.actions:
                instruments.acted(type(action).__name__)
            _trace(context, plan, began_at)
        return plan

    def _above_lost_epochs(self, plan: Plan, snapshot: Snapshot) -> Plan:
        """The plan with epochs above all that may have been given away after the backup of a restored database."""
        if not any(isinstance(action, StartAttempt) for action in plan.actions):
            return plan
        with self._context.db.read() as conn:
            last = restored.find(conn)
        if last is None:
            return plan
        old = {job.id for job in snapshot.jobs if job.created_at <= last.backup_at}
        raised = (
            replace(action, epoch=max(action.epoch, last.epoch_floor))
            if isinstance(action, StartAttempt) and action.job_id in old
            else action
            for action in plan.actions
        )
        return replace(plan, actions=tuple(raised))


TRACED_MAX = 200
"""Actions of one plan that are recorded in the traces of their jobs: a large array starts hundreds at once."""


def _trace(context: Context, plan: Plan, began_at: float) -> None:
    """Say in the trace of each job what the plan did for it, and why."""
    if context.spans is NOWHERE:
        return
    ended_at = time.time()
    for action in plan.actions[:TRACED_MAX]:
        job_id = getattr(action, "job_id", None)
        if job_id is None:
            continue
        trace_id, told = tracing.of_job(job_id), {"godwit.reason": action.reason[:300], "godwit.job": job_id}
        parent = tracing.root_of(trace_id)
        name = f"plan {type(action).__name__}"
        context.spans.record(Recorded(name, "internal", trace_id, parent, began_at, ended_at, None, told))
