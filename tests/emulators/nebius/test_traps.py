"""What Nebius does that other clouds do not."""

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
)
from godwit.domain.offers import InstanceState, Offer
from godwit.providers.kinds import Setup
from godwit.providers.nebius.provider import NebiusProvider
from godwit.providers.protocol import LaunchRequest
from godwit.providers.simulated.faults import Faults

from tests.emulators.emulator import API_KEY
from tests.emulators.nebius.emulator import PROJECT, PROJECTS, NebiusEmulator
from tests.emulators.nebius.keys import PRIVATE_KEY, SERVICE_ACCOUNT

SCRIPT = "#!/bin/sh\necho hello\n"
ONE_H100 = "gpu-h100-sxm_1gpu-16vcpu-200gb"
EIGHT_H100 = "gpu-h100-sxm_8gpu-128vcpu-1600gb"


class Account:
    """An emulator and adapters that talk to it."""

    def __init__(self, stack: ExitStack) -> None:
        self.emulator = NebiusEmulator(quota_gpus=12)
        self._url = stack.enter_context(self.emulator.serving())
        self._stack = stack

    def adapter(self, *, private_key: str = PRIVATE_KEY, **options: Any) -> NebiusProvider:
        """One with these options."""
        chosen = {"url": self._url, "timeout_s": 5.0, "projects": [PROJECT]} | options
        keys = {"service_account_id": SERVICE_ACCOUNT, "public_key_id": API_KEY, "private_key": private_key}
        made = NebiusProvider(Setup("nebius", Path("/nowhere"), self.emulator.clock, random.Random(7), chosen, keys))
        self._stack.callback(made.close)
        return made


@pytest.fixture
def account() -> Iterator[Account]:
    """An account with quota for twelve GPUs."""
    with ExitStack() as stack:
        yield Account(stack)


def offered(provider: NebiusProvider, instance_type: str = ONE_H100, *, spot: bool = False) -> Offer:
    return next(o for o in provider.offers() if (o.instance_type, o.spot) == (instance_type, spot))


def request(offer: Offer, token: str = "token-1", script: str = SCRIPT) -> LaunchRequest:
    return LaunchRequest(offer, token, "control-plane-1", script)


def test_types_with_gpus_are_offered_on_demand_and_where_allowed_preemptible_at_the_estimated_price(
    account: Account,
) -> None:
    seen = {(o.instance_type, o.spot): o.price_usd_per_hour for o in account.adapter().offers()}
    assert seen == {
        (ONE_H100, False): 2.95,
        (ONE_H100, True): 1.25,
        (EIGHT_H100, False): 23.6,
        (EIGHT_H100, True): 10.0,
        ("gpu-l40s-a_1gpu-8vcpu-32gb", False): 3.5484,
    }
    eight = offered(account.adapter(), EIGHT_H100)
    assert (eight.gpu_model, eight.gpu_count, eight.gpu_memory_gib) == ("H100-SXM", 8, 80.0)
    assert (eight.cpus, eight.memory_gib, eight.region) == (128, 1600.0, "eu-north1")


def test_stock_is_the_most_that_one_fabric_of_the_region_has_and_unknown_where_the_advice_is(account: Account) -> None:
    provider = account.adapter()
    assert offered(provider).capacity == 8
    assert offered(provider, spot=True).capacity is None
    provider.launch(request(offered(provider)))
    assert offered(provider).capacity == 7


def test_a_machine_just_ordered_shows_as_stopped_and_counts_as_provisioning(account: Account) -> None:
    provider = account.adapter()
    provider.launch(request(offered(provider)))
    (listed,) = provider.instances()
    assert (listed.state, listed.detail) == (InstanceState.PROVISIONING, "STOPPED")


def test_a_machine_that_never_came_up_is_stopped_and_not_on_its_way(account: Account) -> None:
    account.emulator.fails_late = True
    provider = account.adapter()
    provider.launch(request(offered(provider)))
    (listed,) = provider.instances()
    assert (listed.state, listed.token) == (InstanceState.STOPPED, "token-1")


def test_a_preemptible_machine_that_was_taken_back_stays_stopped_until_it_is_deleted(account: Account) -> None:
    provider = account.adapter()
    bought = provider.launch(request(offered(provider, spot=True)))
    account.emulator.clock.advance(10)
    (running,) = provider.instances()
    assert (running.state, running.spot, running.price_usd_per_hour) == (InstanceState.RUNNING, True, 1.25)
    account.emulator.cloud.give_notice(bought.id, 60.0)
    account.emulator.clock.advance(61)
    (listed,) = provider.instances()
    assert (listed.state, listed.detail) == (InstanceState.STOPPED, "STOPPED")
    provider.terminate(bought.id)
    assert provider.instances() == []


def test_preemptible_and_ordinary_machines_stay_off_once_they_are_off(account: Account) -> None:
    provider = account.adapter()
    provider.launch(request(offered(provider)))
    provider.launch(request(offered(provider, spot=True), "token-2"))
    assert {order.spec.recovery_policy.name for order in account.emulator.orders} == {"FAIL"}
    assert account.emulator.orders[-1].spec.preemptible.on_preemption.name == "STOP"


def test_the_boot_disk_is_made_and_deleted_with_the_machine(account: Account) -> None:
    provider = account.adapter(disk_gib=500)
    provider.launch(request(offered(provider)))
    disk = account.emulator.orders[-1].spec.boot_disk.managed_disk
    assert disk is not None
    assert (disk.spec.size_gibibytes, disk.labels["godwit-token"]) == (500, "token-1")


