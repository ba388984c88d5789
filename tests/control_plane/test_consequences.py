"""What an action would do is said before it is done; nothing is done by asking."""

import pytest
from fastapi.testclient import TestClient
from godwit.control_plane.services import consequences, serving
from godwit.domain.wire.consequences import AffectedJob, ConsequencesView

from tests.control_plane.apis import client_of
from tests.control_plane.caring import opened
from tests.control_plane.replicated import Services
from tests.control_plane.test_preemption import commit
from tests.control_plane.world import World, spec


@pytest.fixture
def client(embedded: World) -> TestClient:
    """A client with an administrator's token."""
    return client_of(embedded)


def asked(client: TestClient, path: str, body: object = None) -> ConsequencesView:
    """What an action on `path` would do; that asking changed nothing is looked at, too."""
    before = client.get("/v1/events?limit=1000").json()
    response = client.post(f"/v1/{path}/preview", json=body)
    assert response.status_code == 200, response.text
    assert client.get("/v1/events?limit=1000").json() == before
    return ConsequencesView.model_validate_json(response.content)


def test_draining_a_node_says_whom_it_stops_and_what_is_lost(client: TestClient, embedded: World) -> None:
    job_id, (agent,) = embedded.run("saved", gpus="H100:4")
    commit(embedded, agent, job_id, 10)
    embedded.clock.advance(200.0)
    agent.beat()
    found = asked(client, f"nodes/{agent.node_id}/drain")
    assert found.text == "stops 1 job, 1 has a checkpoint younger than 4m; the machine is given back (cheap, $20.00/h)"
    assert [(one.id, one.gpus) for one in found.jobs] == [(job_id, 4)]
    assert found.usd_per_hour == -20.0
    assert client.post(f"/v1/nodes/{agent.node_id}/drain").status_code == 202
    assert asked(client, f"nodes/{agent.node_id}/drain").why_not == "it is draining already"


def test_keeping_work_off_a_node_stops_nothing(client: TestClient, embedded: World) -> None:
    _, (agent,) = embedded.run()
    found = asked(client, f"nodes/{agent.node_id}/cordon")
    assert (found.jobs, found.why_not) == ([], "")
    assert "new work" in found.text
    assert "already" in asked(client, f"nodes/{agent.node_id}/uncordon").why_not


def test_cancelling_says_what_is_stopped_and_what_never_starts(client: TestClient, embedded: World) -> None:
    job_id, (agent,) = embedded.run()
    assert asked(client, f"jobs/{job_id}/cancel").text == "stops 1 job, 1 has no checkpoint yet, for good"
    waits = embedded.submit("waits")
    assert asked(client, f"jobs/{waits}/cancel").text == "1 that wait never start, for good"
    embedded.submit("sweep", count=3)
    assert asked(client, "arrays/sweep/cancel").text == "3 that wait never start, for good"
    client.post(f"/v1/jobs/{waits}/cancel")
    assert asked(client, f"jobs/{waits}/cancel").why_not
    agent.beat(agent.stopped(embedded.attempt(job_id).id, 1, "succeeded", exit_code=0))
    assert asked(client, f"jobs/{job_id}/cancel").why_not


def test_moving_a_job_says_where_it_would_go_or_why_not(client: TestClient, embedded: World) -> None:
    job_id, _ = embedded.run()
    found = asked(client, f"jobs/{job_id}/migrations", {"to": "dear"})
    assert "dear" in found.text
    assert found.lines
    assert asked(client, f"jobs/{job_id}/migrations", {"to": "dear/north"}).why_not


def test_scaling_says_how_many_come_and_go(client: TestClient, embedded: World) -> None:
    embedded.read_offers()
    chat = serving.put(
        embedded.context, embedded.shelf, spec("chat", kind="service", port=8000, replicas="1..4"), "test"
    )
    assert "2 more start" in asked(client, f"services/{chat.id}/scale", {"replicas": 3}).text
    assert asked(client, f"services/{chat.id}/scale", {"replicas": 1}).why_not == "1 replica is wanted already"
    assert "its own bounds" in asked(client, f"services/{chat.id}/scale", {"replicas": 9}).why_not


