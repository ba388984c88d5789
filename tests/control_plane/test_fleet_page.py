"""The whole fleet in one answer, and the first screen: what is drawn is what is."""

from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from godwit.domain.nodes import Health
from godwit.domain.wire.fleet import FleetView
from godwit.domain.wire.overview import OverviewView, QueueView

from benchmarks import seeded
from tests.control_plane.apis import BEARER, DEADLINE_S, app_of, client_of, served
from tests.control_plane.test_streams import messages
from tests.control_plane.world import World


@pytest.fixture
def client(world: World) -> TestClient:
    """A client with a valid token, on either kind of database."""
    return client_of(world)


def fleet_of(client: TestClient) -> FleetView:
    return FleetView.model_validate_json(client.get("/v1/fleet").content)


def words(view: FleetView) -> list[str]:
    return [view.tables.gpu_uses[code] for code in view.gpus.use]


def test_an_empty_fleet_is_drawn_as_nothing(embedded: World) -> None:
    found = fleet_of(client_of(embedded))
    assert (found.nodes.id, found.gpus.use, found.tables.owners) == ([], [], [])


def test_each_gpu_says_what_it_does_and_for_whom(client: TestClient, world: World) -> None:
    job_id = world.submit()
    world.plan_only()
    assert words(fleet_of(client)) == ["starting"] * 8, "a machine on its way has the GPUs that it was sold with"
    (agent,) = world.boot()
    world.plan()
    assert words(fleet_of(client)) == ["starting"] * 8
    agent.take_on()
    found = fleet_of(client)
    assert words(found) == ["busy"] * 8
    assert found.tables.owners[found.gpus.owner[0]].id == job_id
    assert found.nodes.gpu_count == [8]
    assert found.tables.providers[found.nodes.provider[0]] == "cheap"
    assert found.tables.domains[found.nodes.domain[0]] == "cheap/north"
    agent.beat(agent.stopped(world.attempt(job_id).id, 1, "succeeded", exit_code=0))
    assert words(fleet_of(client)) == ["idle"] * 8


def test_a_gpu_that_is_out_of_service_is_broken_and_a_cordoned_node_is_held(embedded: World) -> None:
    client, world = client_of(embedded), embedded
    _, (agent,) = world.run(gpus="H100:4")
    agent.beat(agent.found("xid:79", gpu=7))
    world.plan()
    found = fleet_of(client)
    assert words(found)[7] == "broken"
    assert found.tables.healths[found.gpus.health[7]] in {Health.FAULTY, Health.QUARANTINED}
    assert found.nodes.incidents == [1]
    assert client.post(f"/v1/nodes/{agent.node_id}/cordon").status_code in {202, 409}
    assert set(words(fleet_of(client))[4:7]) == {"held"}


def test_what_has_not_changed_is_not_sent_again(embedded: World) -> None:
    client, world = client_of(embedded), embedded
    world.run()
    first = client.get("/v1/fleet")
    again = client.get("/v1/fleet", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    world.submit("second", nodes=2)
    world.plan_only()
    changed = client.get("/v1/fleet", headers={"If-None-Match": first.headers["etag"]})
    assert changed.status_code == 200
    assert changed.json()["version"] != first.json()["version"]


def test_the_answer_is_small_when_the_fleet_is_large(embedded: World) -> None:
    """5,000 nodes are under 1 MB; here 500 of them are under a tenth of that, and packed no answer grows faster."""
    seeded.seed(embedded.db, 500, embedded.clock.now())
    client = client_of(embedded)
    answer = client.get("/v1/fleet", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) < 50_000
    found = FleetView.model_validate_json(answer.content)
    assert (len(found.nodes.id), len(found.gpus.use)) == (500, 4_000)
    assert {"busy", "idle"} < set(words(found))


def test_the_seeded_fleet_is_told_on_the_first_screen(embedded: World) -> None:
    seeded.seed(embedded.db, 300, embedded.clock.now())
    found = OverviewView.model_validate_json(client_of(embedded).get("/v1/overview").content)
    assert sum(found.counts.gpus.values()) == 2_400
    assert found.broken.gpus == found.counts.gpus["broken"] + found.counts.gpus["lost"]
    assert found.broken.nodes == found.counts.nodes["lost"] == len(found.broken.lost_nodes)
    assert found.idle.gpus == found.counts.gpus["idle"]
    assert 0 < found.idle.usd_per_hour < found.money.usd_per_hour
    assert found.money.busy_usd_per_hour + found.idle.usd_per_hour < found.money.usd_per_hour
    assert found.broken.usd_per_hour > 0


def test_the_first_screen_says_who_waits_and_why(client: TestClient, world: World) -> None:
    world.run("first", nodes=4)
    big = world.submit("big", nodes=64)
    after = world.submit("after", after=["big"])
    world.plan_only()
    found = OverviewView.model_validate_json(client.get("/v1/overview").content)
    assert [one.id for one in found.waiting.first] == [big, after]
    assert found.waiting.gpus == 64 * 8 + 8
    waits = found.waiting.first[0]
    assert waits.reason is not None
    assert waits.reason.message in waits.why
    assert waits.outlook is not None
    assert waits.outlook.position == 1
    assert found.waiting.first[1].outlook is None, "it waits for a job, so that it stands in no queue"
    queue = QueueView.model_validate_json(client.get("/v1/queue").content)
    assert [one.id for one in queue.items] == [big, after]
    assert found.counts.jobs == {"running": 1, "queued": 2}


def test_money_is_counted_from_midnight_and_from_the_launch(embedded: World) -> None:
    client, world = client_of(embedded), embedded
    world.run()
    world.clock.advance(7_200.0)
    found = OverviewView.model_validate_json(client.get("/v1/overview").content)
    assert found.money.usd_per_hour == found.money.busy_usd_per_hour == 20.0
    assert found.money.usd_per_hour_by_provider == {"cheap": 20.0}
    assert 0 < found.money.usd_today <= 41.0


def test_a_change_is_told_by_the_names_of_what_changed(embedded: World) -> None:
    with (
        served(app_of(embedded)) as url,
        httpx.Client(base_url=url, headers=BEARER, timeout=DEADLINE_S) as http,
        http.stream("GET", "/v1/changes/stream") as response,
    ):
        stream = messages(response)
        first: dict[str, Any] = next(stream)["data"]
        assert first["changed"] == {}, "it says at once from where on it tells"
        job_id = embedded.submit()
        told = next(stream)
        assert told["data"]["changed"] == {"jobs": [job_id]}
        assert told["id"] == str(told["data"]["seq"])


def test_a_reader_of_changes_goes_on_where_it_was(embedded: World) -> None:
    ids = [embedded.submit(f"job{n}") for n in range(3)]
    with (
        served(app_of(embedded)) as url,
        httpx.Client(base_url=url, headers=BEARER, timeout=DEADLINE_S) as http,
        http.stream("GET", "/v1/changes/stream", headers={"Last-Event-ID": "1"}) as response,
    ):
        stream = messages(response)
        assert next(stream)["data"]["seq"] == 1
        assert next(stream)["data"]["changed"] == {"jobs": ids[1:]}
