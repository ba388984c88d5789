"""What EC2 does that other clouds do not."""

import random
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from godwit.domain.errors import (
    CredentialsRejected,
    InvalidRequest,
    NoCapacity,
    ProviderUnavailable,
    QuotaExceeded,
    RateLimited,
    RequestRejected,
    UnknownOutcome,
)
from godwit.domain.ids import InstanceId
from godwit.domain.offers import InstanceState, Offer
from godwit.providers.aws.provider import AwsProvider
from godwit.providers.kinds import Setup
from godwit.providers.protocol import LaunchRequest
from godwit.providers.simulated.faults import Faults

from tests.emulators.aws.emulator import ACCESS_KEY_ID, AwsEmulator
from tests.emulators.emulator import API_KEY

SCRIPT = "#!/bin/sh\necho hello\n"


class Account:
    """An emulator and adapters that talk to it."""

    def __init__(self, stack: ExitStack) -> None:
        self.emulator = AwsEmulator(quota_gpus=12)
        self._url = stack.enter_context(self.emulator.serving())
        self._stack = stack

    def adapter(self, **options: Any) -> AwsProvider:
        """One with these options."""
        chosen = {"url": self._url, "timeout_s": 5.0, "image": "ami-12c6146b"} | options
        keys = {"access_key_id": ACCESS_KEY_ID, "secret_access_key": API_KEY}
        made = AwsProvider(Setup("aws", Path("/nowhere"), self.emulator.clock, random.Random(7), chosen, keys))
        self._stack.callback(made.close)
        return made


@pytest.fixture
def account() -> Iterator[Account]:
    """An account with quota for twelve GPUs."""
    with ExitStack() as stack:
        yield Account(stack)


def cheapest(provider: AwsProvider, instance_type: str, *, spot: bool = False) -> Offer:
    return next(o for o in provider.offers() if (o.instance_type, o.spot) == (instance_type, spot))


def request(offer: Offer, token: str = "token-1", script: str = SCRIPT) -> LaunchRequest:
    return LaunchRequest(offer, token, "control-plane-1", script)


def test_prices_come_from_the_one_plain_entry_of_the_price_list_and_spot_from_the_newest_of_the_history(
    account: Account,
) -> None:
    offers = account.adapter().offers()
    seen = {(o.instance_type, o.zone, o.spot): o.price_usd_per_hour for o in offers}
    assert seen == {
        ("g4dn.xlarge", "us-east-1a", False): 0.526,
        ("g4dn.xlarge", "us-east-1a", True): 0.2104,
        ("p5.48xlarge", "us-east-1b", False): 55.04,
        ("p5.48xlarge", "us-east-1b", True): 21.5,
    }
    p5 = next(o for o in offers if o.instance_type == "p5.48xlarge")
    assert (p5.gpu_model, p5.gpu_count, p5.gpu_memory_gib, p5.cpus, p5.memory_gib) == ("H100-SXM", 8, 80.0, 192, 2048)


def test_slices_of_a_gpu_and_types_for_another_image_are_not_offered(account: Account) -> None:
    assert {o.instance_type for o in account.adapter().offers()} == {"g4dn.xlarge", "p5.48xlarge"}


def test_types_and_list_prices_are_read_again_after_hours_and_spot_prices_each_time(account: Account) -> None:
    provider = account.adapter()
    began = account.emulator.clock.now()
    provider.offers()
    account.emulator.clock.advance(3600)
    ages = {o.spot: o.seen_at - began for o in provider.offers()}
    assert ages == {False: 0.0, True: 3600.0}
    account.emulator.clock.advance(6 * 3600)
    assert {o.seen_at - began for o in provider.offers()} == {7 * 3600.0}


def test_a_capacity_reservation_is_an_offer_that_adds_nothing_to_the_bill(account: Account) -> None:
    account.emulator.reservations.append(
        {
            "capacityReservationId": "cr-0123", "instanceType": "p5.48xlarge", "availabilityZone": "us-east-1b",
            "availableInstanceCount": 2, "state": "active", "reservationType": "capacity-block",
        }
    )  # fmt: skip
    provider = account.adapter()
    offer = cheapest(provider, "p5.48xlarge@cr-0123")
    assert (offer.price_usd_per_hour, offer.capacity, offer.zone) == (0.0, 2, "us-east-1b")
    provider.launch(request(offer))
    order = account.emulator.orders[-1]
    target = "CapacityReservationSpecification.CapacityReservationTarget.CapacityReservationId"
    assert (order["InstanceType"], order[target]) == ("p5.48xlarge", "cr-0123")
    assert order["InstanceMarketOptions.MarketType"] == "capacity-block"


