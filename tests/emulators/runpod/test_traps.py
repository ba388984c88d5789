"""What RunPod does that other clouds do not."""

import base64
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from godwit.domain import errors
from godwit.domain.ids import InstanceId
from godwit.domain.offers import InstanceState
from godwit.providers.protocol import StartupHook
from godwit.providers.runpod import provider
from godwit.providers.runpod.provider import RunPodProvider
from godwit.providers.simulated.faults import Faults
from godwit.providers.simulated.vendor import Refused

from tests.contract.rigs import Rig
from tests.emulators.rigs import emulated
from tests.emulators.runpod.emulator import H100, RTX4090, RunPodEmulator

BOOTING = InstanceState.PROVISIONING


@dataclass
class Bench:
    """The adapter and what it talks to."""

    rig: Rig
    emulator: RunPodEmulator


def benches(emulator: RunPodEmulator, **options: Any) -> Iterator[Bench]:
    for rig in emulated(emulator, RunPodProvider, options):
        yield Bench(rig, emulator)
        emulator.cluster_pods.clear()
        rig.end_all()


@pytest.fixture
def bench() -> Iterator[Bench]:
    yield from benches(RunPodEmulator())


@pytest.fixture(scope="module")
def untouched() -> Iterator[Bench]:
    """One for all tests that launch nothing."""
    yield from benches(RunPodEmulator())


@pytest.fixture
def small_account() -> Iterator[Bench]:
    """An account with money for one GPU."""
    yield from benches(RunPodEmulator(quota_gpus=1))


@pytest.fixture
def both_clouds() -> Iterator[Bench]:
    yield from benches(RunPodEmulator(), clouds=["SECURE", "COMMUNITY"])


def test_prices_are_per_gpu_and_offers_per_node(untouched: Bench) -> None:
    prices = {offer.instance_type: offer.price_usd_per_hour for offer in untouched.rig.provider.offers()}
    assert prices[f"8x {H100}"] == pytest.approx(8 * prices[f"1x {H100}"])


def test_an_offer_knows_the_model_and_the_host_where_the_catalogue_does(untouched: Bench) -> None:
    offers = {offer.instance_type: offer for offer in untouched.rig.provider.offers()}
    big, unknown = offers[f"8x {H100}"], offers[f"1x {RTX4090}"]
    assert (big.gpu_model, big.gpu_memory_gib, big.cpus, big.memory_gib) == ("H100-SXM", 80.0, 160, 1000.0)
    assert (unknown.gpu_model, unknown.cpus, unknown.memory_gib) == ("RTX4090", 0, 0.0)


def test_a_price_that_moved_after_the_offer_was_read_is_told_as_it_is_billed(bench: Bench) -> None:
    request = bench.rig.request()
    bench.rig.pass_time(180)
    launched = bench.rig.provider.launch(request)
    assert launched.price_usd_per_hour != request.offer.price_usd_per_hour
    listed = bench.rig.listed(launched.id)
    assert listed is not None
    assert listed.price_usd_per_hour == launched.price_usd_per_hour


def test_pods_of_clusters_are_listed_as_foreign_and_never_ended(bench: Bench) -> None:
    mine = bench.rig.running()
    row = next(pod for pod in map(bench.emulator._pod, bench.emulator.rows()) if pod["id"] == mine.id)
    bench.emulator.cluster_pods.append(row | {"id": "member", "name": "c-0", "cluster": {"id": "c", "rank": 0}})
    listed = bench.rig.listed("member")
    assert listed is not None
    assert (listed.token, listed.owner) == (None, None)
    with pytest.raises(errors.RequestRejected, match="delete the cluster"):
        bench.rig.provider.terminate(InstanceId("member"))


def test_two_launches_of_one_token_are_two_pods_and_the_listing_shows_both(bench: Bench) -> None:
    request = bench.rig.request("token-twice")
    ids = {bench.rig.provider.launch(request).id, bench.rig.provider.launch(request).id}
    assert {i.id for i in bench.rig.provider.instances() if i.token == "token-twice"} == ids
    assert len(ids) == 2
    assert not bench.rig.provider.capabilities.client_token


@pytest.mark.parametrize(
    ("status", "detail", "meaning"),
    [
        (400, "There are no longer any instances available with enough disk space.", errors.NoCapacity),
        (400, "This machine does not have the resources to deploy your pod", errors.NoCapacity),
        (400, "exactly one of gpu or cpu is required", errors.RequestRejected),
        (400, "You have reached your spend limit", errors.QuotaExceeded),
        (402, "insufficient balance", errors.QuotaExceeded),
        (403, "no access to this pool", errors.QuotaExceeded),
        (422, "body does not match", errors.RequestRejected),
        (500, "upstream", errors.UnknownOutcome),
    ],
)
def test_a_refused_launch_means_what_the_vendor_advises(
    untouched: Bench, monkeypatch: pytest.MonkeyPatch, status: int, detail: str, meaning: type[errors.ProviderError]
) -> None:
    request = untouched.rig.request()

    def refuse(*_order: Any) -> Any:
        raise Refused(status, "as-told", detail)

    monkeypatch.setattr(untouched.emulator, "launch", refuse)
    with pytest.raises(meaning, match=detail):
        untouched.rig.provider.launch(request)


