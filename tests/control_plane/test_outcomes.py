"""How an attempt comes out: whose word counts, whose fault it was, and when its GPUs are free."""

from typing import Any

import pytest
from godwit.control_plane.services import drills, jobs
from godwit.control_plane.store import queries, schema
from godwit.domain.drills import Drill
from godwit.domain.errors import Conflict, InvalidRequest, NotFound
from godwit.domain.intents import IntentKind
from godwit.domain.nodes import NodeState
from godwit.domain.wire.agents import AttemptRunning, CheckpointCommitted, CheckpointRestored
from godwit.domain.wire.checkpoints import CheckpointsDeleted
from godwit.domain.wire.views import DrillRequest

from tests.control_plane.world import World


def test_a_program_that_ends_well_ends_its_job(world: World) -> None:
    job_id, (agent,) = world.run()
    agent.beat(agent.stopped(world.attempt(job_id).id, 1, "succeeded", exit_code=0))
    world.plan()
    job = world.job(job_id)
    assert (job.state, job.exit_code, world.attempt(job_id).state) == ("succeeded", 0, "ended")
    assert world.node(agent.node_id).idle_since == world.clock.now()


def test_the_first_verdict_stands(world: World) -> None:
    job_id, (first, second) = world.run(nodes=2)
    attempt_id = world.attempt(job_id).id
    first.beat(first.stopped(attempt_id, 1, "succeeded", exit_code=0))
    second.beat(second.stopped(attempt_id, 1, "failed", exit_code=9, detail="killed with its head"))
    world.plan()
    assert (world.job(job_id).state, world.job(job_id).exit_code) == ("succeeded", 0)
    assert world.attempt(job_id).state == "ended"


def test_an_attempt_holds_its_gpus_until_every_node_has_stopped_it(world: World) -> None:
    job_id, (first, second) = world.run(nodes=2)
    first.beat(first.stopped(world.attempt(job_id).id, 1, "succeeded", exit_code=0))
    world.plan()
    attempt = world.attempt(job_id)
    assert (world.job(job_id).state, attempt.state) == ("succeeded", "stopping")
    assert [slot.released for slot in attempt.slots] == [True, False]
    assert [c.type for c in second.take_on()] == ["stop-attempt"]
    world.plan()
    assert world.attempt(job_id).state == "ended"


def test_a_failure_on_one_node_is_the_programs_own(world: World) -> None:
    job_id, (agent,) = world.run()
    agent.beat(agent.stopped(world.attempt(job_id).id, 1, "failed", exit_code=1, detail="exit code 1"))
    assert (world.job(job_id).state, world.job(job_id).interruptions) == ("failed", 0)


def test_a_failure_of_a_gang_is_believed_only_after_every_node_was_heard(world: World) -> None:
    job_id, (head, other) = world.run(nodes=2)
    world.clock.advance(1)
    head.beat(head.stopped(world.attempt(job_id).id, 1, "failed", exit_code=1))
    world.plan()
    assert world.job(job_id).state == "running"
    world.clock.advance(1)
    head.beat()
    world.plan()
    assert world.job(job_id).state == "running"
    other.beat()
    world.plan()
    assert (world.job(job_id).state, world.job(job_id).exit_code) == ("failed", 1)


def test_a_failure_of_a_gang_is_an_interruption_when_a_node_turns_out_to_be_lost(world: World) -> None:
    job_id, (head, other) = world.run(nodes=2)
    head.beat(head.stopped(world.attempt(job_id).id, 1, "failed", exit_code=1))
    for _ in range(5):
        world.clock.advance(1)
        head.beat()
        world.plan()
    job = world.job(job_id)
    assert (job.state, job.interruptions, job.exit_code) == ("recovering", 1, None)
    assert world.node(other.node_id).state is NodeState.LOST


