"""What Hyperstack does oddly, and what its adapter makes of it."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from godwit.domain.errors import NoCapacity, ProviderUnavailable, QuotaExceeded, RequestRejected, UnknownOutcome
from godwit.providers.hyperstack.provider import HyperstackProvider

from tests.contract.rigs import Rig
from tests.emulators.hyperstack.emulator import HyperstackEmulator
from tests.emulators.rigs import emulated


@pytest.fixture
def hyperstack() -> HyperstackEmulator:
    """The other side."""
    return HyperstackEmulator(quota_gpus=16)


@pytest.fixture
def rig(hyperstack: HyperstackEmulator) -> Iterator[Rig]:
    """The adapter on it, without a key named."""
    for rig in emulated(hyperstack, HyperstackProvider):
        yield rig
        hyperstack.leaves_after_page = None
        rig.end_all()
        if hyperstack.prices_as_texts:
            hyperstack.invalid = [note for note in hyperstack.invalid if "/v1/pricebook answer" not in note]


def test_a_machine_that_is_being_created_cannot_be_ended_yet_and_later_can(rig: Rig) -> None:
    instance = rig.provider.launch(rig.request())
    with pytest.raises(ProviderUnavailable, match="cannot be deleted yet"):
        rig.provider.terminate(instance.id)
    rig.end(instance.id)
    rig.wait_for(lambda: rig.is_gone(instance.id))


def test_words_tell_no_stock_from_no_quota_from_a_bad_request(rig: Rig) -> None:
    offers = {offer.instance_type: offer for offer in rig.provider.offers()}
    eight = replace(rig.request(), offer=offers["n3-H100x8"])
    rig.launch_many(eight, 2)
    with pytest.raises(NoCapacity, match="stock"):
        rig.provider.launch(replace(eight, token="token-third"))
    with pytest.raises(QuotaExceeded, match="quota"):
        rig.provider.launch(replace(rig.request(), offer=offers["n3-L40x1"]))
    unknown = replace(offers["n3-L40x1"], instance_type="n3-L40x3")
    with pytest.raises(RequestRejected):
        rig.provider.launch(replace(rig.request(), offer=unknown))


def test_a_second_machine_of_a_name_means_that_its_token_was_launched_before(rig: Rig) -> None:
    request = rig.request("token-twice")
    first = rig.provider.launch(request)
    with pytest.raises(UnknownOutcome):
        rig.provider.launch(request)
    assert [i.id for i in rig.provider.instances() if i.token == "token-twice"] == [first.id]


def test_spot_is_a_flavor_of_its_own_at_a_price_of_its_own(rig: Rig) -> None:
    offers = {offer.instance_type: offer for offer in rig.provider.offers()}
    dear, cheap = offers["n3-H100x1"], offers["n3-H100x1-spot"]
    assert (dear.spot, dear.price_usd_per_hour, cheap.spot, cheap.price_usd_per_hour) == (False, 1.9, True, 1.52)
    assert dear.gpu_model == cheap.gpu_model == "H100-PCIe"
    instance = rig.provider.launch(replace(rig.request(), offer=cheap))
    listed = rig.listed(instance.id)
    assert listed is not None
    assert (listed.spot, listed.instance_type) == (True, "n3-H100x1-spot")


def test_prices_are_per_machine_and_may_come_as_texts(hyperstack: HyperstackEmulator, rig: Rig) -> None:
    numbers = {offer.instance_type: offer.price_usd_per_hour for offer in rig.provider.offers()}
    assert numbers["n3-H100x8"] == 15.2
    assert numbers["n1-cpu-small"] == pytest.approx(0.08)
    hyperstack.prices_as_texts = True
    assert {offer.instance_type: offer.price_usd_per_hour for offer in rig.provider.offers()} == numbers


def test_the_stock_of_a_size_is_the_capacity_and_without_a_gpu_it_is_not_told(rig: Rig) -> None:
    capacity = {offer.instance_type: offer.capacity for offer in rig.provider.offers()}
    assert (capacity["n3-H100x8"], capacity["n3-L40x1"], capacity["n1-cpu-small"]) == (2, 8, None)


def test_a_list_that_changed_between_two_pages_is_not_taken_for_complete(
    hyperstack: HyperstackEmulator, rig: Rig
) -> None:
    first = rig.running()
    rig.launch_many(rig.request(), 4)
    hyperstack.leaves_after_page = 1
    with pytest.raises(ProviderUnavailable, match="changed while it was read"):
        rig.provider.instances()
    hyperstack.leaves_after_page = None
    listed = [instance.id for instance in rig.provider.instances()]
    assert len(listed) == 4
    assert first.id not in listed


def test_the_key_is_one_of_the_environment_that_the_machine_is_put_into(
    hyperstack: HyperstackEmulator, rig: Rig
) -> None:
    offers = {offer.instance_type: offer for offer in rig.provider.offers()}
    rig.provider.launch(replace(rig.request(), offer=offers["n3-L40x1"]))
    (order,) = hyperstack.orders
    assert (order["environment_name"], order["key_name"]) == ("default-CANADA-1", "k-ca")
    with pytest.raises(RequestRejected, match="default-US-1 has none"):
        rig.provider.launch(replace(rig.request(), offer=offers["n3-H100-SXM5x8"]))


def test_the_account_is_told_by_its_environments(rig: Rig) -> None:
    assert rig.provider.check().account == "environments default-CANADA-1, default-US-1"