def test_a_reservation_that_is_over_is_no_capacity_and_nothing_is_bought(account: Account) -> None:
    provider = account.adapter()
    offer = replace(cheapest(provider, "p5.48xlarge"), instance_type="p5.48xlarge@cr-gone")
    with pytest.raises(NoCapacity):
        provider.launch(request(offer))
    assert provider.instances() == []


def test_a_spot_machine_is_asked_for_once_and_ends_when_it_is_taken_back(account: Account) -> None:
    provider = account.adapter()
    instance = provider.launch(request(cheapest(provider, "g4dn.xlarge", spot=True)))
    order = account.emulator.orders[-1]
    assert order["InstanceMarketOptions.SpotOptions.SpotInstanceType"] == "one-time"
    assert order["InstanceMarketOptions.SpotOptions.InstanceInterruptionBehavior"] == "terminate"
    assert (instance.spot, instance.price_usd_per_hour) == (True, 0.2104)
    provider.terminate(instance.id)
    account.emulator.clock.advance(60)
    account.emulator.reasons[instance.id] = "Server.SpotInstanceTermination"
    (listed,) = provider.instances()
    assert (listed.state, listed.detail) == (InstanceState.TERMINATED, "terminated: Server.SpotInstanceTermination")


def test_a_machine_that_ec2_does_not_know_yet_is_ended_by_asking_again(account: Account) -> None:
    provider = account.adapter()
    account.emulator.cloud.set_faults(Faults(list_lag_s=3.0))
    instance = provider.launch(request(cheapest(provider, "g4dn.xlarge")))
    provider.terminate(instance.id)
    assert provider.instances() == []
    account.emulator.clock.advance(10)
    assert [i.state for i in provider.instances()] == [InstanceState.RUNNING]
    provider.terminate(instance.id)
    account.emulator.cloud.set_faults(Faults())
    assert [i.state for i in provider.instances()] == [InstanceState.STOPPING]
    account.emulator.clock.advance(10)
    assert [i.state for i in provider.instances()] == [InstanceState.TERMINATED]


def test_a_page_without_machines_does_not_end_the_listing(account: Account) -> None:
    provider = account.adapter()
    offer = cheapest(provider, "g4dn.xlarge")
    for number in range(2):
        provider.launch(request(offer, f"token-{number}"))
    account.emulator.clock.advance(400)
    for instance in provider.instances():
        provider.terminate(instance.id)
    account.emulator.clock.advance(10)
    assert {i.state for i in provider.instances()} == {InstanceState.TERMINATED}
    account.emulator.clock.advance(400)
    provider.launch(request(offer, "token-last"))
    assert [i.token for i in provider.instances()] == ["token-last"], "the page before it shows nothing any more"


def test_no_capacity_is_told_apart_from_a_server_error_though_both_are_a_500(account: Account) -> None:
    provider = account.adapter()
    offer = cheapest(provider, "g4dn.xlarge")
    account.emulator.cloud.set_faults(Faults(refuse_capacity={"*": 1}))
    with pytest.raises(NoCapacity):
        provider.launch(request(offer))
    account.emulator.cloud.set_faults(Faults(fail_launches=1))
    with pytest.raises(UnknownOutcome):
        provider.launch(request(offer))


def test_too_many_requests_come_as_a_503_and_have_bought_nothing(account: Account) -> None:
    provider = account.adapter()
    offer = cheapest(provider, "g4dn.xlarge")
    account.emulator.cloud.set_faults(Faults(rate_limit=1))
    with pytest.raises(RateLimited) as limited:
        provider.launch(request(offer))
    assert limited.value.retry_after_s == 2.0
    assert provider.instances() == []


