"""What gateways tell counts once, whichever way it comes, and none that has requests is taken for gone."""

import pytest
from godwit.control_plane.services import routes, traffic
from godwit.control_plane.store import routing
from godwit.control_plane.store.ledger_tables import served_tokens
from godwit.domain.wire.routes import GatewaySignals, ReplicaSignals, ServiceSignals
from sqlalchemy import func, select

from tests.control_plane.replicated import Services
from tests.control_plane.world import World


@pytest.fixture
def world(embedded: World) -> World:
    return embedded


def tell(world: World, at: float, requests: int = 0, in_flight: int = 0, **more: bool) -> None:
    """One report of one gateway about one service."""
    replica = ReplicaSignals(id="attempt-1", version="1", in_flight=in_flight, limit=4, answered=0, failed=0)
    service = ServiceSignals(
        name="chat", project="default", in_flight=in_flight, queued=0, requests=requests, shed=0, failed=0,
        replicas=[replica],
    )  # fmt: skip
    signals = GatewaySignals.model_validate(
        {"gateway": "g-1", "version": 1, "at": at, "window_s": 1.0, "services": [service.model_dump()], **more}
    )
    routes.told(world.context, signals)


def counted(world: World) -> int:
    with world.db.read() as conn:
        return int(conn.execute(select(func.sum(served_tokens.c.requests))).scalar() or 0)


def living(world: World) -> list[routing.Gateway]:
    with world.db.read() as conn:
        return routing.all_gateways(conn, world.clock.now())


def test_a_report_that_comes_twice_counts_once(world: World) -> None:
    for _ in range(3):
        tell(world, at=100.0, requests=5)
    assert counted(world) == 5


def test_a_report_that_comes_late_is_let_pass_and_hides_nothing_newer(world: World) -> None:
    tell(world, at=100.0, requests=5)
    tell(world, at=102.0, requests=2, in_flight=3)
    tell(world, at=100.0, requests=5)
    assert counted(world) == 7
    assert traffic.in_flight(living(world)) == {"attempt-1": 3}


def test_a_gateway_whose_clock_was_set_back_is_heard_again_after_a_minute(world: World) -> None:
    tell(world, at=1_000.0, requests=5)
    tell(world, at=400.0, requests=1)
    assert counted(world) == 5
    world.clock.advance(routing.LATE_S + 1.0)
    tell(world, at=461.0, requests=2)
    tell(world, at=463.0, requests=2)
    assert counted(world) == 9


def test_a_report_of_before_its_clock_was_set_back_counts_once_however_late_it_comes_again(world: World) -> None:
    tell(world, at=1_000.0, requests=5)
    world.clock.advance(routing.LATE_S + 1.0)
    tell(world, at=461.0, requests=2)
    tell(world, at=1_000.0, requests=5)
    assert counted(world) == 7
    tell(world, at=463.0, requests=2)
    assert counted(world) == 9


def test_a_gateway_that_leaves_is_waited_for_until_nothing_is_in_flight_and_its_last_word_counts_once(
    world: World,
) -> None:
    tell(world, at=100.0, requests=1, in_flight=2, draining=True)
    assert [one.id for one in living(world)] == ["g-1"], "it finishes what it has"
    for _ in range(2):
        tell(world, at=102.0, requests=1, draining=True)
    assert living(world) == []
    assert counted(world) == 2
    tell(world, at=104.0, requests=1)
    assert [one.id for one in living(world)] == ["g-1"], "it came back"


def test_gateways_that_left_long_ago_leave_no_rows(world: World) -> None:
    tell(world, at=100.0, draining=True)
    world.clock.advance(2 * routing.FORGOTTEN_S)
    signals = GatewaySignals(gateway="g-2", version=1, at=200.0, window_s=1.0, draining=True)
    routes.told(world.context, signals)
    with world.db.read() as conn:
        assert list(conn.execute(select(routing.gateways.c.id)).scalars()) == ["g-2"]


def test_after_a_restore_nothing_is_quiet_until_every_gateway_must_have_been_heard(world: World) -> None:
    """Gateways that came after the backup are not in it, and may have requests with a replica that drains."""
    services = Services(world)
    services.put(replicas=1)
    services.come_up()
    services.put(replicas=0)
    (draining,) = services.replicas("chat", "draining")

    def quiet(after_s: float) -> bool:
        found = traffic.quiet([draining], [], 0.0, 1_000.0 + after_s, restored_at=1_000.0)
        return draining.attempt_id in found

    assert traffic.quiet([draining], [], 0.0, 1_000.0) == {draining.attempt_id}
    assert not quiet(traffic.SILENT_S)
    assert quiet(traffic.SILENT_S + 1.0)
