"""What Crusoe does oddly, and what its adapter makes of it."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from godwit.domain.clock import ManualClock
from godwit.domain.errors import (
    CredentialsRejected,
    InvalidRequest,
    NoCapacity,
    ProviderUnavailable,
    QuotaExceeded,
    UnknownOutcome,
)
from godwit.domain.ids import InstanceId
from godwit.domain.offers import Offer
from godwit.providers.crusoe.provider import CrusoeProvider
from godwit.providers.crusoe.signing import signed
from godwit.providers.kinds import Setup

from tests.contract.rigs import Rig
from tests.emulators.crusoe.emulator import PARTITION, SHAPES, CrusoeEmulator
from tests.emulators.crusoe.rig import OPTIONS, SECRETS
from tests.emulators.rigs import emulated

EAST = "us-east1-a"


@pytest.fixture
def crusoe() -> CrusoeEmulator:
    """The other side."""
    return CrusoeEmulator(quota_gpus=19)


@pytest.fixture
def rig(crusoe: CrusoeEmulator) -> Iterator[Rig]:
    """The adapter on it, with a partition and a price of one's own."""
    own = {"ib_partitions": {EAST: PARTITION}, "prices_usd_per_gpu_hour": {"b200-180gb-sxm-ib": 4.5, "a40": 0.8}}
    for rig in emulated(crusoe, CrusoeProvider, OPTIONS | own, secret="secret_key", secrets=SECRETS):
        yield rig
        crusoe.keeps_leftovers = False
        crusoe.skew_s = 0.0
        rig.end_all()


def _offers(rig: Rig) -> dict[str, Offer]:
    return {offer.instance_type: offer for offer in rig.provider.offers()}


def _sold_out(rig: Rig) -> Offer:
    """An offer whose stock is gone since it was read."""
    offer = _offers(rig)["h100-80gb-sxm-ib.8x"]
    rig.launch_many(replace(rig.request(), offer=offer), 2)
    return offer


def test_a_launch_that_fails_after_it_was_accepted_is_no_capacity_and_leaves_nothing(rig: Rig) -> None:
    request = replace(rig.request(), offer=_sold_out(rig))
    with pytest.raises(NoCapacity, match="out_of_stock"):
        rig.provider.launch(request)
    assert request.token not in [i.token for i in rig.provider.instances()]


def test_what_a_failed_launch_leaves_and_cannot_be_deleted_is_found_by_its_token(
    crusoe: CrusoeEmulator, rig: Rig
) -> None:
    request = replace(rig.request("token-left"), offer=_sold_out(rig))
    crusoe.keeps_leftovers = True
    with pytest.raises(UnknownOutcome):
        rig.provider.launch(request)
    assert [i.token for i in rig.provider.instances()].count("token-left") == 1


def test_no_quota_shows_in_the_operation_too(rig: Rig) -> None:
    _sold_out(rig)  # 16 of 19 GPUs
    two = replace(rig.request(), offer=_offers(rig)["l40s-48gb.2x"])
    rig.provider.launch(replace(two, token="token-fits"))
    with pytest.raises(QuotaExceeded):
        rig.provider.launch(replace(two, token="token-does-not"))


def test_an_operation_that_cannot_be_read_leaves_the_machine_to_the_listing(crusoe: CrusoeEmulator, rig: Rig) -> None:
    request = rig.request()
    crusoe.operation_answers_503 = True
    instance = rig.provider.launch(request)
    listed = rig.listed(instance.id)
    assert listed is not None
    assert listed.token == request.token


def test_what_is_not_there_is_no_error_though_the_answer_is_403(crusoe: CrusoeEmulator, rig: Rig) -> None:
    rig.provider.terminate(InstanceId("ca39e669-47ee-456b-968d-303234fbf99f"))
    assert rig.with_wrong_key is not None
    with pytest.raises(CredentialsRejected):
        rig.with_wrong_key.terminate(InstanceId("ca39e669-47ee-456b-968d-303234fbf99f"))


