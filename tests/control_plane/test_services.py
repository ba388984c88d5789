"""Services: replicas that are jobs, routes that follow them, and nothing that is stopped with requests in flight."""

import pytest
from godwit.control_plane import keyring
from godwit.control_plane.services import jobs, keys, nodes, serving
from godwit.control_plane.store import routing
from godwit.domain.errors import Conflict, InvalidRequest, NotFound
from godwit.domain.wire.agents import StopAttempt
from godwit.domain.wire.keys import KeyIn
from godwit.domain.wire.routes import RouteTable

from tests.control_plane.apis import client_of
from tests.control_plane.replicated import Services, service_spec
from tests.control_plane.world import World


@pytest.fixture
def services(world: World) -> Services:
    """The services of a world without any."""
    return Services(world)


def test_a_service_is_so_many_jobs_which_are_placed_like_any(services: Services, world: World) -> None:
    services.put(replicas=3)
    assert services.states() == {"chat-0": "starting", "chat-1": "starting", "chat-2": "starting"}
    services.turn()
    found = [world.job(name) for name in ("chat-0", "chat-1", "chat-2")]
    assert [(job.state, job.spec.kind) for job in found] == [("running", "service")] * 3


def test_an_agent_is_told_what_to_ask_and_only_who_answers_is_in_the_routes(services: Services, world: World) -> None:
    services.put(replicas=2, port=8000, readiness={"path": "/ready", "period": "500ms"}, liveness={"failures": 7})
    world.boot()
    (command, _) = world.agents[0].take_on()
    assert command.serve is not None
    assert (command.serve.port, command.serve.readiness.path, command.serve.readiness.period_s) == (8000, "/ready", 0.5)
    assert command.serve.liveness is not None
    assert command.serve.liveness.failures == 7
    services.loop.step()
    assert services.urls() == []
    services.say(services.replicas()[0], ready=True, port=8000)
    services.loop.step()
    assert services.urls() == ["http://127.20.0.1:8000"]
    services.say(services.replicas()[0], ready=False, detail="GET /ready was answered with 503")
    services.loop.step()
    assert services.urls() == []
    assert "503" in services.show().why


def test_the_same_specification_again_changes_nothing(services: Services, world: World) -> None:
    first = services.put(replicas=2)
    before = len(world.events())
    assert services.put(replicas=2).id == first.id
    assert len(world.events()) == before


def test_a_replica_whose_program_ends_is_replaced_and_later_each_time(services: Services, world: World) -> None:
    services.put()
    waited = []
    for ordinal in range(4):
        services.turn()
        (replica,) = services.replicas()
        assert replica.name == f"chat-{ordinal}"
        ended_at = world.clock.now()
        services.end(replica, exit_code=1, detail="its program ended")
        while not services.replicas():
            world.clock.advance(0.5)
            for agent in world.agents:
                agent.beat()
            services.loop.step()
        waited.append(world.clock.now() - ended_at)
    assert waited == sorted(waited)
    assert waited[-1] >= 2 * waited[1] > 0
    assert "its program ended" in services.show().why


def test_a_lost_attempt_is_out_of_the_routes_until_the_next_one_answers(services: Services, world: World) -> None:
    services.put()
    services.come_up()
    (before,) = services.urls()
    (replica,) = services.replicas()
    services.end(replica, outcome="interrupted", detail="the lease ran out")
    assert services.urls() == []
    assert services.states() == {"chat-0": "starting"}
    services.turn()
    services.say(replica, ready=True, port=9_100)
    services.loop.step()
    assert services.urls() not in ([], [before])
    table = services.routes()
    assert table is not None
    assert table.services[0].replicas[0].id == world.attempt(replica.id).id, "a process that came back is another one"


def test_what_goes_is_out_of_the_routes_first_and_stops_once_no_gateway_has_anything_there(
    services: Services, world: World
) -> None:
    services.put(replicas=2, drain="10m")
    services.come_up()
    (_, going) = services.replicas()
    attempt_id = str(world.attempt(going.id).id)
    busy = {"replicas": [{"id": attempt_id, "in_flight": 1}]}
    services.signal(chat=busy)
    before = services.routes()
    assert before is not None
    serving.scale(world.context, "chat", 1, "token t")
    services.loop.step()
    (drained,) = services.replicas("chat", "draining")
    assert (len(services.urls()), len(services.urls("draining"))) == (1, 1)
    services.signal(version=before.version, chat={})
    assert not world.job(drained.id).cancel_requested, "that gateway does not know yet that it shall not go there"
    services.signal(chat={"replicas": [{"id": str(drained.attempt_id), "in_flight": 2}]})
    assert not world.job(drained.id).cancel_requested, "two requests are in flight"
    services.signal(chat={})
    assert world.job(drained.id).cancel_requested
    world.plan()
    assert any(isinstance(one, StopAttempt) for agent in world.agents for one in agent.take_on())
    world.plan()
    services.loop.step()
    assert len(services.replicas()) == 1


def test_draining_has_an_end_and_a_gateway_that_is_silent_is_not_waited_for_longer(
    services: Services, world: World
) -> None:
    services.put(replicas=2, drain="5m")
    services.come_up()
    services.signal("silent", chat={})
    serving.scale(world.context, "chat", 1, "token t")
    services.loop.step()
    (drained,) = services.replicas("chat", "draining")
    assert not world.job(drained.id).cancel_requested
    world.clock.advance(60.0)
    services.loop.step()
    assert not world.job(drained.id).cancel_requested
    world.clock.advance(60.0)
    services.loop.step()
    assert world.job(drained.id).cancel_requested, "nobody else has anything there"


