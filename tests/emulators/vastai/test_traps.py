"""What Vast.ai does oddly, and what its adapter makes of it."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from godwit.domain.errors import CredentialsRejected, NoCapacity, RateLimited, RequestRejected, UnknownOutcome
from godwit.domain.offers import InstanceState, Offer
from godwit.providers.simulated.faults import Faults
from godwit.providers.vastai import provider as adapter
from godwit.providers.vastai.provider import VastProvider

from tests.contract.rigs import Rig
from tests.emulators.rigs import emulated
from tests.emulators.vastai.emulator import VastEmulator

LIMIT = 4_048


@pytest.fixture
def vast() -> VastEmulator:
    """The other side."""
    return VastEmulator()


@pytest.fixture
def rig(vast: VastEmulator) -> Iterator[Rig]:
    """The adapter on it."""
    for rig in emulated(vast, VastProvider):
        yield rig
        vast.keeps_leftovers = False
        rig.end_all()


def _spot(rig: Rig) -> Offer:
    return next(o for o in rig.provider.offers() if o.spot)


def _outbid(rig: Rig) -> Offer:
    """An offer whose bid does not win any more."""
    return replace(_spot(rig), price_usd_per_hour=0.05)


@pytest.mark.parametrize("status", [400, 200])
def test_a_machine_that_a_refused_bid_leaves_behind_is_destroyed(vast: VastEmulator, rig: Rig, status: int) -> None:
    vast.refuses_with = status
    with pytest.raises(NoCapacity, match="was destroyed"):
        rig.provider.launch(replace(rig.request(), offer=_outbid(rig)))
    assert rig.provider.instances() == []


def test_a_machine_left_behind_that_cannot_be_destroyed_is_found_by_its_token(vast: VastEmulator, rig: Rig) -> None:
    vast.keeps_leftovers = True
    with pytest.raises(UnknownOutcome):
        rig.provider.launch(replace(rig.request("token-outbid"), offer=_outbid(rig)))
    (left,) = rig.provider.instances()
    assert (left.token, left.state, left.spot) == ("token-outbid", InstanceState.STOPPED, True)


def test_a_bid_at_the_offered_price_wins_and_an_order_on_demand_bids_nothing(vast: VastEmulator, rig: Rig) -> None:
    offer = _spot(rig)
    assert offer.price_usd_per_hour == pytest.approx(0.22), "the least bid and the disk"
    assert rig.provider.launch(replace(rig.request(), offer=offer)).spot
    rig.provider.launch(rig.request())
    assert [order.get("price") for order in vast.orders] == [0.22, None]


def test_a_machine_that_is_outbid_later_is_stopped_whatever_its_container_shows(vast: VastEmulator, rig: Rig) -> None:
    instance = rig.provider.launch(replace(rig.request(), offer=_spot(rig)))
    vast.outbid.add(int(instance.id))
    listed = rig.listed(instance.id)
    assert listed is not None
    assert listed.state is InstanceState.STOPPED


@pytest.mark.parametrize("word", ["offline", "unknown"])
def test_a_host_that_is_out_of_touch_may_still_run_its_machine(rig: Rig, word: str) -> None:
    instance = rig.running()
    assert rig.set_faults is not None
    rig.set_faults(Faults(state_word=word))
    listed = rig.listed(instance.id)
    assert listed is not None
    assert listed.state is InstanceState.UNKNOWN


def test_an_ask_is_gone_once_it_is_sold(rig: Rig) -> None:
    request = rig.request()
    rig.provider.launch(request)
    assert request.offer.key not in [offer.key for offer in rig.provider.offers()]
    with pytest.raises(NoCapacity):
        rig.provider.launch(replace(request, token="token-second"))


def test_the_whole_startup_script_arrives_or_the_launch_is_rejected(vast: VastEmulator, rig: Rig) -> None:
    instance = rig.provider.launch(rig.request(script="#" * (LIMIT - 1) + "\n"))
    assert vast.onstart[int(instance.id)] == "#" * (LIMIT - 1) + "\n"
    with pytest.raises(RequestRejected):
        rig.provider.launch(rig.request(script="#" * (LIMIT + 1)))


def test_a_wrong_key_at_the_search_is_told_from_something_that_is_not_there(rig: Rig) -> None:
    assert rig.with_wrong_key is not None
    for call in (rig.with_wrong_key.offers, rig.with_wrong_key.check, rig.with_wrong_key.instances):
        with pytest.raises(CredentialsRejected):
            call()


def test_a_plain_text_429_tells_its_interval(rig: Rig) -> None:
    assert rig.set_faults is not None
    rig.set_faults(Faults(rate_limit=1))
    with pytest.raises(RateLimited) as caught:
        rig.provider.instances()
    assert caught.value.retry_after_s == 4.5


def test_a_search_that_is_cut_short_goes_on(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [offer.key for offer in rig.provider.offers()]
    monkeypatch.setattr(adapter, "SEARCH_SIZE", 2)
    assert [offer.key for offer in rig.provider.offers()] == whole


def test_memory_is_the_offers_share_of_the_hosts(rig: Rig) -> None:
    offer = next(o for o in rig.provider.offers() if o.gpu_model == "RTX4090")
    assert (offer.cpus, offer.memory_gib, offer.gpu_memory_gib) == (16, 64.0, 24.0)
    assert (offer.region, offer.zone) == ("NO", "88001-12345001")


def test_somebody_elses_machine_is_listed_without_our_marks(vast: VastEmulator, rig: Rig) -> None:
    with vast.lock:
        vast.launch(vast.cloud.settings.shapes[0], {"label": ""})
    (foreign,) = rig.provider.instances()
    assert (foreign.token, foreign.owner) == (None, None)


def test_the_balance_is_told(rig: Rig) -> None:
    (quota,) = rig.provider.check().quotas
    assert (quota.name, quota.left) == ("balance_usd", 42.5)