def test_the_first_failure_of_a_gang_is_the_one_that_is_shown(world: World) -> None:
    job_id, (head, other) = world.run(nodes=2)
    attempt_id = world.attempt(job_id).id
    other.beat(other.stopped(attempt_id, 1, "failed", exit_code=7, detail="setup failed", last_lines=["no such wheel"]))
    head.beat(head.stopped(attempt_id, 1, "failed", exit_code=9, detail="peer went away", last_lines=["bye"]))
    world.clock.advance(1)
    head.beat()
    other.beat()
    world.plan()
    assert world.job(job_id).exit_code == 7
    with world.db.read() as conn:
        assert queries.last_lines(conn, job_id) == ["no such wheel"]


def test_a_platform_failure_on_one_node_interrupts_the_gang(world: World) -> None:
    job_id, (head, other) = world.run(nodes=2)
    other.beat(other.stopped(world.attempt(job_id).id, 1, "interrupted", detail="Ray died"))
    assert [c.type for c in head.commands()] == ["stop-attempt"]
    assert world.job(job_id).interruptions == 1
    assert "Ray died" in world.job(job_id).detail


@pytest.mark.parametrize("at", [0, 1, 2])
def test_an_interrupted_job_starts_again_where_it_stood(world: World, at: int) -> None:
    others = [world.run(name=f"job{number}") for number in range(3)]
    for number, (job_id, (agent,)) in enumerate(others):
        agent.beat(
            agent.stopped(world.attempt(job_id).id, 1, "interrupted" if number == at else "succeeded", exit_code=0)
        )
    world.plan()
    job_id, (agent,) = others[at]
    assert (world.attempt(job_id).epoch, world.attempt(job_id).head.node_id) == (2, agent.node_id)


def test_what_fails_to_start_twice_in_a_row_is_tried_again_with_a_pause_until_it_runs(world: World) -> None:
    job_id, (agent,) = world.run()

    def interrupt(*, once_it_ran: bool) -> int:
        attempt = world.attempt(job_id)
        if once_it_ran:
            agent.beat(agent.observed(AttemptRunning, attempt_id=attempt.id, epoch=attempt.epoch))
        agent.beat(agent.stopped(attempt.id, attempt.epoch, "interrupted", detail="Ray did not start"))
        world.plan()
        return world.attempt(job_id).epoch

    assert interrupt(once_it_ran=True) == 2
    assert interrupt(once_it_ran=False) == 3, "the first time it is tried again at once"
    assert interrupt(once_it_ran=False) == 3
    assert "did not come to run 2 times in a row" in jobs.explain(world.context, job_id).model_dump_json()
    for _ in range(5):
        world.clock.advance(1)
        agent.beat()
    world.plan()
    assert world.attempt(job_id).epoch == 4
    assert interrupt(once_it_ran=True) == 5, "it ran, so that what was before counts no more"
    assert interrupt(once_it_ran=False) == 6


def test_an_attempt_whose_preflight_failed_costs_its_job_no_retry(world: World) -> None:
    job_id, (_head, other) = world.run(nodes=2)
    detail = "preflight: GPU 2: matmul: 300 TFLOPS"
    other.beat(other.stopped(world.attempt(job_id).id, 1, "interrupted", detail=detail, preflight_failed=True))
    job = world.job(job_id)
    assert (job.state, job.interruptions, world.attempt(job_id).outcome) == ("recovering", 0, "evicted")
    assert "GPU 2" in job.detail


def test_a_worker_whose_ray_ends_after_the_heads_program_failed_proves_nothing(world: World) -> None:
    job_id, (head, other) = world.run(nodes=2)
    attempt_id = world.attempt(job_id).id
    head.beat(head.stopped(attempt_id, 1, "failed", exit_code=3))
    world.clock.advance(1)
    other.beat(other.stopped(attempt_id, 1, "interrupted", detail="Ray ended: its head is gone", ray_ended=True))
    head.beat()
    world.plan()
    assert (world.job(job_id).state, world.job(job_id).exit_code) == ("failed", 3)