def test_without_a_gateway_there_is_nobody_to_wait_for(services: Services, world: World) -> None:
    services.put(replicas=2)
    services.come_up()
    serving.scale(world.context, "chat", 0, "token t")
    services.loop.step()
    assert [world.job(one.id).cancel_requested for one in services.replicas()] == [True, True]


def test_the_routes_have_a_number_that_grows_only_when_they_change(services: Services) -> None:
    services.put()
    services.come_up()
    table = services.routes()
    assert table is not None
    services.loop.step()
    assert services.routes(table.version, "g-1") is None
    assert services.routes(table.version + 5) == table, "whoever is ahead of a database that was restored gets it too"
    services.say(services.replicas()[0], ready=False)
    services.loop.step()
    after = services.routes(table.version)
    assert after is not None
    assert after.version == table.version + 1


def test_a_removed_service_drains_and_its_name_is_free_again(services: Services, world: World) -> None:
    first = services.put(replicas=2)
    services.come_up()
    serving.remove(world.context, "chat", "token t")
    with pytest.raises(Conflict, match="being removed"):
        services.put()
    for _ in range(2):
        services.loop.step()
        world.plan()
        for agent in world.agents:
            agent.take_on()
        world.plan()
        services.loop.step()
    assert services.show().state == "deleted"
    assert services.put().id != first.id


def test_a_service_is_no_job_and_a_job_no_service(services: Services, world: World) -> None:
    with pytest.raises(InvalidRequest, match="/v1/services"):
        jobs.submit(world.context, world.shelf, service_spec(), None, "token t")
    with pytest.raises(InvalidRequest, match="kind: service"):
        serving.put(world.context, world.shelf, service_spec().model_copy(update={"kind": "train"}), "token t")
    with pytest.raises(NotFound, match="godwit services"):
        services.show("nothing")


def test_a_service_is_scaled_within_its_own_bounds(services: Services, world: World) -> None:
    services.put(replicas="1..3")
    with pytest.raises(InvalidRequest, match=r"1\.\.3"):
        serving.scale(world.context, "chat", 4, "token t")
    assert serving.scale(world.context, "chat", 3, "token t").replicas == 3
    services.loop.step()
    assert len(services.replicas()) == 3


def test_a_models_name_leads_to_one_service(services: Services) -> None:
    services.put("chat", models=["small"])
    with pytest.raises(InvalidRequest, match="served by service chat"):
        services.put("other", models=["small"])


def test_a_service_moves_by_starting_there_first(services: Services, world: World) -> None:
    services.put(replicas=2, resources={"gpus": "H100:1", "infra": ["cheap", "dear"]})
    services.come_up()
    assert {one.zone for one in services.replicas()} == {"cheap/north"}
    serving.move(world.context, "chat", "dear", "token t")
    services.loop.step()
    assert sorted(services.states().values()) == ["ready", "ready", "starting", "starting"]
    assert len(services.urls()) == 2, "the old ones serve on"
    services.turn()
    services.turn()
    for replica in services.replicas("chat", "starting"):
        services.say(replica, ready=True)
    services.loop.step()
    assert [(one.zone, str(one.state)) for one in services.replicas() if one.moves_to is None] == [
        ("dear/south", "ready"),
        ("dear/south", "ready"),
    ]
    assert {str(one.state) for one in services.replicas() if one.moves_to is not None} == {"draining"}


def test_a_key_is_in_the_routes_as_its_hash_until_it_is_removed(services: Services, world: World) -> None:
    made = keys.make(world.context, KeyIn(services=["chat"], requests_per_min=60), "token t")
    services.loop.step()
    table = services.routes()
    assert table is not None
    assert [(one.id, one.sha256, one.requests_per_min) for one in table.keys] == [
        (made.id, keyring.digest(made.text), 60)
    ]
    assert made.text not in str(world.events())
    keys.remove(world.context, made.id, "token t")
    services.loop.step()
    after = services.routes()
    assert after is not None
    assert after.keys == []
    with pytest.raises(NotFound, match="godwit keys"):
        keys.remove(world.context, made.id, "token t")


def test_a_gateway_waits_for_routes_that_it_does_not_have(world: World, services: Services) -> None:
    client = client_of(world)
    services.put(keyless=True)
    first = RouteTable.model_validate_json(client.get("/v1/routes?gateway=g-1").content)
    assert [(one.name, one.keyless) for one in first.services] == [("chat", True)]
    assert client.get(f"/v1/routes?gateway=g-1&version={first.version}").status_code == 304
    with world.db.read() as conn:
        assert [(one.id, one.seen) for one in routing.all_gateways(conn, world.clock.now())] == [("g-1", first.version)]
    leaving = {"gateway": "g-1", "version": 1, "at": 1.0, "window_s": 1.0, "draining": True, "of_a_later_release": 1}
    assert client.post("/v1/routes/signals", json=leaving).status_code == 204
    with world.db.read() as conn:
        assert routing.all_gateways(conn, world.clock.now()) == []


def test_a_replica_leaves_a_drained_node_only_once_another_one_serves(services: Services, world: World) -> None:
    services.put(drain="5m")
    services.come_up()
    (before,) = services.replicas()
    services.signal(chat={"replicas": [{"id": str(before.attempt_id), "in_flight": 1}]})
    nodes.drain(world.context, services.agent_of(before).node_id, "token t")
    world.plan()
    services.loop.step()
    assert services.states() == {"chat-0": "ready", "chat-1": "starting"}
    assert world.attempt(before.id).outcome is None
    services.come_up()
    services.come_up()
    assert services.states() == {"chat-0": "draining", "chat-1": "ready"}
    assert world.attempt(before.id).outcome is None, "a request is in flight"
    services.signal(chat={})
    world.plan()
    assert world.attempt(before.id).outcome == "cancelled"
