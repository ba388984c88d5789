"""What happens with an offer is counted, and shows as trust."""

from godwit.control_plane.store import queries
from godwit.domain.offers import Offer
from godwit.providers.simulated.faults import Faults
from godwit.scheduler.trust import UNKNOWN, Record

from tests.control_plane.apis import client_of
from tests.control_plane.world import World


def record(world: World, of: Offer) -> Record:
    with world.db.read() as conn:
        return queries.records(conn).get(of.key, UNKNOWN)


def test_a_node_that_becomes_ready_counts_with_the_time_it_took(world: World) -> None:
    world.run()
    (node,) = world.nodes()
    known = record(world, node.offer)
    assert (known.ready, known.refusals, known.losses) == (1, 0, 0)
    assert known.ready_s >= 0
    assert known.score > UNKNOWN.score


def test_a_refusal_counts_against_an_offer_and_shows(embedded: World) -> None:
    embedded.clouds["cheap"].set_faults(Faults(refuse_capacity={"*": -1}))
    embedded.submit()
    embedded.turn()
    (refused, _bought) = embedded.nodes(final=True)
    assert record(embedded, refused.offer).refusals == 1
    shown = {item["key"]: item["trust"] for item in client_of(embedded).get("/v1/offers").json()["items"]}
    assert shown[refused.offer.key] < 0.9


def test_a_lost_machine_counts_once_however_it_is_noticed(embedded: World) -> None:
    embedded.run()
    (node,) = embedded.nodes()
    embedded.clouds["cheap"].lose(embedded.machines()[0])
    for _ in range(30):
        embedded.clock.advance(1)
        embedded.plan()
        embedded.watch()
        embedded.execute()
    known = record(embedded, node.offer)
    assert known.losses == 1
    assert known.hours > 0
