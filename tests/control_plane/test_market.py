"""What people look for on the market."""

from dataclasses import replace

import pytest
from godwit.control_plane.store import writes
from godwit.domain.ids import ProviderName
from godwit.domain.offers import Offer

from tests.control_plane.apis import client_of
from tests.control_plane.world import World

H100 = Offer(ProviderName("lambda"), "east", "a", "h100.8x", "H100-SXM", 8, 80.0, 200, 1800.0, 24.0, seen_at=5.0)
MARKET = [
    H100,
    replace(H100, instance_type="h100.1x", gpu_count=1, price_usd_per_hour=2.0),
    replace(H100, spot=True, price_usd_per_hour=8.0),
    replace(H100, region="west", zone=None, price_usd_per_hour=32.0),
    replace(H100, instance_type="h200.8x", gpu_model="H200-SXM", price_usd_per_hour=40.0),
    replace(H100, instance_type="cpu", gpu_model=None, gpu_count=0, gpu_memory_gib=0.0, price_usd_per_hour=0.5),
]


@pytest.mark.parametrize(
    ("query", "prices"),
    [
        ("", [0.5, 1.0, 2.0, 3.0, 4.0, 5.0]),
        ("gpus=h100:8", [1.0, 3.0, 4.0]),
        ("gpus=H100:1&spot=false", [2.0, 3.0, 4.0]),
        ("gpus=0", [0.5, 1.0, 2.0, 3.0, 4.0, 5.0]),
        ("max_price=2.5", [0.5, 1.0, 2.0]),
        ("infra=lambda/west", [4.0]),
        ("infra=lambda/east/a&spot=true", [1.0]),
        ("infra=elsewhere", []),
    ],
)
def test_offers_are_found_by_what_matters_cheapest_per_gpu_first(world: World, query: str, prices: list[float]) -> None:
    with world.db.write() as tx:
        writes.replace_offers(tx, "lambda", MARKET)
    page = client_of(world).get(f"/v1/offers?{query}").json()
    assert [item["price_usd_per_gpu_hour"] for item in page["items"]] == prices
    assert {item["seen_at"] for item in page["items"]} <= {5.0}


def test_a_long_market_is_read_in_pages(world: World) -> None:
    with world.db.write() as tx:
        writes.replace_offers(tx, "lambda", MARKET)
    client, cursor, seen = client_of(world), "0", []
    while cursor is not None:
        page = client.get(f"/v1/offers?limit=2&cursor={cursor}").json()
        seen += [item["key"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert sorted(seen) == sorted(offer.key for offer in MARKET)


def test_an_offer_seen_again_says_so(world: World) -> None:
    for seen_at in (5.0, 9.0):
        with world.db.write() as tx:
            writes.replace_offers(tx, "lambda", [replace(H100, seen_at=seen_at)])
    assert client_of(world).get("/v1/offers").json()["items"][0]["seen_at"] == 9.0
