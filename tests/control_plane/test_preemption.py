"""A job that gives way: told first, with time to save, not counted as interrupted, and it goes on later."""

from dataclasses import replace

import pytest
from godwit.control_plane.services import jobs
from godwit.control_plane.services.attempts import PREEMPT_GRACE_S
from godwit.domain.wire import agents as wire
from godwit.scheduler.bounds import Bounds
from godwit.scheduler.giving_way import GivesWay, Preemption

from tests.control_plane.apis import client_of
from tests.control_plane.world import Agent, World, spec

pytestmark = pytest.mark.embedded

MIN_RUN_S = 60.0


def full(world: World, by: GivesWay = GivesWay.PRIORITY) -> tuple[str, Agent]:
    """A fleet of one node at most, on which a job of low priority runs, for longer than the guard."""
    policy = replace(world.context.policy, bounds=Bounds(max_nodes=1), preemption=Preemption(by, MIN_RUN_S))
    world.context = replace(world.context, policy=policy)
    job_id, (agent,) = world.run("low", priority="low")
    pass_time(world, agent, MIN_RUN_S + 1)
    return job_id, agent


def pass_time(world: World, agent: Agent, seconds: float) -> None:
    """Time passes, and the agent is heard."""
    world.clock.advance(seconds)
    agent.beat()


def commit(world: World, agent: Agent, job_id: str, step: int) -> None:
    attempt = world.attempt(job_id)
    agent.beat(
        agent.observed(
            wire.CheckpointCommitted, attempt_id=attempt.id, epoch=attempt.epoch, at=world.clock.now(), step=step,
            size_bytes=1, files=1, manifest_url="file:///checkpoints/m",
        )
    )  # fmt: skip


def test_a_more_urgent_job_gets_the_node_and_the_other_goes_on_later(world: World) -> None:
    low, agent = full(world)
    commit(world, agent, low, 10)
    pass_time(world, agent, 20)
    high = world.submit("high", priority="high")
    world.plan()
    assert (world.attempt(low).outcome, world.job(low).state, world.job(low).interruptions) == (
        "preempted", "recovering", 0
    )  # fmt: skip
    assert [node.reserved_for for node in world.nodes()] == [high]
    (stop,) = agent.commands()
    assert (stop.type, stop.grace_s) == ("stop-attempt", PREEMPT_GRACE_S)
    agent.take_on()
    world.plan()
    assert (world.job(high).state, world.job(low).state) == ("starting", "recovering")
    agent.take_on()
    agent.beat(agent.stopped(world.attempt(high).id, 1, "succeeded"))
    world.plan()
    assert (world.job(high).state, world.job(low).state, world.attempt(low).epoch) == ("succeeded", "starting", 2)


def test_the_event_and_explain_say_to_whom_and_what_was_lost(world: World) -> None:
    low, agent = full(world)
    commit(world, agent, low, 10)
    pass_time(world, agent, 20)
    high = world.submit("high", priority="high")
    world.plan()
    (told,) = world.events("job.preempted")
    assert (told.job_id, told.data["to"], told.data["lost_gpu_s"]) == (low, high, 8 * 20.0)
    assert told.reason == (
        f"gives way to job {high}: its priority is 100, this one's -100; "
        "160 GPU-seconds since its last checkpoint are lost unless it saves"
    )
    explained = jobs.explain(world.context, high)
    assert (explained.refusals[0].code, explained.refusals[0].subject) == ("yielding", f"job {low}")
    assert "gives way to it" in explained.headline


def test_a_checkpoint_saved_in_the_time_that_it_has_still_counts(world: World) -> None:
    low, agent = full(world)
    world.submit("high", priority="high")
    world.plan()
    commit(world, agent, low, 11)
    view = client_of(world).get(f"/v1/jobs/{low}").json()
    assert [checkpoint["step"] for checkpoint in view["checkpoints"]] == [11]


def test_nobody_steals_the_node_while_it_is_being_freed(world: World) -> None:
    _low, agent = full(world)
    high = world.submit("high", priority="high")
    world.plan()
    other = world.submit("other", gpus="H100:1", priority="normal")
    agent.take_on()
    world.plan()
    assert (world.job(high).state, world.job(other).state) == ("starting", "queued")


