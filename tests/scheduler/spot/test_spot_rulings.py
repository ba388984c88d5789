"""Deadlines in plans: which market is bought for a job that waits, and when a running one leaves its spot machines."""

import math
from dataclasses import replace
from typing import Any

import pytest
from godwit.domain.jobs import Job, JobKind, JobState, Spot
from godwit.scheduler import planner
from godwit.scheduler.estimates import Past
from godwit.scheduler.migration.actions import WishMigration
from godwit.scheduler.plan import BuyNode
from godwit.scheduler.reasons import Code
from godwit.scheduler.snapshot import Hold, Snapshot
from godwit.scheduler.spot import leaving, rulings

from tests.scheduler.fleets import NOW, attempt, job, node, offer, world

HOUR = 3600.0
ON_DEMAND = offer("steady", price=20.0)
SPOT = offer("spotty", price=6.0, spot=True)


def due(in_h: float, work_h: float = 10.0, **fields: Any) -> Job:
    """A job that waits, with so many hours until its deadline and so many of work."""
    waits = job("j", **fields)
    spec = replace(waits.spec, deadline_at=NOW + in_h * HOUR, run_time_s=work_h * HOUR)
    return replace(waits, spec=spec, created_at=NOW)


def bought(snapshot: Snapshot) -> list[str]:
    plan = planner.plan(snapshot, NOW, 1)
    return [action.offer.instance_type for action in plan.actions if isinstance(action, BuyNode)]


class TestWaiting:
    """What is bought."""

    def test_with_time_to_spare_spot_machines_are_bought(self) -> None:
        assert bought(world(jobs=[due(20.0)], offers=[ON_DEMAND, SPOT])) == ["spotty"]

    def test_when_time_is_short_only_machines_on_demand_are_bought(self) -> None:
        assert bought(world(jobs=[due(10.6)], offers=[ON_DEMAND, SPOT])) == ["steady"]

    def test_a_job_with_time_to_spare_waits_for_spot_capacity_and_is_told_what_that_is_worth(self) -> None:
        held = Hold(SPOT.key, NOW + 30.0, "refused")
        snapshot = world(jobs=[due(40.0)], offers=[ON_DEMAND, SPOT], holds=[held])
        plan = planner.plan(snapshot, NOW, 1)
        assert not plan.actions
        (why,) = [one for one in plan.refusals[due(40.0).id] if one.code is Code.WRONG_MARKET]
        assert "expected until it is done: nowhere $" in why.message

    def test_a_preview_says_what_a_plan_would(self) -> None:
        preview = planner.preview(world(offers=[ON_DEMAND, SPOT]), due(10.6), NOW, 1)
        assert [action.offer for action in preview.actions if isinstance(action, BuyNode)] == [ON_DEMAND]

    def test_what_is_late_in_any_case_takes_what_costs_least(self) -> None:
        assert bought(world(jobs=[due(9.0)], offers=[ON_DEMAND, SPOT])) == ["spotty"]

    def test_jobs_without_a_deadline_or_an_estimate_or_a_choice_are_not_ruled(self) -> None:
        free = due(10.6)
        spec = free.spec
        others = (
            replace(spec, deadline_at=None),
            replace(spec, run_time_s=None),
            replace(spec, kind=JobKind.SERVICE),
            replace(spec, resources=replace(spec.resources, spot=Spot.ONLY)),
        )
        for other in others:
            assert not rulings.of(world(jobs=[replace(free, spec=other)], offers=[ON_DEMAND, SPOT]), NOW)
        for offers in ([ON_DEMAND], [SPOT]):
            assert not rulings.of(world(jobs=[free], offers=offers), NOW)

    @pytest.mark.parametrize("in_h", [math.inf, 1e9, 0.0, -5.0])
    def test_no_deadline_is_too_far_or_too_near_for_a_plan(self, in_h: float) -> None:
        assert bought(world(jobs=[due(in_h)], offers=[ON_DEMAND, SPOT])) == ["spotty"]

    def test_where_machines_on_demand_cost_nothing_there_is_nothing_to_rule(self) -> None:
        assert not rulings.of(world(jobs=[due(20.0)], offers=[replace(ON_DEMAND, price_usd_per_hour=0.0), SPOT]), NOW)

    def test_a_job_does_not_change_its_mind_about_a_node_that_is_kept_for_it(self) -> None:
        waits = due(20.0)
        coming = node("n", ON_DEMAND, reserved_for=waits.id)
        ruled = rulings.of(world(jobs=[waits], offers=[ON_DEMAND, SPOT], nodes=[coming]), NOW)
        assert ruled[waits.id].spot is Spot.NEVER

    def test_what_it_ran_before_counts_as_work_that_is_done(self) -> None:
        waits = due(20.0)
        snapshot = world(jobs=[waits], offers=[ON_DEMAND, SPOT], pasts={waits.id: Past(served_s=4 * HOUR)})
        at = rulings.situation(waits, rulings.Shelves(snapshot, NOW))
        assert at is not None
        assert (at.left_h, at.task.work_h) == (6.0, 10.0)

    def test_only_so_many_jobs_are_ruled_in_one_plan_those_with_the_nearest_deadlines(self) -> None:
        last = replace(due(30.0), id=replace(job("last")).id)
        jobs = [replace(due(20.0), id=job(f"j{index}").id) for index in range(rulings.MOST)]
        ruled = rulings.of(world(jobs=[last, *jobs], offers=[ON_DEMAND, SPOT]), NOW)
        assert len(ruled) == rulings.MOST
        assert last.id not in ruled


class TestRunning:
    """A job on a spot machine that turns out slower than was thought."""

    def of(self, in_h: float) -> Snapshot:
        runs = replace(due(in_h, state=JobState.RUNNING), epoch=1)
        here = node("n", SPOT, idle_since=None)
        now = replace(attempt(runs, here), created_at=NOW)
        return world(jobs=[runs], nodes=[here], attempts=[now], offers=[ON_DEMAND, SPOT])

    def test_with_slack_for_one_more_loss_it_stays(self) -> None:
        assert not leaving.found(self.of(12.0), NOW)

    def test_with_less_it_is_wished_on_demand_with_the_inequality(self) -> None:
        plan = planner.plan(self.of(10.3), NOW, 1)
        (wish,) = [action for action in plan.actions if isinstance(action, WishMigration)]
        assert str(wish.to) == "lambda/east"
        assert "10.30 h until then - 10.00 h of work left = 0.30 h to spare < " in wish.reason
        assert wish.arithmetic.to_usd_per_hour > wish.arithmetic.from_usd_per_hour

    def test_with_less_than_a_move_takes_it_stays_since_that_is_what_is_left_to_hope_for(self) -> None:
        assert not leaving.found(self.of(10.001), NOW)
