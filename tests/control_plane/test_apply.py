"""The last gate before GPUs are given away does not believe the planner."""

import pytest
from godwit.control_plane.reconcilers import apply
from godwit.control_plane.store import queries
from godwit.domain.errors import InvariantBroken
from godwit.domain.ids import JobId, NodeId
from godwit.domain.jobs import Slot
from godwit.scheduler.plan import Plan, StartAttempt

from tests.control_plane.world import World


@pytest.mark.parametrize(
    ("shares", "is_written"), [((400,), True), ((401,), False), ((200, 200), True), ((300, 200), False)]
)
def test_shares_of_one_gpu_are_given_until_it_is_full_also_within_one_plan(
    world: World, shares: tuple[int, ...], is_written: bool
) -> None:
    _, (agent,) = world.run(gpus="H100:0.6")
    waiting = [world.submit(name=f"job-{number}", gpus="H100:0.2") for number, _ in enumerate(shares)]
    plan = Plan(
        tuple(
            StartAttempt(JobId(job_id), 1, (Slot(NodeId(agent.node_id), 0, (0,), "", gpu_milli=milli),), 20_000, "test")
            for job_id, milli in zip(waiting, shares, strict=True)
        )
    )
    context, now = world.context, world.clock.now()
    with world.db.read() as conn:
        snapshot = queries.snapshot(conn, now, context.serving_since, context.policy)
    if is_written:
        with world.db.write() as tx:
            apply.apply(tx, plan, snapshot, context.ids, now)
    else:
        with pytest.raises(InvariantBroken, match=r"GPUs \[0\] of node"), world.db.write() as tx:
            apply.apply(tx, plan, snapshot, context.ids, now)
    assert [world.job(job_id).state == "starting" for job_id in waiting] == [is_written] * len(waiting)
