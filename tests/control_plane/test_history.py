"""Figures over time: kept as they come, bounded, and shown in columns."""

import pytest
from fastapi.testclient import TestClient
from godwit.domain.wire import agents as wire
from godwit.domain.wire.history import KnownDevice, PointsView, PriceSeries, TrafficHistory
from godwit.domain.wire.pages import Page
from pydantic import TypeAdapter

from tests.control_plane.apis import client_of
from tests.control_plane.replicated import Services
from tests.control_plane.world import Agent, World


@pytest.fixture
def client(world: World) -> TestClient:
    """A client with an administrator's token, on either kind of database."""
    return client_of(world)


def step(world: World, agent: Agent, job_id: str, number: int, **metrics: float) -> None:
    attempt = world.attempt(job_id)
    told = {"attempt_id": attempt.id, "epoch": attempt.epoch, "at": world.clock.now(), "step": number}
    agent.beat(agent.observed(wire.JobProgress, metrics=metrics, **told))


def test_a_jobs_progress_is_a_curve_that_ends_with_the_newest_step(client: TestClient, world: World) -> None:
    job_id, (agent,) = world.run()
    for number in range(1, 6):
        step(world, agent, job_id, number, loss=1.0 / number)
        world.clock.advance(2.0)
    step(world, agent, job_id, 6, loss=0.1, tokens=5.0)
    world.clock.advance(0.2)
    step(world, agent, job_id, 7, loss=0.05)
    found = PointsView.model_validate_json(client.get(f"/v1/jobs/{job_id}/progress").content)
    assert found.step == [1, 2, 3, 4, 5, 6, 7]
    assert found.epoch == [1] * 7
    assert found.metrics["loss"][:2] == [1.0, 0.5]
    assert found.metrics["tokens"] == [None] * 5 + [5.0, None]
    assert found.at == sorted(found.at)


def test_a_job_without_progress_has_an_empty_curve(client: TestClient, world: World) -> None:
    job_id = world.submit()
    found = PointsView.model_validate_json(client.get(f"/v1/jobs/{job_id}/progress").content)
    assert (found.at, found.step, found.metrics) == ([], [], {})


def test_attempts_say_when_they_ran_and_when_nothing_of_them_did(client: TestClient, world: World) -> None:
    job_id, (agent,) = world.run()
    (shown,) = client.get(f"/v1/jobs/{job_id}").json()["attempts"]
    assert shown["created_at"] <= shown["started_at"] <= world.clock.now()
    assert shown["ended_at"] is None
    world.clock.advance(5.0)
    agent.beat(agent.stopped(world.attempt(job_id).id, 1, "succeeded", exit_code=0))
    world.plan()
    (shown,) = client.get(f"/v1/jobs/{job_id}").json()["attempts"]
    assert shown["ended_at"] == world.clock.now()


def test_prices_are_kept_by_place_and_kind(client: TestClient, world: World) -> None:
    world.read_offers()
    world.clock.advance(400.0)
    world.read_offers()
    found = TypeAdapter(list[PriceSeries]).validate_json(client.get("/v1/prices").content)
    by_place = {(one.provider, one.region, one.spot): one for one in found}
    north = by_place["cheap", "north", False]
    assert (north.gpu_model, len(north.at), north.usd_per_gpu_hour) == ("H100-SXM", 2, [2.5, 2.5])
    assert client.get("/v1/prices?gpus=H200").json() == []
    assert client.get("/v1/prices?gpus=H100:8").json() == client.get("/v1/prices?gpus=H100").json()
    assert len(client.get(f"/v1/prices?since={world.clock.now()}").json()[0]["at"]) == 1


def test_devices_come_with_the_most_incidents_first(client: TestClient, world: World) -> None:
    _, (agent,) = world.run()
    agent.beat(agent.found("xid:79", gpu=3))
    world.plan()
    found = Page[KnownDevice].model_validate_json(client.get("/v1/devices?faults=1").content).items
    assert found[0].id == f"GPU-{agent.node_id}-3"
    assert (found[0].node_id, found[0].provider, found[0].is_here) == (agent.node_id, "cheap", True)
    assert found[0].faults >= 1
    assert client.get("/v1/devices?faults=9").json()["items"] == []
    assert client.get("/v1/devices?health=retired").json()["items"] == []


def test_what_a_service_takes_is_kept(client: TestClient, world: World) -> None:
    services = Services(world)
    services.put(replicas=2)
    signals = {
        "gateway": "gw-1", "version": 0, "window_s": 10.0, "at": world.clock.now(),
        "services": [
            {
                "project": "default", "name": "chat", "requests": 50, "in_flight": 3, "latency_p99_s": 0.5, "queued": 0,
                "shed": 0, "failed": 0,
            }
        ],
    }  # fmt: skip
    response = client.post("/v1/routes/signals", json=signals)
    assert response.status_code == 204, response.text
    found = TrafficHistory.model_validate_json(client.get("/v1/services/chat/traffic").content)
    assert (found.requests_per_s, found.in_flight, found.latency_p99_s) == ([5.0], [3.0], [0.5])
    assert (found.replicas, found.ready) == ([2.0], [0.0])
    client.post("/v1/routes/signals", json=signals)
    assert len(client.get("/v1/services/chat/traffic").json()["at"]) == 1, "twice within half a minute is once"
