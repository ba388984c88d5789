"""What DigitalOcean does that other clouds do not."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from godwit.domain import errors
from godwit.domain.ids import InstanceId
from godwit.domain.offers import InstanceState, Offer
from godwit.providers.digitalocean.provider import DigitalOceanProvider
from godwit.providers.simulated.faults import Faults
from godwit.providers.simulated.vendor import Refused

from tests.contract.rigs import Rig
from tests.emulators.digitalocean.emulator import H100X8, L40S, SPOT, DigitalOceanEmulator
from tests.emulators.rigs import emulated


@dataclass
class Bench:
    """The adapter and what it talks to."""

    rig: Rig
    emulator: DigitalOceanEmulator

    def offer(self, size: str) -> Offer:
        return next(o for o in self.rig.provider.offers() if o.instance_type == size)


def benches(emulator: DigitalOceanEmulator, **options: Any) -> Iterator[Bench]:
    for rig in emulated(emulator, DigitalOceanProvider, options, secret="token"):
        yield Bench(rig, emulator)
        emulator.plain_droplets.clear()
        rig.end_all()


@pytest.fixture
def bench() -> Iterator[Bench]:
    yield from benches(DigitalOceanEmulator())


@pytest.fixture(scope="module")
def untouched() -> Iterator[Bench]:
    """One for all tests that launch nothing."""
    yield from benches(DigitalOceanEmulator())


@pytest.fixture
def small_account() -> Iterator[Bench]:
    """An account that may have one GPU."""
    yield from benches(DigitalOceanEmulator(quota_gpus=1))


@pytest.fixture
def keyless() -> Iterator[Bench]:
    """An account without SSH keys."""
    emulator = DigitalOceanEmulator()
    emulator.keys = []
    yield from benches(emulator)


@pytest.fixture
def chosen() -> Iterator[Bench]:
    yield from benches(DigitalOceanEmulator(), image="my-snapshot", ssh_key=289794)


def test_droplets_with_gpus_are_listed_though_the_default_list_leaves_them_out(bench: Bench) -> None:
    launched = bench.rig.provider.launch(bench.rig.request())
    assert launched.id in [instance.id for instance in bench.rig.provider.instances()]


def test_droplets_without_gpus_are_listed_too_as_foreign(bench: Bench) -> None:
    bench.rig.running()
    (row,) = map(bench.emulator._droplet, bench.emulator.rows())
    bench.emulator.plain_droplets += [row | {"id": 7 + n, "name": f"web-{n}", "tags": ["web"]} for n in range(3)]
    foreign = [i for i in bench.rig.provider.instances() if i.id in {"7", "8", "9"}]
    assert [(i.token, i.owner) for i in foreign] == [(None, None)] * 3


def test_a_droplet_that_moves_to_the_next_page_while_the_list_is_read_is_listed_once(bench: Bench) -> None:
    bench.rig.running()
    (row,) = map(bench.emulator._droplet, bench.emulator.rows())
    bench.emulator.plain_droplets += [row | {"id": 7}, row | {"id": 8}, row | {"id": 8}]
    assert [i.id for i in bench.rig.provider.instances()].count(InstanceId("8")) == 1


def test_a_droplet_is_known_by_its_name_before_its_tags_are_there(bench: Bench) -> None:
    launched = bench.rig.provider.launch(bench.rig.request("token-early"))
    assert bench.emulator._droplet(bench.emulator.rows()[-1])["tags"] == []
    listed = bench.rig.listed(launched.id)
    assert listed is not None
    assert (listed.token, listed.owner) == ("token-early", "control-plane-1")


def test_a_droplet_that_a_person_renamed_is_known_by_its_tags(bench: Bench) -> None:
    launched = bench.rig.running("token-renamed")
    for rental in bench.emulator.cloud._rentals.values():
        rental.tags["name"] = "my-favourite"
    listed = bench.rig.listed(launched.id)
    assert listed is not None
    assert (listed.token, listed.owner) == ("token-renamed", "control-plane-1")


def test_an_accepted_creation_that_fails_later_is_gone_from_the_list(bench: Bench) -> None:
    launched = bench.rig.provider.launch(bench.rig.request())
    assert launched.state is InstanceState.PROVISIONING
    bench.emulator.cloud.terminate(bench.emulator.rows()[-1]["id"])  # the platform's doing, not ours
    bench.rig.wait_for(lambda: bench.rig.listed(launched.id) is None)


def test_a_droplet_that_is_being_built_refuses_its_end_which_is_worth_repeating(bench: Bench) -> None:
    launched = bench.rig.provider.launch(bench.rig.request())
    with pytest.raises(errors.ProviderUnavailable, match="pending event"):
        bench.rig.provider.terminate(launched.id)
    bench.rig.end(launched.id)
    bench.rig.wait_for(lambda: bench.rig.is_gone(launched.id))


def test_a_number_that_is_no_droplet_can_be_terminated(untouched: Bench) -> None:
    untouched.rig.provider.terminate(InstanceId("3164444"))


@pytest.mark.parametrize(
    ("status", "message", "meaning"),
    [
        (422, "Size is not available in this region.", errors.NoCapacity),
        (422, "size is unavailable", errors.NoCapacity),
        (422, "Region is not available", errors.NoCapacity),
        (422, "creating this/these droplet(s) will exceed your droplet limit", errors.QuotaExceeded),
        (422, "This size is currently restricted, open a ticket", errors.QuotaExceeded),
        (422, "The image you specified is not available in the selected region", errors.RequestRejected),
        (422, "Name Only valid hostname characters are allowed.", errors.RequestRejected),
        (403, "You are not authorized to perform this operation", errors.CredentialsRejected),
        (500, "Server Error", errors.UnknownOutcome),
    ],
)
def test_a_422_means_what_its_text_says(
    untouched: Bench, monkeypatch: pytest.MonkeyPatch, status: int, message: str, meaning: type[errors.ProviderError]
) -> None:
    request = untouched.rig.request()

    def refuse(*_order: Any) -> Any:
        raise Refused(status, "as-told", message)

    monkeypatch.setattr(untouched.emulator, "launch", refuse)
    with pytest.raises(meaning) as caught:
        untouched.rig.provider.launch(request)
    assert message in caught.value.message


def test_a_limit_of_the_account_sends_the_caller_elsewhere(small_account: Bench) -> None:
    small_account.rig.running()
    with pytest.raises(errors.QuotaExceeded):
        small_account.rig.provider.launch(small_account.rig.request())


def test_the_limit_of_the_hour_is_waited_for_until_it_resets(untouched: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def limited() -> Any:
        raise Refused(429, "too_many_requests", "API rate limit exceeded.")

    monkeypatch.setattr(untouched.emulator, "rows", limited)
    with pytest.raises(errors.RateLimited) as caught:
        untouched.rig.provider.instances()
    assert caught.value.retry_after_s == pytest.approx(600, abs=1)
    monkeypatch.undo()


def test_the_ssh_keys_are_read_once_since_they_can_be_read_ten_times_a_minute(bench: Bench) -> None:
    for _ in range(4):
        bench.rig.provider.launch(bench.rig.request())
    assert len(bench.emulator.key_reads) == 1
    assert bench.emulator.orders[-1]["ssh_keys"] == [512189]


def test_an_account_without_keys_launches_without(keyless: Bench) -> None:
    for _ in range(2):
        keyless.rig.provider.launch(keyless.rig.request())
    assert keyless.emulator.orders[-1]["ssh_keys"] == []
    assert len(keyless.emulator.key_reads) == 1


def test_a_chosen_image_and_key_go_into_the_order(chosen: Bench) -> None:
    chosen.rig.provider.launch(chosen.rig.request())
    order = chosen.emulator.orders[-1]
    assert (order["image"], order["ssh_keys"]) == ("my-snapshot", [289794])
    assert chosen.emulator.key_reads == []


@pytest.mark.parametrize(
    ("size", "image"), [(L40S, "gpu-h100x1-base"), (H100X8, "gpu-h100x8-base"), (SPOT, "gpu-amd-base")]
)
def test_the_image_fits_the_gpus(bench: Bench, size: str, image: str) -> None:
    bench.rig.provider.launch(replace(bench.rig.request(), offer=bench.offer(size)))
    assert bench.emulator.orders[-1]["image"] == image


def test_the_memory_told_is_that_of_all_gpus_together(untouched: Bench) -> None:
    big = untouched.offer(H100X8)
    assert (big.gpu_model, big.gpu_count, big.gpu_memory_gib) == ("H100-SXM", 8, 80.0)
    assert (big.cpus, big.memory_gib, big.price_usd_per_hour) == (160, 1920.0, 23.92)


def test_sizes_without_a_region_or_without_gpus_are_not_offered(untouched: Bench) -> None:
    assert {offer.instance_type for offer in untouched.rig.provider.offers()} == {"gpu-h100x1-80gb", H100X8, L40S, SPOT}


def test_spot_is_a_size_of_its_own(bench: Bench) -> None:
    offer = bench.offer(SPOT)
    assert (offer.spot, offer.gpu_model) == (True, "MI355X")
    launched = bench.rig.provider.launch(replace(bench.rig.request(), offer=offer))
    listed = bench.rig.listed(launched.id)
    assert listed is not None
    assert listed.spot
    assert not bench.offer(L40S).spot


@pytest.mark.parametrize(("word", "state"), [("off", InstanceState.STOPPED), ("archive", InstanceState.TERMINATED)])
def test_a_droplet_that_is_off_is_not_gone(bench: Bench, word: str, state: InstanceState) -> None:
    instance = bench.rig.running()
    bench.emulator.cloud.set_faults(Faults(state_word=word))
    listed = bench.rig.listed(instance.id)
    assert listed is not None
    assert (listed.state, listed.detail) == (state, word)


def test_a_check_tells_the_team_and_the_limit_of_droplets(untouched: Bench) -> None:
    standing = untouched.rig.provider.check()
    assert standing.account == "research"
    assert [(quota.name, quota.limit, quota.left) for quota in standing.quotas] == [("droplets", 25, None)]


def test_a_locked_account_stops_all_calls_and_says_why(bench: Bench) -> None:
    bench.emulator.status = "locked"
    with pytest.raises(errors.CredentialsRejected, match="pay your bill"):
        bench.rig.provider.check()