def test_quota_capacity_and_pace_are_told_apart_by_the_detail(account: Account) -> None:
    provider = account.adapter()
    eight = offered(provider, EIGHT_H100)
    account.emulator.cloud.set_faults(Faults(refuse_capacity={"*": 1}))
    with pytest.raises(NoCapacity):
        provider.launch(request(eight))
    account.emulator.cloud.set_faults(Faults(rate_limit=1))
    with pytest.raises(RateLimited):
        provider.launch(request(eight))
    provider.launch(request(eight))
    with pytest.raises(QuotaExceeded):
        provider.launch(request(eight, "token-2"))
    assert len(provider.instances()) == 1


def test_a_launch_refused_for_want_of_resources_without_a_detail_calls_for_another_offer(account: Account) -> None:
    provider = account.adapter()
    offer = offered(provider)
    account.emulator.tells_details = False
    account.emulator.cloud.set_faults(Faults(refuse_capacity={"*": 1}))
    with pytest.raises(NoCapacity):
        provider.launch(request(offer))
    account.emulator.cloud.set_faults(Faults(rate_limit=1))
    with pytest.raises(RateLimited):
        provider.instances()


def test_a_launch_repeated_with_a_new_join_token_in_its_script_finds_the_machine_by_its_name(account: Account) -> None:
    provider = account.adapter()
    offer = offered(provider)
    first = provider.launch(request(offer))
    again = provider.launch(request(offer, script=SCRIPT + "echo another\n"))
    assert again.id == first.id
    assert len(provider.instances()) == 1


def test_a_name_that_somebody_else_uses_is_rejected(account: Account) -> None:
    provider = account.adapter()
    provider.launch(request(offered(provider)))
    with pytest.raises(RequestRejected, match="ALREADY_EXISTS"):
        provider.launch(request(offered(provider, EIGHT_H100)))


def test_a_token_that_is_no_name_is_hashed_and_kept_as_a_label(account: Account) -> None:
    provider = account.adapter()
    provider.launch(request(offered(provider), "Token With Spaces"))
    assert account.emulator.orders[-1].metadata.name.startswith("gw-")
    assert [i.token for i in provider.instances()] == ["Token With Spaces"]


def test_a_machine_on_which_another_operation_goes_on_is_to_be_deleted_later(account: Account) -> None:
    provider = account.adapter()
    bought = provider.launch(request(offered(provider)))
    account.emulator.busy.add(bought.id)
    with pytest.raises(ProviderUnavailable):
        provider.terminate(bought.id)


def test_each_project_is_a_region_and_all_of_them_are_offered_and_listed(account: Account) -> None:
    provider = account.adapter(projects=list(PROJECTS))
    assert {o.region for o in provider.offers()} == {"eu-north1", "eu-west1"}
    west = next(o for o in provider.offers() if o.region == "eu-west1")
    provider.launch(request(west))
    assert account.emulator.orders[-1].metadata.parent_id == "project-e01west"
    assert account.emulator.orders[-1].spec.network_interfaces[0].subnet_id == "vpcsubnet-project-e01west"
    assert [i.region for i in provider.instances()] == ["eu-west1"]
    with pytest.raises(RequestRejected, match="us-central1"):
        provider.launch(request(replace(west, region="us-central1"), "token-2"))


def test_in_a_gpu_cluster_machines_of_eight_gpus_share_its_fabric_and_others_do_not(account: Account) -> None:
    provider = account.adapter(gpu_clusters={PROJECT: "computegpucluster-1"})
    assert provider.capabilities.fabric
    assert offered(provider).fabric_domain is None
    eight = offered(provider, EIGHT_H100)
    assert eight.fabric_domain == "computegpucluster-1"
    provider.launch(request(eight))
    assert account.emulator.orders[-1].spec.gpu_cluster.id == "computegpucluster-1"


def test_one_token_serves_many_calls_until_most_of_its_life_is_over(account: Account) -> None:
    provider = account.adapter()
    for _ in range(3):
        provider.instances()
    assert account.emulator.tokens_sold == 1
    account.emulator.clock.advance(0.9 * 43_200)
    provider.instances()
    assert account.emulator.tokens_sold == 2


def test_a_token_that_was_taken_back_is_refused_once_and_replaced(account: Account) -> None:
    provider = account.adapter()
    provider.instances()
    account.emulator.valid_tokens.clear()
    with pytest.raises(CredentialsRejected):
        provider.instances()
    assert provider.instances() == []


def test_a_key_that_is_none_is_refused_without_being_shown(account: Account) -> None:
    with pytest.raises(InvalidRequest) as refused:
        account.adapter(private_key="-----BEGIN SECRET-----")
    assert refused.value.problems[0].path == ("private_key",)
    assert "SECRET" not in str(refused.value)


def test_checking_reads_the_projects_and_the_quotas_of_gpus_where_that_is_allowed(account: Account) -> None:
    provider = account.adapter()
    standing = provider.check()
    assert standing.account == PROJECT
    assert [(q.name, q.limit, q.left) for q in standing.quotas] == [("eu-north1: compute.instance.gpu.h100", 16, 11)]
    account.emulator.forbids_quotas = True
    assert provider.check().permitted == ("read projects",)


@pytest.mark.parametrize(
    ("option", "value"), [("projects", None), ("projects", "p"), ("gpu_clusters", ["c"]), ("disk_gib", -1)]
)
def test_options_that_make_no_sense_are_refused(account: Account, option: str, value: Any) -> None:
    with pytest.raises(InvalidRequest) as refused:
        account.adapter(**{option: value})
    assert refused.value.problems[0].path == (option,)
