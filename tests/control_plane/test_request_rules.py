"""What a service says of its requests reaches its gateways, and a version in the shadow is judged by copies."""

import pytest
from godwit.control_plane.services import keys
from godwit.domain.errors import InvalidRequest
from godwit.domain.wire.keys import KeyIn
from godwit.domain.wire.routes import ServiceRoute

from tests.control_plane.replicated import Services, service_spec
from tests.control_plane.world import World

SHADOWED = {"strategy": "blue-green", "bake": "5s", "shadow": 0.25}


@pytest.fixture
def services(embedded: World) -> Services:
    """The services of a world without any."""
    return Services(embedded)


def route(services: Services) -> ServiceRoute:
    table = services.routes()
    assert table is not None
    return table.services[0]


def test_what_a_service_says_of_its_requests_is_in_its_route_and_needs_no_new_version(services: Services) -> None:
    services.put()
    services.put(
        requests={
            "priority": "batch", "hedge": "idempotent", "affinity": "session", "start_concurrency": 2,
            "concurrency_max": 16, "queue_max": 50, "queue_wait": "500ms", "first_byte": "3s", "idle": "5m",
            "retries": 1,
        }
    )  # fmt: skip
    found = route(services)
    assert (found.priority, found.hedge, found.affinity) == ("batch", "idempotent", "session")
    assert (found.regulation.start_concurrency, found.regulation.concurrency_max) == (2, 16)
    assert (found.regulation.queue_max, found.regulation.queue_wait_s) == (50, 0.5)
    assert (found.limits.first_byte_s, found.limits.idle_s, found.limits.retries) == (3.0, 300.0, 1)
    assert services.service().newest.number == 1


def test_a_keys_class_and_limits_are_in_the_routes(services: Services) -> None:
    services.put()
    wanted = KeyIn(services=["chat"], priority="batch", requests_per_min=60, tokens_per_min=10_000)
    keys.make(services.world.context, wanted, "token t")
    services.loop.step()
    table = services.routes()
    assert table is not None
    (key,) = table.keys
    assert (key.services, key.priority, key.requests_per_min, key.tokens_per_min) == (["chat"], "batch", 60, 10_000)


def shadowed(services: Services) -> None:
    """A second version whose replica is ready, and gets copies at first."""
    services.put(rollout=SHADOWED)
    services.come_up()
    services.put(run="python serve.py --new", rollout=SHADOWED)
    services.come_up()


def measured(services: Services, failed: int) -> None:
    """A second passes; a gateway tells how both versions did in it."""
    services.world.clock.advance(1.0)
    for agent in services.world.agents:
        agent.beat()
    did = [
        {"id": str(one.attempt_id), "version": str(one.number), "answered": 100, "latency_s": 0.1, "failed": of_new}
        for one in services.replicas("chat", "ready")
        for of_new in [failed if one.number == 2 else 0]
    ]
    services.signal(chat={"requests": 100, "replicas": did})


def test_a_new_version_in_the_shadow_gets_copies_and_then_requests(services: Services) -> None:
    shadowed(services)
    before, new = route(services).versions
    assert (before.name, before.weight, before.shadow) == ("1", 1.0, False)
    assert (new.name, new.weight, new.shadow) == ("2", 0.25, True)
    for _ in range(7):
        measured(services, failed=0)
    assert {one.name: one.weight for one in route(services).versions if not one.shadow} == {"1": 0.0, "2": 1.0}


def test_a_new_version_that_fails_in_the_shadow_never_gets_a_request(services: Services) -> None:
    shadowed(services)
    measured(services, failed=50)
    services.loop.step()
    assert services.service().newest.number == 1
    assert not any(one.shadow for one in route(services).versions)


def test_only_a_blue_green_change_has_a_shadow(services: Services) -> None:
    with pytest.raises(InvalidRequest, match="only a blue-green change"):
        service_spec(rollout={"strategy": "canary", "shadow": 0.5}).to_domain(0.0)
