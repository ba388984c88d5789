"""A service that learned its days: replicas are there before its users are."""

from godwit.control_plane.reconcilers.serving import Serving
from godwit.control_plane.store import needs
from godwit.scheduler.serving import foresight

from tests.control_plane.replicated import Services
from tests.control_plane.world import World

SCALE = {"on": "in-flight", "target": 4, "window": "2s", "down_after": "30s", "predict": True}


def test_what_was_needed_on_past_days_comes_before_it_is_needed_again_and_after_a_restart(world: World) -> None:
    services = Services(world)
    services.put(replicas="1..8", autoscale=SCALE)
    first = (foresight.bucket(world.clock.now()) + 2) * foresight.BUCKET_S
    world.clock.advance(first - world.clock.now())
    for _ in range(2):
        for _ in range(5):
            services.signal(chat={"in_flight": 20, "requests": 20})
            world.clock.advance(foresight.BUCKET_S / 5)
        for _ in range(40):
            services.signal(chat={"in_flight": 1, "requests": 1})
            world.clock.advance(600.0 / 40)
        world.clock.advance(foresight.DAY_S - foresight.BUCKET_S - 600.0)
    world.clock.advance(-600.0)
    services.loop = Serving(world.context)
    services.signal(chat={"in_flight": 1, "requests": 1})
    assert services.service().replicas == 1, "ten minutes before, with replicas that start in three"
    world.clock.advance(600.0 - foresight.START_S)
    services.signal(chat={"in_flight": 1, "requests": 1})
    assert services.service().replicas == 5
    (told,) = [one.reason for one in world.events("service.changed") if "past days" in one.reason]
    assert told == "5 replicas instead of 1: 5.0 replicas were needed at this time of past days"


def test_needs_are_the_most_of_five_minutes_and_are_forgotten_in_the_end(world: World) -> None:
    with world.db.write() as tx:
        needs.remember(tx, {"s": (7, 2.0), "t": (7, 9.0)}, 0)
        needs.remember(tx, {"s": (7, 3.0)}, 0)
        needs.remember(tx, {"s": (7, 1.0)}, 0)
        needs.remember(tx, {"s": (8, 1.0)}, 0)
    with world.db.read() as conn:
        assert needs.of(conn, "s", 0) == {7: 3.0, 8: 1.0}
        assert needs.of(conn, "s", 8) == {8: 1.0}
    with world.db.write() as tx:
        needs.remember(tx, {}, 8)
    with world.db.read() as conn:
        assert (needs.of(conn, "s", 0), needs.of(conn, "t", 0)) == ({8: 1.0}, {})
