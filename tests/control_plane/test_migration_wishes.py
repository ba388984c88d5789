"""Who may wish a job elsewhere, what a wish is told, and when the planner wishes by itself."""

from dataclasses import replace

import pytest
from godwit.control_plane.services import migrations
from godwit.domain.errors import Conflict, InvalidRequest
from godwit.domain.wire.migrations import MigrationRequest
from godwit.domain.wire.specs import JobSpecIn
from godwit.scheduler.migration.policy import MigrationPolicy

from tests.control_plane.apis import client_of
from tests.control_plane.moving import moved, switched, view
from tests.control_plane.world import Agent, World

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_wishing_twice_is_wishing_once_and_another_wish_is_refused(world: World) -> None:
    job_id, _ = moved(world)
    again = migrations.wish(world.context, job_id, MigrationRequest(to="dear"), "token t")
    assert [one.id for one in migrations.listed(world.context, job_id)] == [again.id]
    with pytest.raises(Conflict, match="moved already"):
        migrations.wish(world.context, job_id, MigrationRequest(to="cheap"), "token t")


def test_a_move_may_be_cancelled_until_the_job_was_told_to_stop(world: World) -> None:
    job_id, _ = moved(world)
    migrations.cancel(world.context, job_id, "token t")
    world.plan()
    assert view(world, job_id).state == "cancelled"
    assert [node.reserved_for for node in world.nodes() if node.offer.provider == "dear"] == [None]
    with pytest.raises(Conflict, match="not being moved"):
        migrations.cancel(world.context, job_id, "token t")


def test_it_cannot_be_cancelled_afterwards(world: World) -> None:
    job_id, *_ = switched(world)
    with pytest.raises(Conflict, match="told to stop already"):
        migrations.cancel(world.context, job_id, "token t")


def test_cancelling_the_job_ends_its_move(world: World) -> None:
    job_id, here, there = switched(world)
    world.cancel(job_id)
    here.take_on()
    world.plan()
    assert (world.job(job_id).state, view(world, job_id).state) == ("cancelled", "cancelled")
    assert there.commands() == []


def test_what_does_not_run_or_may_not_go_there_is_refused_with_the_reason(world: World) -> None:
    waiting = world.submit("waiting")
    with pytest.raises(Conflict, match="only what runs"):
        migrations.wish(world.context, waiting, MigrationRequest(to="dear"), "token t")
    world.cancel(waiting)
    bound, _ = world.run("bound", resources={"infra": ["cheap"]})
    with pytest.raises(InvalidRequest) as refused:
        migrations.wish(world.context, bound, MigrationRequest(to="dear"), "token t")
    assert "cheap only" in refused.value.problems[0].message


def test_a_place_that_sells_nothing_is_told_and_nothing_happens(world: World) -> None:
    job_id, _ = moved(world, to="dear/nowhere")
    assert view(world, job_id).state == "failed"
    assert "cannot be had" in view(world, job_id).detail
    assert world.job(job_id).state == "running"


def test_without_a_place_it_moves_only_to_where_it_costs_less(world: World) -> None:
    job_id, _ = moved(world, to=None)
    assert view(world, job_id).state == "failed"
    assert "nowhere costs less" in view(world, job_id).detail


def test_the_preview_says_where_and_what_for_without_writing_anything(world: World) -> None:
    job_id, _ = world.run("digits")
    plan = migrations.preview(world.context, job_id, MigrationRequest(to="dear"))
    assert (list(plan.buys.values()), plan.price_usd_per_hour, plan.why_not) == ([1], 30.0, "")
    assert plan.sum is not None
    assert " x " in plan.sum.text
    assert migrations.listed(world.context, job_id) == []


def test_the_planner_moves_a_long_job_by_itself_where_that_saves_enough(world: World) -> None:
    hasty = replace(world.context.policy, migration=MigrationPolicy(min_run_s=10.0))
    world.context = replace(world.context, policy=hasty)
    job_id, agent = costly(world)
    world.read_offers()
    for _ in range(300):  # each job has its turn about once a minute
        if migrations.listed(world.context, job_id):
            break
        world.clock.advance(1.0)
        agent.beat()
        world.plan()
    wished = view(world, job_id)
    assert (wished.actor, wished.state, wished.to) == ("planner", "preparing", "cheap/north")
    assert wished.sum is not None
    assert wished.sum.saving_usd > 2 * wished.sum.cost_usd
    assert world.clock.now() - world.attempt(job_id).created_at >= 10.0


def costly(world: World) -> tuple[str, Agent]:
    """A job of ten hours that began while only the dear cloud sold anything."""
    cheap = world.clouds["cheap"]
    world.clouds["cheap"].set_faults(cheap.faults.model_copy(update={"unavailable": True}))
    job_id, (agent,) = world.run("long", run_time="10h")
    assert world.node(agent.node_id).offer.provider == "dear"
    world.clouds["cheap"].set_faults(cheap.faults.model_copy(update={"unavailable": False}))
    return job_id, agent


def test_over_http_a_move_is_planned_begun_listed_and_cancelled(world: World) -> None:
    job_id, _ = world.run("digits")
    client = client_of(world)
    planned = client.post(f"/v1/jobs/{job_id}/migrations/plan", json={"to": "dear"})
    assert (planned.status_code, planned.json()["why_not"]) == (200, "")
    begun = client.post(f"/v1/jobs/{job_id}/migrations", json={"to": "dear"})
    assert (begun.status_code, begun.json()["state"]) == (202, "planned")
    assert [one["id"] for one in client.get(f"/v1/jobs/{job_id}/migrations").json()["items"]] == [begun.json()["id"]]
    assert client.post(f"/v1/jobs/{job_id}/migrations/cancel").json()["state"] == "cancelled"


def test_a_specification_stays_as_its_owner_wrote_it(world: World) -> None:
    job_id, *_ = switched(world, store="s3://other/digits")
    assert JobSpecIn.model_validate(client_of(world).get(f"/v1/jobs/{job_id}").json()["spec"]).checkpoint.store is None