def test_a_403_to_a_read_rejects_the_key(untouched: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Any:
        raise Refused(403, "as-told", "this key may not list pods")

    monkeypatch.setattr(untouched.emulator, "rows", refuse)
    with pytest.raises(errors.CredentialsRejected, match="may not list"):
        untouched.rig.provider.instances()
    monkeypatch.undo()


def test_a_balance_that_is_used_up_sends_the_caller_elsewhere(small_account: Bench) -> None:
    rig = small_account.rig
    rig.provider.launch(rig.request())
    with pytest.raises(errors.QuotaExceeded):
        rig.provider.launch(rig.request())


def test_a_data_centre_without_room_is_not_offered(bench: Bench) -> None:
    request = bench.rig.request()
    big = next(o for o in bench.rig.provider.offers() if o.instance_type == f"8x {H100}")
    bench.rig.launch_many(replace(request, offer=big), 2)
    assert f"8x {H100}" not in [offer.instance_type for offer in bench.rig.provider.offers()]


def test_an_image_and_a_region_go_into_the_order(bench: Bench) -> None:
    bench.rig.provider.launch(bench.rig.request())
    order = bench.emulator.orders[-1]
    assert order["dataCenterIds"] == ["EU-RO-1"]
    assert (order["image"], order["disk"], order["cloud"]) == (provider.IMAGE, 100, "SECURE")


def test_the_startup_script_travels_in_the_environment_and_not_in_the_arguments(bench: Bench) -> None:
    bench.rig.provider.launch(bench.rig.request(script="#!/bin/sh\necho join-token\n"))
    order = bench.emulator.orders[-1]
    assert base64.b64decode(order["env"]["GODWIT_STARTUP"]) == b"#!/bin/sh\necho join-token\n"
    assert "join-token" not in order["args"]
    assert bench.rig.provider.capabilities.startup is StartupHook.CONTAINER


def test_the_arguments_run_the_script_once_without_passing_it_on(tmp_path: Path) -> None:
    script = '#!/bin/sh\necho "ran, sees ${GODWIT_STARTUP:-nothing}, umask $(umask)"\n'
    here = provider.START.replace("/tmp/startup", str(tmp_path / "startup")).replace("exec sleep infinity", "echo end")
    environment = {"PATH": "/usr/bin:/bin", "GODWIT_STARTUP": base64.b64encode(script.encode()).decode()}
    done = subprocess.run(
        ["sh", "-c", f"umask 022;{here}"], check=True, env=environment, capture_output=True, text=True, timeout=10
    )
    assert done.stdout == "ran, sees nothing, umask 0022\nend\n"
    assert (tmp_path / "startup").stat().st_mode & 0o066 == 0, "others can neither read nor write it"


def test_both_clouds_are_sold_apart_and_a_community_pod_is_listed_as_one(both_clouds: Bench) -> None:
    rig = both_clouds.rig
    offers = {offer.instance_type: offer for offer in rig.provider.offers()}
    secure, community = offers[f"1x {RTX4090}"], offers[f"1x {RTX4090} (community)"]
    assert community.price_usd_per_hour < secure.price_usd_per_hour
    launched = rig.provider.launch(replace(rig.request(), offer=community))
    assert both_clouds.emulator.orders[-1]["cloud"] == "COMMUNITY"
    assert launched.instance_type == community.instance_type
    assert f"1x {H100} (community)" not in offers


@pytest.mark.parametrize(
    ("word", "state"), [("EXITED", InstanceState.STOPPED), ("ERROR", InstanceState.FAILED), ("STARTING", BOOTING)]
)
def test_a_pod_that_ended_by_itself_is_off_but_not_gone(bench: Bench, word: str, state: InstanceState) -> None:
    instance = bench.rig.running()
    bench.emulator.cloud.set_faults(Faults(state_word=word))
    listed = bench.rig.listed(instance.id)
    assert listed is not None
    assert (listed.state, listed.detail) == (state, word)


@pytest.mark.parametrize("options", [{"clouds": "SECURE"}, {"clouds": []}, {"clouds": ["MOON"]}, {"disk_gb": 0}])
def test_options_that_make_no_sense_are_refused_by_name(untouched: Bench, options: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        next(emulated(untouched.emulator, RunPodProvider, options))
    assert caught.value.problems[0].path == (next(iter(options)),)


def test_a_check_says_how_many_pods_the_key_shows(bench: Bench) -> None:
    bench.rig.running()
    assert bench.rig.provider.check().account == "an account with 1 pods"