def test_a_clock_that_is_minutes_off_is_refused(crusoe: CrusoeEmulator, rig: Rig) -> None:
    crusoe.skew_s = 1_000.0
    with pytest.raises(CredentialsRejected):
        rig.provider.check()


def test_a_signature_is_over_path_sorted_query_method_and_time() -> None:
    # Worked out by hand from the vendor's recipe, with the secret "secret".
    url = httpx.URL("https://api.cloud.crusoe.ai/v1/projects/p/x?next_token=b%3D%3D&limit=2")
    signature = signed("c2VjcmV0", "GET", url, "2026-08-20T10:00:00+00:00")
    assert signature == "cOFua6hDEFklf5oJKm9moSwaIEwaN3kbVh2uRPXtS-A"


def test_a_secret_that_is_cut_short_says_so_and_is_not_shown() -> None:
    with pytest.raises(CredentialsRejected, match="copy it again") as caught:
        signed("abcde", "GET", httpx.URL("https://api.cloud.crusoe.ai/v1/x"), "now")
    assert "abcde" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_names_carry_both_marks_without_dots(crusoe: CrusoeEmulator, rig: Rig) -> None:
    rig.provider.launch(rig.request("intent-4f0zq1m2k7xv9a"))
    (order,) = crusoe.orders
    assert order["name"] == "gw--intent-4f0zq1m2k7xv9a--control-plane-1"


def test_types_of_one_fabric_join_the_partition_of_their_location(crusoe: CrusoeEmulator, rig: Rig) -> None:
    offers = _offers(rig)
    assert (offers["h100-80gb-sxm-ib.8x"].fabric_domain, offers["a40.1x"].fabric_domain) == (PARTITION, None)
    rig.provider.launch(replace(rig.request(), offer=offers["h100-80gb-sxm-ib.8x"]))
    rig.provider.launch(replace(rig.request(), offer=offers["a40.1x"]))
    assert [order.get("host_channel_adapters") for order in crusoe.orders] == [
        [{"transport_partition_id": PARTITION}],
        None,
    ]
    assert [order["image"].split(":")[0] for order in crusoe.orders] == [
        "ubuntu22.04-nvidia-sxm-docker",
        "ubuntu22.04-nvidia-pcie-docker",
    ]


def test_a_type_without_a_price_is_offered_only_at_ones_own(rig: Rig) -> None:
    prices = {name: offer.price_usd_per_hour for name, offer in _offers(rig).items()}
    assert prices == {"a40.1x": 0.8, "l40s-48gb.2x": 2.0, "h100-80gb-sxm-ib.8x": 31.2, "b200-180gb-sxm-ib.8x": 36.0}
    for unpriced in emulated(CrusoeEmulator(SHAPES), CrusoeProvider, OPTIONS, secret="secret_key", secrets=SECRETS):
        assert "b200-180gb-sxm-ib.8x" not in _offers(unpriced)


def test_stock_is_live_and_prices_say_that_they_are_from_a_list(rig: Rig) -> None:
    offer = _offers(rig)["a40.1x"]
    assert (offer.capacity, offer.source) == (8, "catalogue")


def test_quotas_are_told(rig: Rig) -> None:
    (quota,) = rig.provider.check().quotas
    assert (quota.name, quota.limit, quota.left) == ("a40", 10, 6)


def test_a_configuration_without_a_project_says_what_is_missing() -> None:
    with pytest.raises(InvalidRequest, match="project"):
        CrusoeProvider(Setup("crusoe", Path("/nowhere"), ManualClock(), random.Random(7)))


def test_a_failure_for_another_reason_may_be_tried_again(crusoe: CrusoeEmulator, rig: Rig) -> None:
    crusoe.failure = "host_failure"
    with pytest.raises(ProviderUnavailable, match="host_failure"):
        rig.provider.launch(replace(rig.request(), offer=_sold_out(rig)))