def test_one_stop_does_not_lead_to_the_next(world: World) -> None:
    low, agent = full(world)
    world.submit("high", priority="high")
    for _ in range(3):
        world.plan()
    assert len(world.events("job.preempted")) == 1
    agent.take_on()
    world.plan()
    agent.take_on()
    pass_time(world, agent, MIN_RUN_S + 1)
    world.plan()
    assert len(world.events("job.preempted")) == 1
    assert world.job(low).state == "recovering"


def test_who_just_started_is_left_alone_and_asked_when_the_guard_is_over(world: World) -> None:
    low, agent = full(world)
    world.context = replace(
        world.context, policy=replace(world.context.policy, preemption=Preemption(GivesWay.PRIORITY, 1000.0))
    )
    world.submit("high", priority="high")
    world.plan()
    assert world.job(low).state == "running"
    pass_time(world, agent, 1000.0)
    world.plan()
    assert world.job(low).state == "recovering"


def test_under_a_policy_of_off_nobody_gives_way(world: World) -> None:
    low, _agent = full(world, GivesWay.OFF)
    world.submit("high", priority="high")
    world.plan()
    assert world.job(low).state == "running"


def test_a_job_that_says_so_is_never_made_to_give_way(world: World) -> None:
    policy = replace(world.context.policy, bounds=Bounds(max_nodes=1), preemption=Preemption(GivesWay.PRIORITY, 0.0))
    world.context = replace(world.context, policy=policy)
    low, (agent,) = world.run("low", priority="low", preemptible=False)
    pass_time(world, agent, 10)
    world.submit("high", priority="high")
    world.plan()
    assert world.job(low).state == "running"


def test_what_can_be_bought_is_bought_and_nobody_gives_way(world: World) -> None:
    low, (agent,) = world.run("low", priority="low")
    pass_time(world, agent, 1000)
    world.submit("high", priority="high")
    world.turn()
    assert world.job(low).state == "running"
    assert len(world.nodes()) == 2


def test_a_dry_run_says_who_would_give_way_and_tells_nobody(world: World) -> None:
    low, _agent = full(world)
    answer = client_of(world).post("/v1/plans", json=spec("high", priority="high").model_dump(mode="json")).json()
    actions = {action["action"]: action for action in answer["actions"]}
    assert actions["preempt"]["job_id"] == low
    assert answer["feasible"]
    assert world.job(low).state == "running"


def test_what_was_borrowed_goes_back_to_whose_it_is(world: World) -> None:
    client = client_of(world)
    for name in ("vision", "speech"):
        client.put(f"/v1/projects/{name}", json={"limits": {"H100": {"nominal": 8}}, "cohort": "research"})
    policy = replace(world.context.policy, preemption=Preemption(GivesWay.QUOTA, MIN_RUN_S))
    world.context = replace(world.context, policy=policy)
    _, (first,) = world.run("own", project="vision")
    borrowed, (second,) = world.run("borrowed", project="vision")
    world.clock.advance(MIN_RUN_S + 1)
    first.beat()
    second.beat()
    claim = world.submit("claim", project="speech")
    world.plan()
    states = {world.job(name).state for name in ("own", "borrowed")}
    assert states == {"running", "recovering"}
    (told,) = world.events("job.preempted")
    assert told.data["to"] == claim
    assert "project vision borrowed what project speech needs" in told.reason
    for agent in (first, second):
        agent.take_on()
    world.plan()
    assert world.job(claim).state == "starting"
    assert world.job(borrowed).state in {"running", "recovering"}


def succeeded(world: World, agent: Agent, job_id: str) -> wire.AttemptStopped:
    attempt = world.attempt(job_id)
    return agent.stopped(attempt.id, attempt.epoch, "succeeded", exit_code=0)


def taken_on(agent: Agent) -> wire.CommandDone:
    (stop,) = agent.commands()
    return agent.observed(wire.CommandDone, intent_id=stop.intent_id, accepted=True)


def test_a_program_that_was_done_before_it_heard_that_it_should_stop_has_succeeded(world: World) -> None:
    low, agent = full(world)
    high = world.submit("high", priority="high")
    world.plan()
    done = succeeded(world, agent, low)
    for _ in range(2):
        agent.beat(done)
    world.plan()
    assert (world.job(low).state, world.job(low).exit_code, world.attempt(low).outcome) == ("succeeded", 0, "succeeded")
    assert (world.job(high).state, world.attempt(low).state) == ("starting", "ended")
    assert [event.new for event in world.events("job.state", job_id=low)].count("succeeded") == 1


