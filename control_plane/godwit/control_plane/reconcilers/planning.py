"""The planner's loop: load a snapshot, decide with pure code, apply in one short transaction; again until it rests."""

import structlog
from godwit.control_plane.context import Context
from godwit.control_plane.reconcilers import apply
from godwit.control_plane.store import queries
from godwit.domain.errors import StaleWrite
from godwit.scheduler import planner
from godwit.scheduler.plan import Plan

log = structlog.get_logger()

MAX_ROUNDS = 50
"""Plans per step. A node's death settles in about six rounds; more means that two rules undo each other."""


class Planning:
    """Runs the planner on the database. `step` is safe to repeat and to kill at any point."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def step(self) -> Plan:
        """Plan and apply until there is nothing more to do now; returns the last plan."""
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
        instruments = context.instruments
        with instruments.phase("load"), context.db.read() as conn:
            snapshot = queries.snapshot(conn, now, context.serving_since, context.policy)
        with instruments.phase("decide"):
            plan = planner.plan(snapshot, now, context.seed)
        if not plan.actions:
            return plan
        try:
            with instruments.phase("apply"), context.db.write() as tx:
                apply.apply(tx, plan, snapshot, context.ids, now)
        except StaleWrite as stale:
            log.debug("planned on a stale snapshot; planning again", reason=stale.message)
        else:
            for action in plan.actions:
                instruments.acted(type(action).__name__)
        return plan
