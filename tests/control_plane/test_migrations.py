"""A job that is moved runs on until all is ready for it; whatever goes wrong, it runs in one place or recovers."""

import pytest
from godwit.control_plane.services import jobs, migrations
from godwit.control_plane.services.attempts import PREEMPT_GRACE_S
from godwit.domain.wire.copies import CopyDone
from godwit.domain.wire.migrations import MigrationRequest

from tests.control_plane.moving import GB, booted, copied, moved, pass_time, switched, view
from tests.control_plane.world import World

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_a_copy_that_a_restored_database_does_not_know_of_keeps_no_agent_from_being_heard(world: World) -> None:
    _, (agent,) = world.run()
    told = agent.observed(CopyDone, intent_id="intent-forgotten", worked=True, step=10)
    assert agent.beat(told).acknowledged_seq == told.seq


def test_it_runs_on_while_its_nodes_come_and_its_checkpoint_is_copied(world: World) -> None:
    job_id, here = moved(world)
    assert (view(world, job_id).state, world.job(job_id).state) == ("preparing", "running")
    assert [node.offer.provider for node in world.nodes() if node.reserved_for == job_id] == ["dear"]
    there = booted(world, here)
    (order,) = there.commands()
    assert (order.type, order.job_id, order.stores) == ("copy-checkpoint", job_id, [f"file:///checkpoints/{job_id}"])
    assert here.commands() == [], "nothing is asked of the node that it runs on"
    assert world.job(job_id).state == "running"


def test_it_starts_there_only_once_nothing_of_it_runs_here(world: World) -> None:
    job_id, here, there = switched(world)
    assert (world.attempt(job_id).outcome, world.job(job_id).state) == ("migrated", "migrating")
    (stop,) = here.commands()
    assert (stop.type, stop.grace_s) == ("stop-attempt", PREEMPT_GRACE_S)
    assert there.commands() == []
    here.take_on()
    world.plan()
    (start,) = there.commands()
    assert (start.type, start.epoch, world.job(job_id).state) == ("start-attempt", 2, "starting")


def test_it_is_done_at_the_first_step_there_and_tells_the_downtime(world: World) -> None:
    job_id, here, there = switched(world)
    world.clock.advance(3.0)
    for agent in (here, there):
        agent.beat()
    here.report_step(world.attempt(job_id), 13)
    world.clock.advance(1.0)
    here.take_on()
    world.plan()
    world.clock.advance(6.0)
    there.take_on()
    assert view(world, job_id).state == "switching", "its program told of steps before, so the first one there counts"
    there.report_step(world.attempt(job_id), 14)
    done = view(world, job_id)
    assert (done.state, done.downtime_s, done.moved_bytes) == ("done", 7.0, GB)
    assert world.job(job_id).interruptions == 0


def test_the_inequality_is_shown_and_afterwards_what_came_of_it(world: World) -> None:
    job_id, here, there = switched(world)
    here.take_on()
    world.plan()
    there.take_on()
    there.report_step(world.attempt(job_id), 14)
    pass_time(world, [here, there], 400.0)
    world.plan()  # the old node goes back once it was idle for its time
    pass_time(world, [there], 3200.0)
    told = jobs.explain(world.context, job_id).migrations[0]
    assert told.sum is not None
    assert told.measured is not None
    assert (told.sum.from_usd_per_hour, told.sum.to_usd_per_hour) == pytest.approx((20.0, 30.0), rel=0.05)
    assert "$20" in told.sum.text
    assert told.sum.saving_usd < 0 < told.sum.cost_usd
    assert told.measured.saving_usd == pytest.approx(told.sum.saving_usd_per_hour, rel=0.01), "after one hour"
    assert told.measured.overlap_usd == pytest.approx(20.0 * 400 / 3600, rel=0.05), "the old node, until it went back"


def test_a_job_without_progress_is_done_once_its_program_runs_there(world: World) -> None:
    job_id, (here,) = world.run("digits")
    migrations.wish(world.context, job_id, MigrationRequest(to="dear"), "token t")
    world.plan()
    there = booted(world, here)
    copied(world, there, step=None)
    here.take_on()
    world.plan()
    there.take_on()
    assert view(world, job_id).state == "done"


def test_a_node_that_is_lost_before_switching_costs_the_job_nothing(world: World) -> None:
    job_id, here = moved(world)
    there = booted(world, here)
    there.take_on()
    world.clock.advance(5.0)
    here.beat()
    world.plan()
    assert (view(world, job_id).state, world.job(job_id).state, world.attempt(job_id).epoch) == ("failed", "running", 1)
    assert here.commands() == []


def test_a_node_that_is_lost_after_switching_lets_it_recover_like_any_other(world: World) -> None:
    job_id, here, _ = switched(world)
    world.clock.advance(5.0)
    here.beat()
    world.plan()
    assert (view(world, job_id).state, world.job(job_id).state) == ("failed", "recovering")
    here.take_on()
    world.plan()
    assert world.attempt(job_id).epoch == 2, "it starts again where there is room: on the node that it left"
    assert world.attempt(job_id).head.node_id == here.node_id


def test_a_job_that_is_lost_while_it_prepares_goes_on_with_what_was_prepared(world: World) -> None:
    job_id, here = moved(world)
    there = booted(world, here)
    here.beat(here.stopped(world.attempt(job_id).id, 1, "interrupted"))
    world.plan()
    assert view(world, job_id).state == "cancelled"
    assert (world.attempt(job_id).epoch, world.attempt(job_id).head.node_id) == (2, there.node_id)


def test_a_program_that_was_done_when_it_was_told_to_go_goes_nowhere(world: World) -> None:
    job_id, here, there = switched(world)
    here.beat(here.stopped(world.attempt(job_id).id, 1, "succeeded"))
    world.plan()
    assert (world.job(job_id).state, view(world, job_id).state) == ("succeeded", "cancelled")
    assert there.commands() == []


def test_a_failed_copy_does_not_hold_it_up_unless_the_store_changes(world: World) -> None:
    job_id, here = moved(world)
    copied(world, booted(world, here), worked=False, detail="the store does not answer")
    assert view(world, job_id).state == "switching", "it reads from the store when it starts there"


def test_a_store_that_cannot_be_reached_stops_a_move_to_it(world: World) -> None:
    job_id, here = moved(world, store="s3://other/digits")
    copied(world, booted(world, here), worked=False, detail="no such bucket")
    assert (view(world, job_id).state, world.job(job_id).state) == ("failed", "running")
    assert "no such bucket" in view(world, job_id).detail


def test_its_checkpoints_go_to_the_new_store_and_are_looked_for_in_both(world: World) -> None:
    job_id, here = moved(world, store="s3://other/digits")
    there = booted(world, here)
    (order,) = there.commands()
    assert order.to_store == f"s3://other/digits/{job_id}"
    copied(world, there)
    here.take_on()
    world.plan()
    (start,) = there.commands()
    assert (start.store, start.former_stores) == (f"s3://other/digits/{job_id}", [f"file:///checkpoints/{job_id}"])