def test_more_than_the_quota_is_told_as_that(account: Account) -> None:
    provider = account.adapter()
    offer = cheapest(provider, "p5.48xlarge")
    provider.launch(request(offer))
    with pytest.raises(QuotaExceeded, match="VcpuLimitExceeded"):
        provider.launch(request(offer, "token-2"))


def test_the_same_token_with_another_script_is_rejected_and_buys_no_second_machine(account: Account) -> None:
    provider = account.adapter()
    offer = cheapest(provider, "g4dn.xlarge")
    provider.launch(request(offer))
    with pytest.raises(RequestRejected, match="IdempotentParameterMismatch"):
        provider.launch(request(offer, script=SCRIPT + "echo more\n"))
    assert len(provider.instances()) == 1


def test_a_token_longer_than_ec2_takes_is_deduped_and_tagged_all_the_same(account: Account) -> None:
    provider = account.adapter()
    offer, token = cheapest(provider, "g4dn.xlarge"), "token-" + "x" * 100
    first, second = provider.launch(request(offer, token)), provider.launch(request(offer, token))
    assert first.id == second.id
    assert len(account.emulator.orders[-1]["ClientToken"]) == 64
    assert [i.token for i in provider.instances()] == [token]


def test_a_machine_that_powers_itself_off_is_ended_and_its_metadata_wants_a_session(account: Account) -> None:
    provider = account.adapter(key_name="k1")
    offer = cheapest(provider, "g4dn.xlarge")
    provider.launch(request(offer))
    order = account.emulator.orders[-1]
    assert order["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert order["MetadataOptions.HttpTokens"] == "required"
    assert order["KeyName"] == "k1"


def test_machines_of_others_are_listed_without_marks(account: Account) -> None:
    foreign = account.emulator.launch_foreign()
    provider = account.adapter()
    (listed,) = provider.instances()
    assert (listed.id, listed.token, listed.owner, listed.price_usd_per_hour) == (foreign, None, None, 0.0)


def test_every_configured_region_is_offered_listed_and_searched_for_what_is_to_end(account: Account) -> None:
    provider = account.adapter(regions=["us-east-1", "us-west-2"])
    west = next(o for o in provider.offers() if o.region == "us-west-2")
    instance = provider.launch(request(west))
    assert [(i.region, i.zone) for i in provider.instances()] == [("us-west-2", "us-west-2a")]
    provider.terminate(instance.id)
    account.emulator.clock.advance(10)
    assert [i.state for i in provider.instances()] == [InstanceState.TERMINATED]
    provider.terminate(InstanceId("i-0123456789abcdef0"))


def test_one_region_that_is_down_makes_the_listing_unavailable_rather_than_incomplete(account: Account) -> None:
    provider = account.adapter(regions=["us-east-1", "us-west-2"])
    account.emulator.cloud.set_faults(Faults(rate_limit=1))
    with pytest.raises((RateLimited, ProviderUnavailable)):
        provider.instances()


def test_checking_says_who_one_is_what_one_may_do_and_the_quotas_that_matter(account: Account) -> None:
    standing = account.adapter().check()
    assert standing.account.startswith("arn:aws:")
    assert standing.permitted == ("list", "launch")
    assert [(q.name, q.limit, q.left) for q in standing.quotas] == [
        ("us-east-1: vCPUs of P types on demand", 384.0, None)
    ]
    assert account.emulator.cloud.live() == []


def test_checking_an_account_that_may_only_list_says_so(account: Account) -> None:
    account.emulator.forbidden |= {"RunInstances", "ListServiceQuotas"}
    standing = account.adapter().check()
    assert (standing.permitted, standing.quotas) == (("list",), ())


def test_prices_that_one_may_not_read_are_a_matter_for_a_person(account: Account) -> None:
    account.emulator.forbidden.add("GetProducts")
    with pytest.raises(CredentialsRejected, match="GetProducts"):
        account.adapter().offers()


@pytest.mark.parametrize(("option", "value"), [("regions", "us-east-1"), ("regions", []), ("subnets", ["s"])])
def test_options_that_make_no_sense_are_refused(account: Account, option: str, value: Any) -> None:
    with pytest.raises(InvalidRequest) as refused:
        account.adapter(**{option: value})
    assert refused.value.problems[0].path == (option,)