def test_a_program_that_ends_well_because_it_was_told_to_stop_goes_on_later(world: World) -> None:
    low, agent = full(world)
    world.submit("high", priority="high")
    world.plan()
    agent.beat(taken_on(agent), succeeded(world, agent, low))
    world.plan()
    assert (world.job(low).state, world.attempt(low).outcome) == ("recovering", "preempted")


@pytest.mark.parametrize(("step", "state"), [(99, "recovering"), (100, "succeeded")])
def test_a_program_that_was_told_to_stop_is_done_when_it_was_at_its_last_step(
    world: World, step: int, state: str
) -> None:
    low, agent = full(world)
    world.submit("high", priority="high")
    world.plan()
    mine, at, heard = world.attempt(low), world.clock.now(), taken_on(agent)
    said = agent.observed(wire.JobProgress, attempt_id=mine.id, epoch=1, at=at, step=step, total_steps=100)
    agent.beat(heard, said, succeeded(world, agent, low))
    assert world.job(low).state == state


def test_a_job_that_its_owner_cancelled_has_not_succeeded_after_all(world: World) -> None:
    low, agent = full(world)
    world.submit("high", priority="high")
    world.plan()
    world.cancel(low)
    agent.beat(succeeded(world, agent, low))
    world.plan()
    assert world.job(low).state == "cancelled"


def sharing(world: World) -> tuple[str, Agent]:
    """A fleet of one node at most on which time is shared, and a job that has run on it for ten hours."""
    shared = Preemption(min_run_s=MIN_RUN_S, time_sharing=True)
    policy = replace(world.context.policy, bounds=Bounds(max_nodes=1), preemption=shared)
    world.context = replace(world.context, policy=policy)
    job_id, (agent,) = world.run("long")
    pass_time(world, agent, 36_000)
    return job_id, agent


def test_a_long_job_gives_way_to_a_short_one_once_it_has_saved_and_comes_back(world: World) -> None:
    long, agent = sharing(world)
    short = world.submit("short")
    world.plan()
    assert world.job(long).state == "running", "ten hours of work would be lost"
    commit(world, agent, long, 10)
    world.plan()
    (told,) = world.events("job.preempted")
    assert told.data["to"] == short
    assert "it got 0.0 GPU-hours so far, this one 80.0" in told.reason
    agent.take_on()
    world.plan()
    agent.take_on()
    assert (world.job(short).state, world.job(long).state) == ("running", "recovering")
    pass_time(world, agent, 600)
    agent.beat(agent.stopped(world.attempt(short).id, 1, "succeeded"))
    world.plan()
    assert (world.job(short).state, world.job(long).state, world.attempt(long).epoch) == ("succeeded", "starting", 2)


def test_a_job_that_came_back_is_as_long_as_before_though_it_has_just_started(world: World) -> None:
    long, agent = sharing(world)
    commit(world, agent, long, 10)
    agent.beat(agent.stopped(world.attempt(long).id, 1, "interrupted", detail="Ray died"))
    world.plan()
    agent.take_on()
    pass_time(world, agent, MIN_RUN_S)
    short = world.submit("short")
    world.plan()
    assert [told.data["to"] for told in world.events("job.preempted")] == [short]


@pytest.mark.parametrize("by", [GivesWay.PRIORITY, GivesWay.QUOTA])
def test_a_full_fleet_gives_back_what_was_borrowed_whatever_the_priority(world: World, by: GivesWay) -> None:
    client = client_of(world)
    for name, nominal in (("vision", 8), ("speech", 16)):
        client.put(f"/v1/projects/{name}", json={"limits": {"H100": {"nominal": nominal}}, "cohort": "research"})
    policy = replace(world.context.policy, bounds=Bounds(max_nodes=2), preemption=Preemption(by, MIN_RUN_S))
    world.context = replace(world.context, policy=policy)
    agents = [world.run(name, project="vision", priority="high")[1][0] for name in ("own", "borrowed")]
    world.clock.advance(MIN_RUN_S + 1)
    for agent in agents:
        agent.beat()
    claim = world.submit("claim", project="speech", priority="low", gpus="H100:4")
    world.plan()
    (told,) = world.events("job.preempted")
    assert told.data["to"] == claim
    for agent in agents:
        agent.take_on()
    world.plan()
    assert world.job(claim).state == "starting"