def test_a_node_that_was_cut_off_before_the_heads_program_failed_is_what_made_it_fail(world: World) -> None:
    job_id, (head, other) = world.run(nodes=2)
    attempt_id = world.attempt(job_id).id
    head.beat(head.stopped(attempt_id, 1, "failed", exit_code=1, detail="a peer is gone"))
    other.beat(other.stopped(attempt_id, 1, "interrupted", detail="the lease ran out"))
    assert (world.job(job_id).state, world.job(job_id).interruptions) == ("recovering", 1)


def test_a_checkpoint_is_recorded_once_and_a_stale_one_is_not_counted(world: World) -> None:
    job_id, (agent,) = world.run()
    fields: dict[str, Any] = {
        "attempt_id": world.attempt(job_id).id, "epoch": 1, "step": 10, "at": 1.0, "size_bytes": 5_000_000_000,
        "files": 2, "manifest_url": "file:///m",
    }  # fmt: skip
    agent.beat(agent.observed(CheckpointCommitted, **fields))
    agent.beat(agent.observed(CheckpointCommitted, **fields))
    assert world.rows(schema.checkpoints) == 1
    assert len(world.events("job.checkpoint")) == 1
    agent.beat(agent.stopped(fields["attempt_id"], 1, "interrupted"))
    world.plan()
    assert world.job(job_id).epoch == 2
    agent.beat(agent.observed(CheckpointCommitted, **fields | {"step": 20}))
    assert world.rows(schema.checkpoints) == 1
    assert len(world.events("job.stale-checkpoint")) == 1


def test_the_list_of_checkpoints_does_not_name_what_retention_deleted(world: World) -> None:
    job_id, (agent,) = world.run()
    of = {"attempt_id": world.attempt(job_id).id, "epoch": 1}
    for step in (10, 20, 30):
        fields: dict[str, Any] = {
            "step": step,
            "at": 1.0,
            "size_bytes": 5,
            "files": 2,
            "manifest_url": f"file:///{step}",
        }
        agent.beat(agent.observed(CheckpointCommitted, **of, **fields))
    gone = ["file:///10", "file:///20", "file:///of-another"]
    for _ in range(2):
        agent.beat(agent.observed(CheckpointsDeleted, **of, manifest_urls=gone))
    with world.db.read() as conn:
        assert [row.step for row in queries.checkpoints(conn, job_id)] == [30]
    assert [event.reason for event in world.events("job.checkpoints-deleted")] == ["2 old checkpoints were deleted"]


def test_a_restore_says_how_many_steps_were_lost(world: World) -> None:
    job_id, (agent,) = world.run()
    agent.report_step(world.attempt(job_id), 25)
    agent.beat(agent.stopped(world.attempt(job_id).id, 1, "interrupted"))
    world.plan()
    agent.take_on()
    attempt = world.attempt(job_id)
    agent.beat(agent.observed(CheckpointRestored, attempt_id=attempt.id, epoch=2, step=20, damaged=["file:///m"]))
    (event,) = world.events("job.restored")
    assert event.data["steps_lost"] == 5
    assert "1 newer ones are damaged" in event.reason


def test_two_jobs_of_one_node_that_both_do_not_stop_cost_the_node_once(world: World) -> None:
    first, (agent,) = world.run("first", gpus="H100:4")
    second = world.submit("second", gpus="H100:4")
    world.plan()
    agent.take_on()
    assert world.attempt(second).head.node_id == agent.node_id, "one node has room for both"
    world.cancel(first)
    world.cancel(second)
    for _ in range(61):
        world.clock.advance(1)
        agent.beat()
    world.plan()
    assert world.node(agent.node_id).state is NodeState.TERMINATING
    assert len(world.intents(IntentKind.TERMINATE_NODE, agent.node_id)) == 1


def test_two_jobs_may_start_on_one_node_in_one_plan(world: World) -> None:
    first, (agent,) = world.run("first")
    agent.beat(agent.stopped(world.attempt(first).id, 1, "succeeded", exit_code=0))
    ids = [world.submit(name, gpus="H100:4") for name in ("second", "third")]
    world.plan()
    assert [world.attempt(job_id).head.node_id for job_id in ids] == [agent.node_id] * 2
    assert sorted(gpu for job_id in ids for gpu in world.attempt(job_id).head.gpus) == list(range(8))


