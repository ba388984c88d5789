"""Who gives way to whom in a fleet as production has it: a snapshot, a policy, and plans."""

from dataclasses import replace

from godwit.domain.jobs import JobState
from godwit.scheduler import planner
from godwit.scheduler.bounds import Bounds
from godwit.scheduler.plan import Preempt
from godwit.scheduler.preemption import RECHECK_S
from godwit.scheduler.snapshot import Policy

from tests.scheduler.fleets import NOW, attempt, job, node, world

FOR_EVER_S = 1e6


def test_a_demand_that_finds_nobody_yet_is_looked_at_again_though_nothing_else_happens() -> None:
    low, high = job("low", state=JobState.RUNNING, priority=-100, epoch=1), job("high", priority=100)
    there = node("n1", idle_since=None)
    policy = Policy(missed_after_s=FOR_EVER_S, bounds=Bounds(max_nodes=1))
    policy = replace(policy, patience=replace(policy.patience, patience_s=FOR_EVER_S))
    snapshot = world(jobs=[low, high], nodes=[there], attempts=[attempt(low, there)], policy=policy)
    plan = planner.plan(snapshot, NOW, 1)
    assert plan.actions == ()
    assert plan.wake_at == NOW + RECHECK_S
    assert [type(action) for action in planner.plan(snapshot, plan.wake_at, 1).actions][:1] == [Preempt]
