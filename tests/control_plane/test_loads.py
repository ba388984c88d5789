"""How hard GPUs work: the newest of each is shown, minutes and hours of each job are kept."""

import pytest
from fastapi.testclient import TestClient
from godwit.control_plane.loads import FRESH_S, MINUTES_MAX, Loads
from godwit.control_plane.reconcilers.rolling import Rolling
from godwit.control_plane.store import loads as stored
from godwit.domain.wire.fleet import FleetView
from godwit.domain.wire.loads import GpuLoad, NodeLoad
from godwit.domain.wire.overview import LoadView, OverviewView
from godwit.domain.wire.views import NodeView
from sqlalchemy import select

from tests.control_plane.apis import client_of
from tests.control_plane.world import Agent, World

MINUTE_S, HOUR_S = 60.0, 3_600.0


def load(at: float, attempt_id: str | None, *busy: float) -> NodeLoad:
    """What a node tells: how busy each of its first GPUs is."""
    gpus = [
        GpuLoad(index=i, busy_percent=percent, memory_percent=50.0, power_watts=300.0, attempt_id=attempt_id)
        for i, percent in enumerate(busy)
    ]
    return NodeLoad(read_at=at, gpus=gpus)


def tell(world: World, agent: Agent, attempt_id: str | None, *busy: float) -> None:
    """One reading, told by a heartbeat."""
    agent.beat(load=load(world.clock.now(), attempt_id, *busy))


def to_next(world: World, step_s: float) -> None:
    """Until the next whole minute or hour begins."""
    world.clock.advance(step_s - world.clock.now() % step_s)


def rows(world: World, table: object) -> list[dict[str, object]]:
    with world.db.read() as conn:
        return [dict(row) for row in conn.execute(select(table)).mappings()]  # type: ignore[call-overload]


def fleet(client: TestClient) -> FleetView:
    return FleetView.model_validate_json(client.get("/v1/fleet").content)


def test_the_fleet_shows_how_busy_each_gpu_is_until_its_node_falls_silent(embedded: World) -> None:
    world, client = embedded, client_of(embedded)
    job_id, (agent,) = world.run()
    before = fleet(client)
    assert set(before.gpus.utilization) == {-1}
    tell(world, agent, world.attempt(job_id).id, 0, 50, 100)
    shown = fleet(client)
    assert shown.gpus.utilization == [0, 128, 255, -1, -1, -1, -1, -1]
    assert shown.version != before.version
    world.clock.advance(FRESH_S + 1)
    assert set(fleet(client).gpus.utilization) == {-1}


def test_nodes_and_the_first_screen_say_how_hard_gpus_work_and_which_jobs_leave_them_idle(embedded: World) -> None:
    world, client = embedded, client_of(embedded)
    job_id, (agent,) = world.run(gpus="H100:4")
    silent = OverviewView.model_validate_json(client.get("/v1/overview").content).load
    assert silent == LoadView(gpus=0, busy_percent=None, quiet_gpus=0, quiet_usd_per_hour=0.0, quiet_jobs=[])
    tell(world, agent, world.attempt(job_id).id, 0, 0, 100, 50, 0, 0, 0, 0)
    found = OverviewView.model_validate_json(client.get("/v1/overview").content).load
    assert found is not None
    assert (found.gpus, found.busy_percent) == (4, 37.5), "only what programs have counts"
    assert (found.quiet_gpus, found.quiet_usd_per_hour) == (2, 5.0)
    assert [(one.id, one.gpus, one.usd_per_hour) for one in found.quiet_jobs] == [(job_id, 2, 5.0)]
    node = NodeView.model_validate_json(client.get(f"/v1/nodes/{agent.node_id}").content)
    assert [gpu.busy_percent for gpu in node.gpus[:4]] == [0, 0, 100, 50]


def test_an_agent_that_tells_nothing_is_heard_as_before(embedded: World) -> None:
    _, (agent,) = embedded.run()
    agent.beat()
    assert embedded.context.loads.newest(embedded.clock.now()) == {}


