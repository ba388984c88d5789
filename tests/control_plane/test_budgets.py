"""Budgets are told of as they are spent, and what they stop says why."""

import pytest
from godwit.control_plane.services import budgets, jobs
from godwit.control_plane.store import schema
from godwit.domain.jobs import JobState
from godwit.domain.wire.costs import BudgetIn, OnBudget
from sqlalchemy import select

from tests.control_plane.world import World

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

HOUR_S = 3_600.0


def told(world: World) -> list[str]:
    """What people were told of budgets, in order."""
    table = schema.events
    with world.db.read() as conn:
        query = select(table.c.kind, table.c.reason).where(table.c.kind.in_(("budget.alert", "budget.spent")))
        return [f"{row.kind}: {row.reason}" for row in conn.execute(query.order_by(table.c.seq))]


def spend(world: World, hours: float) -> None:
    """The job of $20 an hour runs on, and budgets are looked at twice, as after a restart."""
    world.clock.advance(hours * HOUR_S)
    for agent in world.agents:
        agent.beat()
    budgets.step(world.context)
    budgets.step(world.context)


def test_people_are_told_once_at_each_share(world: World) -> None:
    world.run()
    budgets.put(world.context, "default", BudgetIn(budget_usd=100.0), "token t")
    spend(world, 2.6)
    assert [line.split(" of the")[0] for line in told(world)] == ["budget.alert: 50%"]
    spend(world, 2.6)
    assert [line.split(" of the")[0] for line in told(world)] == [
        "budget.alert: 50%",
        "budget.alert: 80%",
        "budget.spent: 100%",
    ]
    view = budgets.listed(world.context)[0]
    assert (view.alerts, view.ends_at) == ([0.5, 0.8, 1.0], None)


def test_nothing_new_starts_of_a_project_whose_budget_is_spent_until_it_is_raised(world: World) -> None:
    running, _ = world.run()
    budgets.put(world.context, "default", BudgetIn(budget_usd=10.0, on_spent=OnBudget.STOP_NEW), "token t")
    spend(world, 1.0)
    late = world.submit("late")
    world.turn()
    assert world.job(late).state is JobState.QUEUED
    why = jobs.explain(world.context, late).refusals[0]
    assert why.code == "budget"
    assert "$10.00" in why.message
    assert "godwit budget set" in why.would_help
    assert world.job(running).state is JobState.RUNNING
    budgets.put(world.context, "default", BudgetIn(budget_usd=1_000.0, on_spent=OnBudget.STOP_NEW), "token t")
    world.boot()
    assert world.job(late).state is not JobState.QUEUED


def test_what_runs_is_stopped_where_a_budget_says_so(world: World) -> None:
    job_id, (agent,) = world.run()
    budgets.put(world.context, "default", BudgetIn(budget_usd=10.0, on_spent=OnBudget.STOP), "token t")
    spend(world, 1.0)
    world.plan()
    agent.take_on()
    world.plan()
    job = world.job(job_id)
    assert job.state is JobState.CANCELLED
    assert any("the budget of project default is spent" in event.reason for event in world.events(job_id=job_id))


def test_a_jobs_own_budget_is_told_of(world: World) -> None:
    job_id, _ = world.run(budget_usd=10.0)
    spend(world, 0.6)
    assert told(world)[0].startswith(f"budget.alert: 50% of the budget of job {job_id} is spent: $12")
    assert {view.subject for view in budgets.listed(world.context)} == {"job"}