def test_a_drill_is_ordered_as_an_intent_and_cuts_the_power(world: World) -> None:
    _, (agent,) = world.run()
    drills.order(world.context, DrillRequest(kind=Drill.NODE_LOSS, node_id=agent.node_id), "token t")
    assert world.clouds["cheap"].running()
    world.execute()
    assert not world.clouds["cheap"].running()
    assert [e.actor for e in world.events("node.drill")] == ["token t"]


def test_a_drill_of_a_program_finds_its_node_by_the_job(world: World) -> None:
    job_id, (agent,) = world.run()
    name = world.job(job_id).spec.name
    view = drills.order(world.context, DrillRequest(kind=Drill.HANG, job=name), "t")
    world.execute()
    assert (view.node_id, view.gpu) == (agent.node_id, None)
    assert world.paper["cheap"].drills == [(world.node(agent.node_id).instance_id, Drill.HANG, None)]
    with pytest.raises(InvalidRequest, match="either a node or a job"):
        drills.order(world.context, DrillRequest(kind=Drill.HANG, job=name, node_id=agent.node_id), "t")
    with pytest.raises(Conflict, match="no program to break"):
        drills.order(world.context, DrillRequest(kind=Drill.HANG, job=world.submit()), "t")


def test_a_drill_is_refused_where_it_cannot_be(world: World) -> None:
    _, (agent,) = world.run()
    with pytest.raises(NotFound, match="no node 'node-nobody'; `godwit nodes` lists them"):
        drills.order(world.context, DrillRequest(kind=Drill.NODE_LOSS, node_id="node-nobody"), "t")
    world.clock.advance(5)
    world.plan()
    with pytest.raises(Conflict, match="is lost"):
        drills.order(world.context, DrillRequest(kind=Drill.NODE_LOSS, node_id=agent.node_id), "t")
    agent.beat()
    world.unconfigure("cheap")
    with pytest.raises(InvalidRequest, match="only simulated clouds"):
        drills.order(world.context, DrillRequest(kind=Drill.NODE_LOSS, node_id=agent.node_id), "t")


def test_a_drill_of_one_gpu_is_left_to_the_machine(world: World) -> None:
    _, (agent,) = world.run()
    view = drills.order(world.context, DrillRequest(kind=Drill.GPU_LOST, node_id=agent.node_id, gpu=3), "t")
    world.execute()
    assert [intent.detail for intent in world.intents(IntentKind.DRILL, agent.node_id)] == [
        f"gpu-lost on {world.node(agent.node_id).instance_id}"
    ]
    assert world.paper["cheap"].drills == [(world.node(agent.node_id).instance_id, Drill.GPU_LOST, 3)]
    (told,) = world.events("node.drill")
    assert (told.data, view.gpu) == ({"kind": "gpu-lost", "gpu": 3}, 3)


@pytest.mark.parametrize(
    ("kind", "gpu", "why"),
    [
        (Drill.GPU_LOST, None, "name it, as in"),
        (Drill.GPU_LOST, 8, "has no GPU 8; it has 0, 1, 2"),
        (Drill.DISK_FULL, 0, "name no GPU"),
    ],
)
def test_a_drill_says_what_it_is_about(embedded: World, kind: Drill, gpu: int | None, why: str) -> None:
    _, (agent,) = embedded.run()
    with pytest.raises(InvalidRequest, match=why):
        drills.order(embedded.context, DrillRequest(kind=kind, node_id=agent.node_id, gpu=gpu), "t")


def test_a_drill_of_a_machine_that_is_gone_by_then_is_over(world: World) -> None:
    _, (agent,) = world.run()
    view = drills.order(world.context, DrillRequest(kind=Drill.NODE_LOSS, node_id=agent.node_id), "t")
    world.forget_machine(agent.node_id)
    world.execute()
    with world.db.read() as conn:
        assert queries.intent(conn, view.intent_id).state == "failed"