def test_a_minute_is_written_once_it_is_over_and_only_once(world: World) -> None:
    job_id, (agent,) = world.run()
    attempt_id, rolling = world.attempt(job_id).id, Rolling(world.context)
    to_next(world, MINUTE_S)
    minute = world.clock.now()
    for percent in (10.0, 20.0, 60.0):
        tell(world, agent, attempt_id, percent, percent)
        world.clock.advance(10)
    tell(world, agent, None, 99.0)  # a GPU that nobody holds belongs to no job
    assert rolling.step() == 0, "it is not over"
    to_next(world, MINUTE_S)
    assert (rolling.step(), rolling.step()) == (1, 0)
    (row,) = rows(world, stored.gpu_minutes)
    assert row == {
        "minute": minute, "node_id": agent.node_id, "job_id": job_id, "gpus": 2, "samples": 6, "busy_mean": 30.0,
        "busy_max": 60.0, "memory_mean": 50.0, "memory_max": 50.0, "watts_mean": 300.0, "watts_max": 300.0,
    }  # fmt: skip
    again = Loads()
    again.hear(agent.node_id, load(1.0, attempt_id, 5.0), minute)
    with world.db.write() as tx:
        assert stored.add_minute(tx, minute, again.closed(minute + MINUTE_S)[0][1]) == 0, "what is there stays"
    assert len(rows(world, stored.gpu_minutes)) == 1


def test_a_node_cannot_speak_for_attempts_that_it_never_had(embedded: World) -> None:
    world = embedded
    job_id, (agent,) = world.run()
    told = Loads()
    told.hear("another-node", load(1.0, world.attempt(job_id).id, 0.0), 0.0)
    told.hear(agent.node_id, load(1.0, "no-such-attempt", 0.0), 0.0)
    with world.db.write() as tx:
        assert stored.add_minute(tx, 0.0, told.closed(MINUTE_S)[0][1]) == 0


def test_hours_are_made_of_their_minutes_and_both_are_forgotten_in_time(world: World) -> None:
    job_id, (agent,) = world.run()
    attempt_id, rolling = world.attempt(job_id).id, Rolling(world.context)
    to_next(world, HOUR_S)
    hour = world.clock.now()
    for percents in ((100.0, 100.0), (40.0,)):
        tell(world, agent, attempt_id, *percents)
        world.clock.advance(MINUTE_S)
        rolling.step()
    assert rows(world, stored.gpu_hours) == []
    world.clock.advance(HOUR_S)
    rolling.step()
    rolling.step()
    (row,) = rows(world, stored.gpu_hours)
    assert (row["hour"], row["gpus"], row["samples"]) == (hour, 2, 3)
    assert (row["busy_mean"], row["busy_max"]) == (80.0, 100.0)
    with world.db.write() as tx:
        stored.forget(tx, hour + stored.MINUTES_KEPT_S + MINUTE_S + 1)
    assert (rows(world, stored.gpu_minutes), len(rows(world, stored.gpu_hours))) == ([], 1)
    with world.db.write() as tx:
        stored.forget(tx, hour + stored.HOURS_KEPT_S + 1)
    assert rows(world, stored.gpu_hours) == []


def test_what_a_job_did_lately_is_known_by_its_minutes(embedded: World) -> None:
    world = embedded
    job_id, (agent,) = world.run()
    to_next(world, MINUTE_S)
    since = world.clock.now()
    for percent in (0.0, 10.0):
        tell(world, agent, world.attempt(job_id).id, percent)
        world.clock.advance(MINUTE_S)
        Rolling(world.context).step()
    with world.db.read() as conn:
        assert stored.worked(conn, since) == {job_id: stored.Worked(2, 5.0, 10.0)}
        assert stored.worked(conn, since + MINUTE_S) == {job_id: stored.Worked(1, 10.0, 10.0)}


def test_a_reading_that_is_told_twice_counts_once_and_unwritten_minutes_are_bounded() -> None:
    loads, told = Loads(), load(1.0, "a1", 50.0)
    loads.hear("n", told, 0.0)
    loads.hear("n", told, 1.0)
    ((minute, sums),) = loads.closed(MINUTE_S)
    assert (minute, sums["n", "a1"].busy.count) == (0.0, 1)
    for at in range(100):
        loads.hear("n", load(float(at), "a1", 50.0), at * MINUTE_S)
    assert len(loads.closed(1e9)) == MINUTES_MAX


@pytest.mark.parametrize("percent", [-1.0, 100.1, float("nan"), float("inf")])
def test_what_is_no_share_of_time_is_refused(percent: float) -> None:
    with pytest.raises(ValueError, match="busy_percent"):
        GpuLoad(index=0, busy_percent=percent)
