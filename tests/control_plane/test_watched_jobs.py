"""What agents find before a job starts and while it runs, to the end: where the job goes on, and what is tested."""

from godwit.domain.health import Grade, Remedy
from godwit.domain.nodes import Health
from godwit.domain.wire.health import FindingSeen

from tests.control_plane.world import World


def test_a_job_whose_preflight_failed_goes_elsewhere_at_no_cost_and_the_gpu_is_tested(embedded: World) -> None:
    job_id, (agent,) = embedded.run()
    first = embedded.attempt(job_id)
    uuid = embedded.node(agent.node_id).gpus[3].uuid
    unfit = agent.observed(
        FindingSeen, check="preflight", grade=Grade.UNHEALTHY, code="matmul:slow", gpu=uuid, reason="300 TFLOPS",
    )  # fmt: skip
    agent.beat(unfit, agent.stopped(first.id, 1, "interrupted", detail="preflight: GPU 3", preflight_failed=True))
    embedded.plan()
    job, node = embedded.job(job_id), embedded.node(agent.node_id)
    assert (embedded.attempt(job_id).outcome, job.interruptions) == ("evicted", 0)
    assert [gpu.index for gpu in node.gpus if gpu.health is not Health.HEALTHY] == [3]
    assert [(c.type, c.gpus) for c in agent.commands() if c.type == "run-checks"] == [("run-checks", [3])]
    (elsewhere,) = embedded.boot()
    again = embedded.attempt(job_id)
    assert again.epoch == 2
    assert [slot.node_id for slot in again.slots] == [elsewhere.node_id]
    assert elsewhere.node_id != agent.node_id


def test_a_job_that_hangs_starts_again_where_it_was(embedded: World) -> None:
    job_id, (agent,) = embedded.run()
    first = embedded.attempt(job_id)
    embedded.clock.advance(10)
    hang = agent.observed(
        FindingSeen, check="hang", grade=Grade.UNHEALTHY, code="hang", suggested=Remedy.RESTART_JOB,
        attempt_id=first.id, reason="no step for 400 s", evidence={"stack1": "rank 0: all_reduce"},
    )  # fmt: skip
    agent.beat(hang)
    embedded.plan()
    assert embedded.attempt(job_id).outcome is not None
    assert [command.type for command in agent.take_on()] == ["stop-attempt"]
    embedded.plan()
    again = embedded.attempt(job_id)
    assert (again.epoch, [slot.node_id for slot in again.slots]) == (2, [agent.node_id])
    assert {gpu.health for gpu in embedded.node(agent.node_id).gpus} == {Health.HEALTHY}