def test_resizing_says_how_many_nodes_come_or_go_and_how_the_job_goes_on(client: TestClient, embedded: World) -> None:
    job_id, _ = embedded.run(resources={"nodes": "1..3"})
    found = asked(client, f"jobs/{job_id}/size", {"nodes": 3})
    assert found.text == (
        "from 1 to 3 nodes; 2 more are taken where they are free, or bought; it starts again from its last checkpoint"
    )
    assert [one.id for one in found.jobs] == [job_id]
    assert "1..3" in asked(client, f"jobs/{job_id}/size", {"nodes": 4}).why_not
    assert asked(client, f"jobs/{job_id}/size", {"nodes": None}).why_not == "the planner chooses already"
    bends, _ = embedded.run(name="bends", resources={"nodes": "2..3"}, elastic="in-place")
    assert asked(client, f"jobs/{bends}/size", {"nodes": 2}).text.endswith("it goes on meanwhile")
    embedded.cancel(bends)
    waits = embedded.submit("waits", resources={"nodes": "1..2"})
    assert "once it starts" in asked(client, f"jobs/{waits}/size", {"nodes": 1}).text
    client.post(f"/v1/jobs/{waits}/cancel")
    assert asked(client, f"jobs/{waits}/size", {"nodes": 2}).why_not == "it is cancelled"


def test_moving_and_removing_a_service_says_what_drains_and_is_refused(client: TestClient, embedded: World) -> None:
    services = Services(embedded)
    services.put(replicas=2)
    services.come_up()
    services.signal(chat={"in_flight": 3, "requests": 9})
    found = asked(client, "services/chat/move", {"to": "dear"})
    assert found.text.startswith("2 replicas of chat start in dear first")
    assert found.lines == ["3 requests are in flight"]
    assert asked(client, "services/chat-0/move", {}).text.startswith("1 replica of chat start")
    assert client.post("/v1/services/chat/move/preview", json={"to": "nowhere"}).status_code == 422
    client.post("/v1/services/chat/move", json={"to": "dear"})
    assert asked(client, "services/chat/move", {"to": "dear"}).why_not == "all of it moves there already"
    found = asked(client, "services/chat/delete")
    assert found.text == "2 replicas drain and stop, for good; requests to chat are refused from then on"
    assert "2 GPUs become free" in found.lines[-1]
    client.delete("/v1/services/chat")
    assert asked(client, "services/chat/delete").why_not == "it is deleting"


def test_going_back_a_version_says_what_takes_the_requests_or_why_not(client: TestClient, embedded: World) -> None:
    services = Services(embedded)
    services.put()
    services.come_up()
    undo = {"action": "undo"}
    assert "no version before" in asked(client, "services/chat/rollout", undo).why_not
    assert "changes to no other" in asked(client, "services/chat/rollout", {"action": "pause"}).why_not
    services.put(run="python serve.py --new")
    assert asked(client, "services/chat/rollout", undo).text.startswith("version 1 takes all requests again")
    assert "version 2 takes all" in asked(client, "services/chat/rollout", {"action": "promote"}).text
    client.post("/v1/services/chat/rollout", json={"action": "promote"})
    for _ in range(3):
        services.come_up()
    assert "to the program of version 1" in asked(client, "services/chat/rollout", undo).text


def test_closing_an_incident_says_what_counts_as_healthy_again(client: TestClient, embedded: World) -> None:
    _, (agent,) = embedded.run()
    agent.beat(agent.found("xid:79", gpu=0))
    incident = opened(embedded, agent.node_id, 0)
    assert asked(client, f"incidents/{incident.id}/close").text.startswith("1 GPU of")


def affected(saved_s_ago: float | None, kind: str = "train") -> AffectedJob:
    return AffectedJob(
        id="job-1", name="a", project="default", kind=kind, gpus=8, saved_s_ago=saved_s_ago, becomes="stops"
    )


@pytest.mark.parametrize(
    ("jobs", "said"),
    [
        ([], "stops no job"),
        ([affected(None)], "stops 1 job, 1 has no checkpoint yet"),
        ([affected(None, "service")], "stops 1 job"),
        (
            [affected(239.0), affected(10.0), affected(None)],
            "stops 3 jobs, 2 have a checkpoint younger than 4m, 1 has none",
        ),
        ([affected(240.0)], "stops 1 job, 1 has a checkpoint younger than 5m"),
        ([affected(4_000.0)], "stops 1 job, 1 has a checkpoint younger than 2h"),
        ([affected(200_000.0)], "stops 1 job, 1 has a checkpoint younger than 3d"),
    ],
)
def test_the_sentence_says_how_much_work_is_at_stake(jobs: list[AffectedJob], said: str) -> None:
    assert consequences.stopped(jobs) == said
