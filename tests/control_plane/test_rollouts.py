"""What people do with a change of versions that is under way."""

import pytest
from godwit.control_plane.services import rollouts
from godwit.domain.errors import Conflict, NotFound
from godwit.domain.wire.services import RolloutView, RolloutWanted, ServiceView

from tests.control_plane.apis import client_of
from tests.control_plane.replicated import Services
from tests.control_plane.world import World


@pytest.fixture
def services(world: World) -> Services:
    """A service with two replicas that take requests."""
    found = Services(world)
    update(found, 1)
    found.come_up()
    return found


def update(services: Services, number: int) -> None:
    steps = {"strategy": "canary", "steps": [0.5], "bake": "10m"}
    services.put(replicas=2, rollout=steps, env={"VERSION": str(number)})


def want(services: Services, action: str, to: int | None = None) -> ServiceView:
    wanted = RolloutWanted.model_validate({"action": action, "to": to})
    view = rollouts.change(services.world.context, "chat", wanted, "token ann")
    services.loop.step()
    return view


def under_way(services: Services) -> RolloutView:
    found = services.show().rollout
    assert found is not None
    return found


def test_a_change_is_held_goes_on_and_is_ended_by_hand(services: Services) -> None:
    update(services, 2)
    services.come_up()
    assert (under_way(services).step, under_way(services).steps) == (0, 1)
    assert want(services, "pause").rollout is not None
    assert want(services, "pause").rollout == under_way(services)
    assert under_way(services).paused == "held by token ann"
    services.world.clock.advance(1_200.0)
    for agent in services.world.agents:
        agent.beat()
    services.loop.step()
    assert under_way(services).step == 0
    want(services, "resume")
    assert (under_way(services).paused, under_way(services).step) == ("", 0), "it bakes anew"
    want(services, "promote")
    assert (under_way(services).promoted, under_way(services).step) == (True, 1)
    for _ in range(3):
        services.come_up()
    assert (services.show().rollout, services.show().version) == (None, 2)
    told = [event.reason for event in services.world.events("service.changed")]
    assert [reason for reason in told if "token ann wants it" in reason] == [
        f"token ann wants it: {word} the change to version 2" for word in ("pause", "resume", "promote")
    ]


def test_undo_takes_a_change_back_and_afterwards_goes_to_a_version_before(services: Services) -> None:
    update(services, 2)
    want(services, "pause")
    rollouts.change(services.world.context, "chat", RolloutWanted(action="undo"), "token ann")
    assert under_way(services).backwards == "its owner takes it back"
    with pytest.raises(Conflict, match="taken back already"):
        want(services, "promote")
    for _ in range(3):
        services.come_up()
    assert (services.show().rollout, services.show().version) == (None, 1)
    update(services, 3)
    want(services, "promote")
    for _ in range(4):
        services.come_up()
    assert services.show().version == 3
    want(services, "undo", to=1)
    assert (under_way(services).before, under_way(services).version) == (3, 4)
    assert services.service().newest.spec.env == {"VERSION": "1"}
    with pytest.raises(Conflict, match="without --to"):
        want(services, "undo", to=2)


def test_what_cannot_be_done_is_refused_with_what_could(services: Services) -> None:
    for action in ("pause", "resume", "promote"):
        with pytest.raises(Conflict, match="changes to no other"):
            want(services, action)
    with pytest.raises(NotFound, match="no version before"):
        want(services, "undo")
    with pytest.raises(NotFound, match="no version 7"):
        want(services, "undo", to=7)


def test_the_api_refuses_words_that_are_none(services: Services, world: World) -> None:
    client = client_of(world)
    assert client.post("/v1/services/chat/rollout", json={"action": "stop"}).status_code == 422
    assert client.post("/v1/services/chat/rollout", json={"action": "pause"}).status_code == 409
    assert client.post("/v1/services/none/rollout", json={"action": "pause"}).status_code == 404
