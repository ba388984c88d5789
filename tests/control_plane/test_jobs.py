"""What people do with jobs: submit once however often they ask, cancel at any time, learn why it waits or failed."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from godwit.control_plane.services import jobs, ledger
from godwit.control_plane.store import schema, tenancy, writes
from godwit.domain.errors import Conflict, InvalidRequest, NotFound
from godwit.domain.jobs import JobState
from godwit.domain.wire.agents import CommandDone
from godwit.domain.wire.views import ExplainView, JobView
from godwit.providers.simulated.faults import Faults

from tests.control_plane.apis import client_of
from tests.control_plane.world import World, spec

SOLD_OUT = Faults(refuse_capacity={"*": -1})


def submit(world: World, key: str | None, name: str = "digits") -> JobView:
    found = jobs.submit(world.context, world.shelf, spec(name), key, "token t")
    assert isinstance(found, JobView)
    return found


def cancel(world: World, job_id: str) -> JobView:
    return jobs.cancel(world.context, job_id, "token t")


def explain(world: World, job_id: str) -> ExplainView:
    return jobs.explain(world.context, job_id)


def test_submitting_writes_the_wish_and_launches_nothing(world: World) -> None:
    job_id = world.submit()
    assert world.job(job_id).state == "queued"
    assert world.nodes() == []
    assert [(e.kind, e.new, e.actor) for e in world.events(job_id=job_id)] == [("job.state", "queued", "token t")]


def test_the_same_key_answers_the_same_job(world: World) -> None:
    first = submit(world, "key")
    world.clock.advance(60)
    assert submit(world, "key") == first
    assert world.rows(schema.jobs) == 1


def test_the_same_key_with_another_body_is_a_conflict(world: World) -> None:
    submit(world, "key")
    with pytest.raises(Conflict, match="used for another specification"):
        submit(world, "key", "another")
    assert world.rows(schema.jobs) == 1


def test_the_same_key_answers_the_same_job_even_when_nobody_sells_it_any_more(world: World) -> None:
    world.read_offers()
    first = submit(world, "key")
    with world.db.write() as tx:
        writes.replace_offers(tx, "cheap", [])
        writes.replace_offers(tx, "dear", [o for o in world.providers_offers("dear") if o.gpu_count < 8])
    assert submit(world, "key").id == first.id


def test_many_at_once_with_the_same_key_make_one_job(world: World) -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(lambda _: submit(world, "key").id, range(16)))
    assert len(ids) == 1
    assert world.rows(schema.jobs) == 1


def test_without_a_key_each_submission_is_a_job(world: World) -> None:
    assert submit(world, None).id != submit(world, None).id


def test_a_job_that_nobody_could_ever_run_is_refused_with_what_is_sold(world: World) -> None:
    world.read_offers()
    with pytest.raises(InvalidRequest) as refused:
        world.submit(gpus="H200:8")
    (problem,) = refused.value.problems
    assert problem.path == ("resources", "gpus")
    assert problem.accepted == ("H100-SXM",)


def test_a_provider_that_is_not_configured_is_named_with_its_nearest_match(world: World) -> None:
    with pytest.raises(InvalidRequest) as refused:
        world.submit(resources={"infra": ["chep"]})
    assert refused.value.problems[0].did_you_mean == "cheap"


def test_a_preview_says_what_would_be_bought_and_writes_nothing(world: World) -> None:
    world.read_offers()
    view = jobs.preview(world.context, world.shelf, spec(nodes=2))
    assert view.feasible
    assert [(a.action, (a.offer or "").split("/")[0]) for a in view.actions] == [("buy-node", "cheap")] * 2
    assert view.price_usd_per_hour == 40.0
    assert world.rows(schema.jobs) == world.rows(schema.nodes) == 0


def test_a_job_by_name_is_the_newest_of_that_name(world: World) -> None:
    world.submit("digits")
    newest = world.submit("digits")
    world.submit("another")
    assert world.job("digits").id == newest
    with pytest.raises(NotFound):
        world.job("nobody")


def test_a_queued_job_is_cancelled_at_once(world: World) -> None:
    assert cancel(world, world.submit()).state == "cancelled"


def test_a_starting_job_is_stopped_on_its_nodes_before_it_is_cancelled(world: World) -> None:
    job_id = world.submit()
    (agent,) = world.boot()
    assert world.job(job_id).state == "starting"
    assert cancel(world, job_id).state == "starting"
    world.plan()
    assert world.job(job_id).state == "stopping"
    agent.take_on()
    world.plan()
    assert world.job(job_id).state == "cancelled"
    assert world.attempt(job_id).state == "ended"


def test_a_running_job_is_stopped_on_all_its_nodes_before_it_is_cancelled(world: World) -> None:
    job_id, gang = world.run(nodes=2)
    cancel(world, job_id)
    world.plan()
    gang[0].take_on()
    world.plan()
    assert world.job(job_id).state == "stopping", "the other node may still run it"
    gang[1].take_on()
    world.plan()
    assert world.job(job_id).state == "cancelled"


def test_a_recovering_job_without_nodes_is_cancelled(world: World) -> None:
    job_id, (agent,) = world.run()
    for cloud in world.clouds.values():
        cloud.set_faults(SOLD_OUT)
    agent.beat(agent.stopped(world.attempt(job_id).id, 1, "interrupted"))
    world.clouds["cheap"].lose(world.machines()[0])
    world.clock.advance(6)
    world.watch()
    world.plan()
    assert world.job(job_id).state == "recovering"
    cancel(world, job_id)
    world.plan()
    assert world.job(job_id).state == "cancelled"


def test_a_recovering_job_whose_attempt_still_stops_somewhere_is_cancelled_once_it_has(world: World) -> None:
    job_id, (first, second) = world.run(nodes=2)
    first.beat(first.stopped(world.attempt(job_id).id, 1, "interrupted"))
    assert (world.job(job_id).state, world.attempt(job_id).state) == ("recovering", "stopping")
    cancel(world, job_id)
    world.plan()
    assert world.job(job_id).state == "stopping"
    second.take_on()
    world.plan()
    assert world.job(job_id).state == "cancelled"


def test_a_job_that_is_being_stopped_or_is_over_stays_as_it_is(world: World) -> None:
    job_id, (agent,) = world.run()
    cancel(world, job_id)
    world.plan()
    version = world.job(job_id).version
    assert cancel(world, job_id).state == "stopping"
    assert world.job(job_id).version == version
    agent.take_on()
    world.plan()
    assert cancel(world, job_id).state == "cancelled"


def test_an_explanation_names_for_each_provider_why_it_has_nothing_and_when_it_is_tried_again(world: World) -> None:
    for cloud in world.clouds.values():
        cloud.set_faults(SOLD_OUT)
    job_id = world.submit()
    for _ in range(3):
        world.turn()
    view = explain(world, job_id)
    held = {r.subject.split("/")[0]: r for r in view.refusals if r.code == "held"}
    assert set(held) == {"cheap", "dear"}
    assert all("no capacity" in r.message for r in held.values())
    assert {r.retry_at for r in held.values()} == {world.clock.now() + world.context.policy.hold_s}
    assert "waits for nodes" in view.headline


def test_an_explanation_of_a_waiting_job_counts_those_before_it(world: World) -> None:
    world.submit("first", priority="high")
    world.submit("second")
    world.clock.advance(1)
    job_id = world.submit("third")
    refusal = explain(world, job_id).refusals[0]
    assert (refusal.code, refusal.subject) == ("behind", "2 jobs")


def test_who_is_before_a_job_is_counted_in_the_order_in_which_they_are_served(world: World) -> None:
    client = client_of(world)
    for name in ("a", "b"):
        client.put(f"/v1/projects/{name}", json={})
    world.run("running", project="a")
    for number in range(3):
        world.submit(f"of-a-{number}", project="a")
        world.clock.advance(1)
    job_id = world.submit("of-b", project="b")
    found = explain(world, job_id)
    assert [refusal.subject for refusal in found.refusals if refusal.code == "behind"] == [], "b holds nothing"
    last = explain(world, "of-a-2")
    assert [refusal.subject for refusal in last.refusals if refusal.code == "behind"] == ["3 jobs"]


def test_those_before_a_job_that_no_plan_looks_at_are_counted_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenancy, "QUEUE_WINDOW", 2)
    ids = []
    for number in range(5):
        ids.append(world.submit(f"job-{number}"))
        world.clock.advance(1)
    with world.db.read() as conn:
        assert [tenancy.ahead_of_window(conn, world.job(job_id)) for job_id in ids] == [0, 0, 0, 1, 2]


def test_an_explanation_of_a_failed_job_shows_its_exit_code_and_last_lines(world: World) -> None:
    job_id, (agent,) = world.run()
    lines = ["Traceback", "ValueError: no data"]
    agent.beat(agent.stopped(world.attempt(job_id).id, 1, "failed", exit_code=3, last_lines=lines))
    view = explain(world, job_id)
    assert view.last_lines == lines
    assert view.headline.startswith("failed with exit code 3")
    assert view.job.exit_code == 3


def test_an_explanation_tells_the_end_of_a_story_that_is_too_long_to_be_told_whole(world: World) -> None:
    job_id = world.submit()
    with world.db.write() as tx:
        rows = [
            {
                "at": 1.0, "kind": "job.checkpoint", "subject": "job", "subject_id": job_id, "reason": str(n),
                "actor": "agent", "job_id": job_id, "data": "{}",
            }
            for n in range(1_200)
        ]  # fmt: skip
        tx.conn.execute(schema.events.insert(), rows)
    events = explain(world, job_id).events
    assert len(events) <= 1_000
    assert events[-1].reason == "1199"


def test_a_job_is_charged_for_its_nodes_by_the_second(world: World) -> None:
    job_id, (agent,) = world.run()
    world.clock.advance(3_600)
    view = ledger.of_job(world.context, job_id)
    assert view.gpu_seconds_by_reason["busy"] == pytest.approx(8 * 3_600, abs=40)
    assert view.usd_by_provider["cheap"] == pytest.approx(20.0, abs=0.1)
    assert agent.node_id


def test_a_job_interrupted_once_too_often_fails_and_says_so(world: World) -> None:
    job_id, (agent,) = world.run(retries={"max": 0})
    agent.beat(agent.stopped(world.attempt(job_id).id, 1, "interrupted", detail="Ray died"))
    world.plan()
    job = world.job(job_id)
    assert job.state is JobState.FAILED
    assert "retries.max is 0" in job.detail


def test_a_start_that_its_node_refuses_is_an_interruption_and_not_a_failure(world: World) -> None:
    job_id = world.submit()
    (agent,) = world.boot()
    (start,) = agent.commands()
    agent.beat(agent.observed(CommandDone, intent_id=start.intent_id, accepted=False, detail="GPUs are held"))
    job = world.job(job_id)
    assert (job.state, job.interruptions) == (JobState.RECOVERING, 1)
    assert "GPUs are held" in job.detail
